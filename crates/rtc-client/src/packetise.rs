//! Frames into RTP payloads: VP8 (RFC 7741), Opus (RFC 7587) and the codecs below, for publishers in tests and load
//! generators.

mod av1;
mod h264;
mod vp9;

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
    /// A packetiser whose first packet has the sequence number after this one, and its first picture this PictureID.
    pub fn starting_at(sequence: u64, picture_id: u16) -> Self {
        Self { sequence, picture_id: picture_id & 0x7fff, tl0_pic_idx: 0 }
    }

    /// The packets of a frame: an Opus packet, a VP8 or VP9 frame, a temporal unit of AV1 with sizes in its OBUs, an access
    /// unit of H.264 with start codes.
    pub fn packets(&mut self, codec: Codec, frame: &[u8]) -> Vec<Packet> {
        let payloads = match codec {
            Codec::Opus => vec![frame.to_vec()],
            Codec::Vp8 => self.vp8(frame),
            Codec::Vp9 => vp9::payloads(frame, self.picture_id),
            Codec::Av1 => av1::payloads(frame),
            Codec::H264 => h264::payloads(frame),
        };
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.tl0_pic_idx = self.tl0_pic_idx.wrapping_add(1);
        let last = payloads.len().saturating_sub(1);
        let packet = |(index, payload): (usize, Vec<u8>)| {
            self.sequence += 1;
            let marker = !codec.is_audio() && index == last;
            Packet { sequence: self.sequence, marker, payload: payload.into() }
        };
        payloads.into_iter().enumerate().map(packet).collect()
    }

    /// RFC 7741, 4.2: X; I, L, T; 15-bit PictureID; TL0PICIDX; TID 0 with Y.
    fn vp8(&self, frame: &[u8]) -> Vec<Vec<u8>> {
        let id = self.picture_id;
        let payload = |(index, chunk): (usize, &[u8])| {
            let start = if index == 0 { 0x10 } else { 0 };
            let head = [0x80 | start, 0xe0, 0x80 | (id >> 8) as u8, id as u8, self.tl0_pic_idx, 0x20];
            [&head, chunk].concat()
        };
        frame.chunks(MAX_PAYLOAD).enumerate().map(payload).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests;
