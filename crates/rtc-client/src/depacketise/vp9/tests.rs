//! Packets made by hand: every form that the payload format allows, and what must be taken for damage.

use crate::depacketise::assembler::tests::{handle_all, packet};
use crate::depacketise::{Assembler, Ordered};
use crate::packet::{Codec, RtpPacket};
use crate::packetise::tests::{VP9_DELTA, VP9_KEY};

fn vp9(sequence: u64, timestamp: u64, head: &[u8], body: &[u8], marker: bool) -> RtpPacket {
    RtpPacket { codec: Codec::Vp9, ..packet(sequence, timestamp, &[head, body].concat(), marker) }
}

/// Flexible mode, both layers of two pictures: the upper layer of the first is predicted only from the lower.
fn layers() -> Vec<RtpPacket> {
    let structure = [0x30, 1, 64, 0, 180, 2, 128, 1, 104];
    vec![
        // I L F B E V, SID 0; I P L F B, E, SID 1 with one P_DIFF.
        vp9(1, 0, &[&[0xbe, 1, 0x00], &structure[..]].concat(), &VP9_KEY, false),
        vp9(2, 0, &[0xf8, 1, 0x03, 2], &[0x86, 1], false),
        vp9(3, 0, &[0xf4, 1, 0x03, 2], &[2, 3], true),
        vp9(4, 3000, &[0xfc, 2, 0x00, 2], &VP9_DELTA, false),
        vp9(5, 3000, &[0xfc, 2, 0x03, 2], &VP9_DELTA, true),
    ]
}

#[test]
fn spatial_layers_become_one_superframe() {
    let out = handle_all(&mut Assembler::default(), layers());
    assert_eq!(out.len(), 2);
    assert_eq!(out[0].key.as_ref().map(|key| (key.width, key.height)), Some((640, 360)));
    assert_eq!(out[1].key, None);
    let frames = [&VP9_KEY[..], &[0x86, 1, 2, 3]].concat();
    let index = [0xd9, VP9_KEY.len() as u8, 0, 0, 0, 4, 0, 0, 0, 0xd9];
    assert_eq!(out[0].data, [&frames[..], &index].concat());
}

#[test]
fn a_layer_without_its_lower_one_is_no_beginning() {
    let mut assembler = Assembler::default();
    // Its lower layer was lost, and what it is predicted from; it looks like a key frame itself.
    assert!(handle_all(&mut assembler, vec![vp9(1, 0, &[0xbc, 1, 0x02], &VP9_KEY, true)]).is_empty());
    assert!(assembler.needs_key_frame());
}

#[test]
fn what_does_not_follow_is_damage() {
    let key = || vp9(1, 0, &[0x8c, 1], &VP9_KEY, true);
    for bad in [
        vp9(2, 3000, &[0xc4, 1], &VP9_DELTA, true),
        vp9(2, 3000, &[0xc8, 1], &VP9_DELTA, true),
        vp9(2, 3000, &[0xcc], &[], true),
        vp9(2, 3000, &[0xcc, 1], &[], true),
    ] {
        let mut assembler = Assembler::default();
        handle_all(&mut assembler, vec![key()]);
        assert!(!assembler.needs_key_frame());
        assembler.handle(Ordered::Packet(bad.clone()));
        assert!(assembler.needs_key_frame(), "{:x?}", bad.payload);
    }
}

#[test]
fn a_frame_that_never_ended_is_damage() {
    let mut assembler = Assembler::default();
    let torn = vec![vp9(1, 0, &[0xa8, 1, 0, 0], &VP9_KEY, false), vp9(2, 0, &[0xac, 1, 2, 0], &VP9_KEY, true)];
    assert!(handle_all(&mut assembler, torn).is_empty());
    assert!(assembler.needs_key_frame());
}

#[test]
fn a_key_frame_is_predicted_from_nothing() {
    assert!(handle_all(&mut Assembler::default(), vec![vp9(1, 0, &[0xcc, 1], &VP9_KEY, true)]).is_empty());
}

#[test]
fn an_intra_picture_that_is_no_key_frame_is_none() {
    let out = handle_all(&mut Assembler::default(), vec![vp9(1, 0, &[0x8c, 1], &VP9_DELTA, true)]);
    assert!(out.is_empty());
}

#[test]
fn a_structure_without_a_size_says_none() {
    // B, E, V; one layer with a size of nothing.
    let payload = [&[0x0e, 0x10, 0, 0, 0, 0][..], &VP9_KEY].concat();
    let packet = RtpPacket { codec: Codec::Vp9, ..packet(1, 0, &payload, true) };
    let out = handle_all(&mut Assembler::default(), vec![packet]);
    assert_eq!(out[0].key.as_ref().map(|key| (key.width, key.height)), Some((640, 360)));
}
