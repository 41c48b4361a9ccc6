//! Media that the recorder takes in: VP8 payloads of publishers.

use std::sync::Arc;
use std::time::Duration;

use rtc_client::depacketise::{reorder, vp8};
use rtc_client::{Codec, RtpPacket};

use crate::input::{Input, some_instant};

/// Packets of a stream in any order and with any payload.
pub fn vp8_packets(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut reorder = reorder::Reorder::new(Duration::from_millis(100));
    let mut assembler = vp8::Assembler::default();
    let start = some_instant();
    let mut at = 0;
    while let (Some(sequence), Some(flags)) = (input.byte(), input.byte()) {
        let Some(payload) = input.chunk() else { break };
        at += u64::from(flags >> 4);
        let arrived = start + Duration::from_millis(at);
        reorder.handle_packet(RtpPacket {
            mid: "1".into(),
            rid: None,
            codec: Codec::Vp8,
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
        }
    }
}
