//! What a WebM track of Opus carries as its codec private data.
//!
//! Not here: packets and their gaps; the recorder fills those.

/// The `OpusHead` of a stream that was joined in its middle (RFC 7845 section 5.1).
///
/// Pre-skip is 0 because the encoder's first samples were never received; two channels whatever the packets say, since any
/// decoder turns mono packets into stereo but not the other way round (RFC 7845 section 5.1, "Output Channel Count").
#[must_use]
pub fn opus_head() -> [u8; 19] {
    let mut head = [0; 19];
    head[..8].copy_from_slice(b"OpusHead");
    head[8] = 1; // version
    head[9] = 2; // channels
    head[12..16].copy_from_slice(&48_000u32.to_le_bytes());
    head
}
