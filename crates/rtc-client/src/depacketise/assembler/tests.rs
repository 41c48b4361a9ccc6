//! The assembler with VP8, the simplest of the codecs; what is special to another is tested beside it.

use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::packet::{Codec, Mid};
use crate::packetise::Packetiser;
use crate::packetise::tests::{VP9_DELTA, VP9_KEY};

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

/// What comes out of packets that all arrived.
pub(crate) fn handle_all(assembler: &mut Assembler, packets: Vec<RtpPacket>) -> Vec<Picture> {
    packets.into_iter().for_each(|packet| assembler.handle(Ordered::Packet(packet)));
    std::iter::from_fn(|| assembler.poll()).collect()
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
        for p in packetiser.packets(Codec::Vp8, frame) {
            packets.push(packet(p.sequence, index as u64 * 3000, &p.payload, p.marker));
        }
    }
    packets
}

fn pictures(assembler: &mut Assembler) -> Vec<u64> {
    std::iter::from_fn(|| assembler.poll()).map(|picture| picture.timestamp).collect()
}

#[test]
fn a_picture_without_a_size_is_damage() {
    let mut key = key_frame(20);
    key[8..10].fill(0);
    let mut assembler = Assembler::default();
    assert!(handle_all(&mut assembler, stream(&[key])).is_empty() && assembler.needs_key_frame());
}

#[test]
fn pictures_come_out_as_they_went_in() {
    let frames = [key_frame(5000), vec![1; 3000], vec![1; 10]];
    let mut assembler = Assembler::default();
    stream(&frames).into_iter().for_each(|p| assembler.handle(Ordered::Packet(p)));
    let out: Vec<_> = std::iter::from_fn(|| assembler.poll()).collect();
    assert_eq!(out.iter().map(|p| p.data.clone()).collect::<Vec<_>>(), frames);
    assert_eq!(out[0].key, Some(Key { width: 320, height: 240, config: Vec::new() }));
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
fn the_next_timestamp_ends_a_picture_without_marker() {
    let mut assembler = Assembler::default();
    for mut packet in stream(&[key_frame(10), vec![1; 3000], vec![1; 10], key_frame(20)]) {
        packet.marker &= packet.timestamp != 3000;
        assembler.handle(Ordered::Packet(packet));
    }
    assert_eq!(pictures(&mut assembler), [0, 3000, 6000, 9000]);
    // Not if a packet is missing: what a forwarder leaves that switches sources in the middle of a picture.
    for mut packet in stream(&[vec![1; 10], vec![1; 10], key_frame(20)]) {
        packet.marker &= packet.timestamp != 0;
        if packet.timestamp == 3000 {
            assembler.handle(Ordered::Lost(1));
        }
        assembler.handle(Ordered::Packet(packet));
    }
    assert_eq!(pictures(&mut assembler), [6000]);
}

#[test]
fn a_required_key_frame_may_be_under_way() {
    let mut assembler = Assembler::default();
    handle_all(&mut assembler, stream(&[key_frame(10)]));
    let packets = stream(&[vec![1; 3000], key_frame(3000), vec![1; 10]]);
    for (n, packet) in packets.into_iter().enumerate() {
        // In the middle of the delta frame, and of the key frame.
        if n == 1 || n == 4 {
            assembler.require_key_frame();
        }
        assembler.handle(Ordered::Packet(packet));
    }
    assert_eq!(pictures(&mut assembler), [3000, 6000]);
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

#[test]
fn another_codec_begins_with_its_own_key_frame() {
    let mut assembler = Assembler::default();
    handle_all(&mut assembler, stream(&[key_frame(10)]));
    let vp9 = |sequence, head: &[u8], body: &[u8]| RtpPacket {
        codec: Codec::Vp9,
        ..packet(sequence, sequence * 3000, &[head, body].concat(), true)
    };
    let out = handle_all(&mut assembler, vec![vp9(2, &[0xcc, 1], &VP9_DELTA), vp9(3, &[0x8c, 2], &VP9_KEY)]);
    assert_eq!(out.iter().map(|picture| (picture.codec, picture.timestamp)).collect::<Vec<_>>(), [(Codec::Vp9, 9000)]);
}

#[test]
fn a_picture_without_end_does_not_eat_memory() {
    let body = vec![1; 60_000];
    for (codec, first, next) in [
        (Codec::Vp8, &[0x10][..], &[0x00][..]),
        (Codec::Vp9, &[0x08], &[0x00]),
        (Codec::Av1, &[0x50, 0x30], &[0xd0]),
        (Codec::H264, &[0x7c, 0x85], &[0x7c, 0x05]),
    ] {
        let mut assembler = Assembler::default();
        let held = (0..100).take_while(|sequence| {
            let head = if *sequence == 0 { first } else { next };
            let packet = RtpPacket { codec, ..packet(*sequence, 0, &[head, &body].concat(), false) };
            handle_all(&mut assembler, vec![packet]);
            assembler.begun.is_some()
        });
        let held = held.count() * body.len();
        assert!((MAX_PICTURE - 2 * body.len()..=MAX_PICTURE).contains(&held), "{codec:?} {held}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(
        codec in prop::sample::select(vec![Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::H264]),
        payloads in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), any::<bool>()), 0..20),
    ) {
        let packets = payloads.iter().enumerate().map(|(n, (payload, marker))| RtpPacket {
            codec,
            ..packet(n as u64, n as u64 / 3, payload, *marker)
        });
        for picture in handle_all(&mut Assembler::default(), packets.collect()) {
            prop_assert!(!picture.data.is_empty());
        }
    }
}
