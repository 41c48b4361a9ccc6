//! VP9 (RFC 9628): one spatial layer, non-flexible mode, 15-bit PictureID.

use super::MAX_PAYLOAD;

/// The payloads of a frame.
pub(super) fn payloads(frame: &[u8], picture_id: u16) -> Vec<Vec<u8>> {
    // Uncompressed header: show_existing_frame and frame_type are 0 in a key frame of the profiles below 3.
    let predicted = frame.first().is_none_or(|first| first & 0x0c != 0);
    let last = frame.len().div_ceil(MAX_PAYLOAD).saturating_sub(1);
    let payload = |(index, chunk): (usize, &[u8])| {
        // I, P, B, E.
        let mut first = 0x80 | u8::from(predicted) << 6;
        first |= u8::from(index == 0) << 3 | u8::from(index == last) << 2;
        [&[first, 0x80 | (picture_id >> 8) as u8, picture_id as u8], chunk].concat()
    };
    frame.chunks(MAX_PAYLOAD).enumerate().map(payload).collect()
}
