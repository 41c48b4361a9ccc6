//! Fuzz targets as plain functions: whatever the bytes are, they must not panic and must keep what they assert.
//!
//! `make fuzz` hands them to libFuzzer, `make test` replays the committed corpora on stable. What the network can reach
//! has a target here, and what a crash may leave.

mod input;
mod media;
mod recording;
mod relay;
mod rooms;
mod session;

pub use self::session::{journal, recorded_packets};
pub use media::{av1_packets, h264_packets, vp8_packets, vp9_packets};
pub use recording::{webm_muxer, webm_recovery};
pub use relay::{dtls_hello, proxy_header, turn_datagram, turn_request, turn_stream};
pub use rooms::{device_proof, room_token, sfu_datagram, sfu_offer, signalling_frame};

/// A target.
pub type Target = fn(&[u8]);

/// Every target with the name of its corpus.
pub const TARGETS: [(&str, Target); 18] = [
    ("turn_datagram", turn_datagram),
    ("turn_request", turn_request),
    ("turn_stream", turn_stream),
    ("proxy_header", proxy_header),
    ("dtls_hello", dtls_hello),
    ("webm_recovery", webm_recovery),
    ("webm_muxer", webm_muxer),
    ("signalling_frame", signalling_frame),
    ("room_token", room_token),
    ("device_proof", device_proof),
    ("sfu_datagram", sfu_datagram),
    ("sfu_offer", sfu_offer),
    ("vp8_packets", vp8_packets),
    ("vp9_packets", vp9_packets),
    ("av1_packets", av1_packets),
    ("h264_packets", h264_packets),
    ("recorded_packets", recorded_packets),
    ("journal", journal),
];

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Rule: abuse-34
    #[test]
    fn the_corpora_still_pass() {
        for (name, target) in TARGETS {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
            let mut inputs = 0;
            for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
                let path = entry.unwrap().path();
                let bytes = fs::read(&path).unwrap();
                let ended = std::panic::catch_unwind(|| target(&bytes));
                assert!(ended.is_ok(), "{}", path.display());
                inputs += 1;
            }
            assert!(inputs > 0, "{name}: an empty corpus");
        }
    }
}
