//! Pictures out of ordered packets, for every video codec: whole ones only, and nothing between damage and the next key
//! frame. What the payloads of one codec mean is said by a `Depacketise` beside this file.

use std::collections::VecDeque;

use super::av1::Av1;
use super::h264::H264;
use super::reorder::Ordered;
use super::vp8::Vp8;
use super::vp9::Vp9;
use crate::packet::{Codec, RtpPacket};

/// Largest picture, bytes: a sender that never ends a frame must not eat memory.
pub(crate) const MAX_PICTURE: usize = 4 << 20;

/// What a key frame says about all that follows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Key {
    /// Pixels in a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
    /// `av1C` or `avcC` (ISO/IEC 14496-15, 5.3.3); empty for VP8 and VP9.
    pub config: Vec<u8>,
}

/// A whole picture that can be decoded after the ones before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Extended RTP timestamp, 90 kHz.
    pub timestamp: u64,
    /// How it is encoded.
    pub codec: Codec,
    /// For a key frame: what a decoder must know.
    pub key: Option<Key>,
    /// The picture as Matroska holds it: a VP8 frame, a VP9 frame or superframe, AV1 OBUs with sizes and without temporal
    /// delimiter, H.264 NAL units with lengths of four bytes.
    pub data: Vec<u8>,
}

/// The part of a picture's way that is another for each codec.
pub(crate) trait Depacketise: std::fmt::Debug + Send + Sync {
    /// Takes the next payload of a picture. `None`: it is malformed, or does not follow what came before.
    fn push(&mut self, payload: &[u8]) -> Option<()>;
    /// Whether nothing of a picture is held.
    fn is_empty(&self) -> bool;
    /// The picture, when its last packet was taken; without bytes if the packets held none. `None`: it is not whole.
    fn take(&mut self) -> Option<(Vec<u8>, Option<Key>)>;
    /// Forgets the picture in the making, and what a key frame repeats.
    fn clear(&mut self);
}

fn depacketiser(codec: Codec) -> Option<Box<dyn Depacketise>> {
    Some(match codec {
        Codec::Opus => return None,
        Codec::Vp8 => Box::new(Vp8::default()),
        Codec::Vp9 => Box::new(Vp9::default()),
        Codec::H264 => Box::new(H264::default()),
        Codec::Av1 => Box::new(Av1::default()),
    })
}

/// The pictures of one stream.
///
/// `waiting for a key frame → whole → damaged = waiting for a key frame`: see [`Assembler::needs_key_frame`].
#[derive(Debug, Default)]
pub struct Assembler {
    format: Option<(Codec, Box<dyn Depacketise>)>,
    /// The timestamp of the picture in the making.
    begun: Option<u64>,
    whole: bool,
    ready: VecDeque<Picture>,
}

impl Assembler {
    /// Takes the next packet or loss.
    pub fn handle(&mut self, ordered: Ordered) {
        match ordered {
            Ordered::Lost(_) => self.restart(),
            // Padding keeps the sequence but carries nothing.
            Ordered::Packet(packet) if packet.payload.is_empty() => {}
            Ordered::Packet(packet) => self.packet(&packet),
        }
    }

    /// The next picture.
    pub fn poll(&mut self) -> Option<Picture> {
        self.ready.pop_front()
    }

    /// Whether nothing comes out before a key frame: ask for one.
    pub fn needs_key_frame(&self) -> bool {
        !self.whole
    }

    /// Waits for a key frame, which the picture in the making may be: the track was muted.
    pub fn require_key_frame(&mut self) {
        self.whole = false;
    }

    /// Forgets the picture in the making and waits for a key frame: packets are missing, the track behind the m-line changed,
    /// or its pictures have no place.
    pub fn restart(&mut self) {
        self.begun = None;
        self.whole = false;
        if let Some((_, format)) = &mut self.format {
            format.clear();
        }
    }

    fn packet(&mut self, packet: &RtpPacket) {
        if self.format.as_ref().is_none_or(|(codec, _)| *codec != packet.codec) {
            // Another encoder: nothing of the old one helps to decode it.
            self.restart();
            self.format = depacketiser(packet.codec).map(|format| (packet.codec, format));
        }
        if self.begun.is_some_and(|timestamp| timestamp != packet.timestamp) {
            // No packet is missing, so the old picture is whole without a marker, too. A forwarder that switches sources in
            // the middle of a picture leaves a gap in the numbers.
            self.complete();
        }
        let Some((_, format)) = &mut self.format else { return };
        self.begun = Some(packet.timestamp);
        if format.push(&packet.payload).is_none() {
            self.restart();
        } else if packet.marker {
            self.complete();
        }
    }

    fn complete(&mut self) {
        let (Some((codec, format)), Some(timestamp)) = (&mut self.format, self.begun.take()) else { return };
        if format.is_empty() {
            return;
        }
        let Some((data, key)) = format.take() else { return self.restart() };
        self.whole |= key.is_some() && !data.is_empty();
        if self.whole && !data.is_empty() {
            self.ready.push_back(Picture { timestamp, codec: *codec, key, data });
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
