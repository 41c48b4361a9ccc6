//! Media that the recorder takes in: video payloads of publishers.

use std::sync::Arc;
use std::time::Duration;

use rtc_client::depacketise::{Assembler, Reorder};
use rtc_client::{Codec, RtpPacket};

use crate::input::{Input, some_instant};

/// VP8: packets with any payloads.
pub fn vp8_packets(bytes: &[u8]) {
    video_packets(Codec::Vp8, bytes);
}

/// VP9: packets with any payloads.
pub fn vp9_packets(bytes: &[u8]) {
    video_packets(Codec::Vp9, bytes);
}

/// AV1: packets with any payloads.
pub fn av1_packets(bytes: &[u8]) {
    video_packets(Codec::Av1, bytes);
}

/// H.264: packets with any payloads.
pub fn h264_packets(bytes: &[u8]) {
    video_packets(Codec::H264, bytes);
}

/// Packets of a stream in any order and with any payload: pictures have bytes, and a configuration fits into a file.
fn video_packets(codec: Codec, bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut reorder = Reorder::new(Duration::from_millis(100));
    let mut assembler = Assembler::default();
    let start = some_instant();
    let mut at = 0;
    while let (Some(sequence), Some(flags)) = (input.byte(), input.byte()) {
        let Some(payload) = input.long_chunk() else { break };
        at += u64::from(flags >> 4);
        let arrived = start + Duration::from_millis(at);
        reorder.handle_packet(RtpPacket {
            mid: "1".into(),
            rid: None,
            codec,
            ssrc: 1,
            sequence: 1000 + u64::from(sequence),
            timestamp: u64::from(flags & 0x0E) * 3000,
            marker: flags & 1 == 1,
            payload: Arc::from(payload),
            arrived,
            report: None,
        });
        while let Some(ordered) = reorder.poll(arrived) {
            assembler.handle(ordered);
        }
        while let Some(picture) = assembler.poll() {
            assert!(!picture.data.is_empty(), "a picture without bytes");
            if let Some(key) = picture.key {
                check_config(codec, key.config);
            }
        }
    }
}

/// A file takes what a key frame says about its decoder.
fn check_config(codec: Codec, config: Vec<u8>) {
    let codec = match codec {
        Codec::Av1 => webm::Codec::Av1 { config },
        Codec::H264 => webm::Codec::H264 { config },
        _ => return assert!(config.is_empty()),
    };
    let mut muxer = webm::Muxer::new(webm::Options::default());
    let taken = muxer.add_track(codec);
    assert!(taken.is_ok() || matches!(taken, Err(webm::TrackError::HeadFull)), "{taken:?}");
}
