//! VP8 pictures out of ordered packets (RFC 7741): whole ones only, and nothing between damage and the next key frame.

use std::collections::VecDeque;
use std::time::Instant;

use crate::depacketise::reorder::Ordered;
use crate::packet::{RtpPacket, SenderReport};

/// Largest picture, bytes: a sender that never ends a frame must not eat memory.
const MAX_PICTURE: usize = 4 << 20;

/// The payload descriptor in front of every VP8 payload (RFC 7741, 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// S and PID 0: the packet begins a picture.
    pub starts_picture: bool,
    /// No other picture is predicted from this one.
    pub discardable: bool,
    /// PictureID, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// Temporal layer.
    pub temporal: Option<u8>,
    /// Bytes of the descriptor.
    pub length: usize,
}

impl Descriptor {
    /// Reads a descriptor; `None`: it is cut short.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let mut descriptor = Self {
            starts_picture: first & 0x10 != 0 && first & 0x07 == 0,
            discardable: first & 0x20 != 0,
            picture_id: None,
            temporal: None,
            length: 1,
        };
        if first & 0x80 == 0 {
            return Some(descriptor);
        }
        let mut take = || {
            let byte = *payload.get(descriptor.length)?;
            descriptor.length += 1;
            Some(byte)
        };
        let fields = take()?;
        if fields & 0x80 != 0 {
            let id = take()?;
            let long = id & 0x80 != 0;
            let high = u16::from(id & 0x7f);
            descriptor.picture_id = Some(if long { high << 8 | u16::from(take()?) } else { high });
        }
        if fields & 0x40 != 0 {
            take()?;
        }
        if fields & 0x30 != 0 {
            let layers = take()?;
            descriptor.temporal = (fields & 0x20 != 0).then_some(layers >> 6);
        }
        Some(descriptor)
    }
}

/// Size of a VP8 picture, if it is a key frame (RFC 6386, 9.1).
pub fn key_frame_size(picture: &[u8]) -> Option<(u16, u16)> {
    let [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = *picture else { return None };
    let size = |low, high| u16::from_le_bytes([low, high]) & 0x3fff;
    (tag & 1 == 0).then(|| (size(w0, w1), size(h0, h1)))
}

/// A whole picture that can be decoded after the ones before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Extended RTP timestamp, 90 kHz.
    pub timestamp: u64,
    /// For a key frame: width and height.
    pub key: Option<(u16, u16)>,
    /// The VP8 frame.
    pub data: Vec<u8>,
    /// When its last packet arrived.
    pub arrived: Instant,
    /// The newest sender report then.
    pub report: Option<SenderReport>,
}

/// Why nothing comes out, or why something did not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    /// Packets that never came.
    pub packets: u64,
    /// Pictures that were dropped because of them, or because they were malformed.
    pub pictures: u64,
}

#[derive(Debug)]
struct Partial {
    timestamp: u64,
    data: Vec<u8>,
    arrived: Instant,
    report: Option<SenderReport>,
}

/// The pictures of one stream.
///
/// `waiting for a key frame → whole → damaged = waiting for a key frame`: see [`Assembler::needs_key_frame`].
#[derive(Debug, Default)]
pub struct Assembler {
    partial: Option<Partial>,
    whole: bool,
    ready: VecDeque<Picture>,
    losses: Losses,
}

impl Assembler {
    /// Takes the next packet or loss.
    pub fn handle(&mut self, ordered: Ordered) {
        match ordered {
            Ordered::Lost(count) => {
                self.losses.packets += count;
                self.damage();
            }
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

    /// What was lost so far.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// Forgets the picture in the making and waits for a key frame: the track behind the m-line changed or was muted.
    pub fn restart(&mut self) {
        self.partial = None;
        self.whole = false;
    }

    fn packet(&mut self, packet: &RtpPacket) {
        if self.partial.as_ref().is_some_and(|p| p.timestamp != packet.timestamp) {
            // The old picture never ended: a forwarder switched sources in the middle of it.
            self.damage();
        }
        let body = Descriptor::parse(&packet.payload)
            .and_then(|d| Some((d, packet.payload.get(d.length..).filter(|body| !body.is_empty())?)));
        let Some((descriptor, body)) = body else { return self.damage() };
        match &mut self.partial {
            None if descriptor.starts_picture => {
                self.partial = Some(Partial {
                    timestamp: packet.timestamp,
                    data: body.to_vec(),
                    arrived: packet.arrived,
                    report: packet.report,
                });
            }
            Some(partial) if !descriptor.starts_picture && partial.data.len() + body.len() <= MAX_PICTURE => {
                partial.data.extend_from_slice(body);
                partial.arrived = partial.arrived.max(packet.arrived);
                partial.report = packet.report;
            }
            _ => return self.damage(),
        }
        if packet.marker {
            self.complete();
        }
    }

    fn complete(&mut self) {
        let Some(Partial { timestamp, data, arrived, report }) = self.partial.take() else { return };
        let key = key_frame_size(&data);
        let claims_key = data.first().is_some_and(|tag| tag & 1 == 0);
        if claims_key && key.is_none() {
            return self.damage();
        }
        self.whole |= key.is_some();
        if self.whole {
            self.ready.push_back(Picture { timestamp, key, data, arrived, report });
        } else {
            self.losses.pictures += 1;
        }
    }

    fn damage(&mut self) {
        if self.partial.take().is_some() || self.whole {
            self.losses.pictures += 1;
        }
        self.whole = false;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::packet::{Codec, Mid};
    use crate::packetise::Packetiser;

    pub(crate) fn packet(sequence: u64, timestamp: u64, payload: &[u8], marker: bool) -> RtpPacket {
        // Tests need one fixed moment; how far it is from now does not matter.
        static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
        let arrived = *EPOCH.get_or_init(Instant::now);
        RtpPacket {
            mid: Mid::from("0"),
            rid: None,
            codec: Codec::Vp8,
            ssrc: 1,
            sequence,
            timestamp,
            marker,
            payload: Arc::from(payload),
            arrived,
            report: None,
        }
    }

    pub(crate) fn key_frame(size: usize) -> Vec<u8> {
        let mut frame = vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00];
        frame.resize(size.max(10), 7);
        frame
    }

    fn stream(frames: &[Vec<u8>]) -> Vec<RtpPacket> {
        let mut packetiser = Packetiser::default();
        let mut packets = Vec::new();
        for (index, frame) in frames.iter().enumerate() {
            for p in packetiser.packets(Codec::Vp8, frame).expect("VP8") {
                packets.push(packet(p.sequence, index as u64 * 3000, &p.payload, p.marker));
            }
        }
        packets
    }

    fn pictures(assembler: &mut Assembler) -> Vec<u64> {
        std::iter::from_fn(|| assembler.poll()).map(|picture| picture.timestamp).collect()
    }

    #[test]
    fn pictures_come_out_as_they_went_in() {
        let frames = [key_frame(5000), vec![1; 3000], vec![1; 10]];
        let mut assembler = Assembler::default();
        stream(&frames).into_iter().for_each(|p| assembler.handle(Ordered::Packet(p)));
        let out: Vec<_> = std::iter::from_fn(|| assembler.poll()).collect();
        assert_eq!(out.iter().map(|p| p.data.clone()).collect::<Vec<_>>(), frames);
        assert_eq!(out[0].key, Some((320, 240)));
        assert_eq!(out[1].key, None);
    }

    #[test]
    fn nothing_is_passed_on_between_a_loss_and_the_next_key_frame() {
        let frames = [key_frame(2000), vec![1; 2000], vec![1; 2000], key_frame(100), vec![1; 10]];
        let mut assembler = Assembler::default();
        for packet in stream(&frames) {
            let lost = packet.sequence == 4;
            assembler.handle(if lost { Ordered::Lost(1) } else { Ordered::Packet(packet) });
        }
        assert_eq!(pictures(&mut assembler), [0, 9000, 12000]);
        assert_eq!(assembler.losses(), Losses { packets: 1, pictures: 2 });
    }

    #[test]
    fn padding_is_no_loss() {
        let mut assembler = Assembler::default();
        for packet in stream(&[key_frame(10), vec![1; 10], vec![1; 10]]) {
            let padding = RtpPacket { payload: Arc::from([]), ..packet.clone() };
            assembler.handle(Ordered::Packet(packet));
            assembler.handle(Ordered::Packet(padding));
        }
        assert_eq!(pictures(&mut assembler), [0, 3000, 6000]);
    }

    #[test]
    fn a_picture_that_never_ends_is_damage() {
        let mut assembler = Assembler::default();
        for mut packet in stream(&[key_frame(10), vec![1; 10], vec![1; 10], key_frame(20)]) {
            packet.marker &= packet.timestamp != 3000;
            assembler.handle(Ordered::Packet(packet));
        }
        assert_eq!(pictures(&mut assembler), [0, 9000]);
    }

    #[test]
    fn a_descriptor_cut_short_is_damage() {
        for bad in [&[0x90][..], &[0x90, 0x80], &[0x90, 0xc0, 0x81, 0x02], &[0x10]] {
            let mut assembler = Assembler::default();
            stream(&[key_frame(10)]).into_iter().for_each(|p| assembler.handle(Ordered::Packet(p)));
            assembler.handle(Ordered::Packet(packet(2, 3000, bad, true)));
            assert!(assembler.needs_key_frame(), "{bad:?}");
        }
    }
}
