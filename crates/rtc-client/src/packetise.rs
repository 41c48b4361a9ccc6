//! Frames into RTP payloads: VP8 (RFC 7741) and Opus (RFC 7587), for publishers in tests and load generators.

use std::sync::Arc;

use crate::packet::Codec;

/// Payload bytes of a packet: what fits a path with an MTU of 1280 through TURN, SRTP and header extensions.
const MAX_PAYLOAD: usize = 1100;

/// A packet to be.
#[derive(Debug)]
pub struct Packet {
    /// Extended sequence number.
    pub sequence: u64,
    /// Last of its frame.
    pub marker: bool,
    /// The payload with its descriptor.
    pub payload: Arc<[u8]>,
}

/// The packetiser of one stream.
#[derive(Debug, Default)]
pub struct Packetiser {
    sequence: u64,
    picture_id: u16,
    tl0_pic_idx: u8,
}

impl Packetiser {
    /// The packets of a frame; `None`: a codec that is only received.
    pub fn packets(&mut self, codec: Codec, frame: &[u8]) -> Option<Vec<Packet>> {
        match codec {
            Codec::Opus => {
                let sequence = self.next_sequence();
                Some(vec![Packet { sequence, marker: false, payload: Arc::from(frame) }])
            }
            Codec::Vp8 => Some(self.vp8(frame)),
            _ => None,
        }
    }

    /// RFC 7741, 4.2: X; I, L, T; 15-bit PictureID; TL0PICIDX; TID 0 with Y.
    fn vp8(&mut self, frame: &[u8]) -> Vec<Packet> {
        let id = self.picture_id;
        let count = frame.len().div_ceil(MAX_PAYLOAD);
        let mut packets = Vec::with_capacity(count);
        for (index, chunk) in frame.chunks(MAX_PAYLOAD).enumerate() {
            let start = if index == 0 { 0x10 } else { 0 };
            let mut payload = Vec::with_capacity(chunk.len() + 6);
            payload.extend([0x80 | start, 0xe0, 0x80 | (id >> 8) as u8, id as u8, self.tl0_pic_idx, 0x20]);
            payload.extend_from_slice(chunk);
            let sequence = self.next_sequence();
            packets.push(Packet { sequence, marker: index + 1 == count, payload: payload.into() });
        }
        self.picture_id = (id + 1) & 0x7fff;
        self.tl0_pic_idx = self.tl0_pic_idx.wrapping_add(1);
        packets
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }
}
