//! Packets made by hand: every form that the payload format allows, and what must be taken for damage.

use crate::depacketise::assembler::tests::{handle_all, packet};
use crate::depacketise::{Assembler, Ordered};
use crate::packet::{Codec, RtpPacket};
use crate::packetise::tests::{PPS as PPS_NAL, SPS as SPS_NAL};

const IDR: [u8; 8] = [0x65, 0x88, 1, 2, 3, 4, 5, 6];
const DELTA: [u8; 4] = [0x41, 0x9a, 1, 2];

fn h264(sequence: u64, timestamp: u64, payload: &[u8], marker: bool) -> RtpPacket {
    RtpPacket { codec: Codec::H264, ..packet(sequence, timestamp, payload, marker) }
}

fn stap(nals: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0x78];
    nals.iter().for_each(|nal| out.extend([&(nal.len() as u16).to_be_bytes()[..], nal].concat()));
    out
}

fn length_prefixed(nals: &[&[u8]]) -> Vec<u8> {
    nals.iter().flat_map(|nal| [&(nal.len() as u32).to_be_bytes()[..], nal].concat()).collect()
}

/// Parameter sets together, the picture in two fragments.
fn key(sequence: u64, timestamp: u64) -> Vec<RtpPacket> {
    vec![
        h264(sequence, timestamp, &stap(&[SPS_NAL, PPS_NAL]), false),
        h264(sequence + 1, timestamp, &[&[0x7c, 0x85], &IDR[1..4]].concat(), false),
        h264(sequence + 2, timestamp, &[&[0x7c, 0x45], &IDR[4..]].concat(), true),
    ]
}

#[test]
fn every_packing_gives_the_same_picture() {
    let (slice, sei) = ([0x65, 0x08, 9], [0x06, 5]);
    let single = vec![
        h264(1, 0, &[0x09, 0xf0], false),
        h264(2, 0, SPS_NAL, false),
        h264(3, 0, PPS_NAL, false),
        h264(4, 0, &IDR, true),
    ];
    for packets in [key(1, 0), single, vec![h264(1, 0, &stap(&[SPS_NAL, PPS_NAL, &IDR]), true)]] {
        let out = handle_all(&mut Assembler::default(), packets);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].data, length_prefixed(&[&IDR]));
        let key = out[0].key.as_ref().expect("a key frame");
        assert_eq!((key.width, key.height), (320, 180));
        let head = [1, SPS_NAL[1], SPS_NAL[2], SPS_NAL[3], 0xff, 0xe1, 0, SPS_NAL.len() as u8];
        let config = [&head[..], SPS_NAL, &[1, 0, PPS_NAL.len() as u8], PPS_NAL].concat();
        assert_eq!(key.config, config);
    }
    // Several slices, and a message in front.
    let sliced = vec![h264(1, 0, &stap(&[SPS_NAL, PPS_NAL, &sei]), false), h264(2, 0, &stap(&[&IDR, &slice]), true)];
    let out = handle_all(&mut Assembler::default(), sliced);
    assert_eq!(out[0].data, length_prefixed(&[&sei, &IDR, &slice]));
}

#[test]
fn parameter_sets_may_come_ahead_with_a_time_of_their_own() {
    for marker in [false, true] {
        let ahead =
            vec![h264(1, 0, &stap(&[SPS_NAL, PPS_NAL]), marker), h264(2, 90, &IDR, true), h264(3, 180, &DELTA, true)];
        let out = handle_all(&mut Assembler::default(), ahead);
        assert_eq!(out.iter().map(|picture| picture.timestamp).collect::<Vec<_>>(), [90, 180]);
    }
}

#[test]
fn a_picture_without_its_first_slice_or_its_sets_is_none() {
    let mut assembler = Assembler::default();
    let (later, bare) = ([0x65, 0x08, 9], h264(1, 0, &IDR, true));
    assert!(handle_all(&mut assembler, vec![bare]).is_empty());
    let headless = vec![h264(2, 9, &stap(&[SPS_NAL, PPS_NAL]), false), h264(3, 9, &later, true)];
    assert!(handle_all(&mut assembler, headless).is_empty());
    assert!(assembler.needs_key_frame());
    // What was lost may have brought other sets.
    assert_eq!(handle_all(&mut assembler, key(4, 18)).len(), 1);
    assembler.handle(Ordered::Lost(1));
    assert!(handle_all(&mut assembler, vec![h264(8, 27, &IDR, true)]).is_empty());
    assert_eq!(handle_all(&mut assembler, key(9, 36)).len(), 1);
}

#[test]
fn ids_that_only_count_up_change_no_configuration() {
    let mut assembler = Assembler::default();
    let first = handle_all(&mut assembler, key(1, 0)).remove(0);
    // The same picture parameter set with id 1: 010 in the place of 1.
    let renamed = [0x68, 0x53, 0x83, 0xf2];
    let again = vec![h264(4, 90, &stap(&[SPS_NAL, &renamed, &IDR]), true)];
    let second = handle_all(&mut assembler, again).remove(0);
    assert_eq!(second.key, first.key);
    assert_eq!(second.data, length_prefixed(&[SPS_NAL, PPS_NAL, &renamed, &IDR]));
    // Another level is another configuration.
    let mut level = SPS_NAL.to_vec();
    level[3] = 31;
    let third = handle_all(&mut assembler, vec![h264(5, 180, &stap(&[&level, PPS_NAL, &IDR]), true)]).remove(0);
    assert_ne!(third.key, first.key);
    assert_eq!(third.data, length_prefixed(&[&IDR]));
}

#[test]
fn what_does_not_follow_is_damage() {
    let unfinished = [&[0x7c, 0x85], &IDR[1..4]].concat();
    let bad: [&[u8]; 9] = [
        // A fragment without start; one that starts and ends; one without bytes; one that never ends.
        &[0x7c, 0x45, 1],
        &[0x7c, 0xc5, 1],
        &[0x7c, 0x85],
        &unfinished,
        // Sizes beyond the packet; an empty unit; a mode that is not ours; a partition; sets between key frames.
        &[0x78, 0, 9, 0x41],
        &[0x78, 0, 0],
        &[0x79, 0, 0, 0, 1, 0x41],
        &[0x42, 0x9a],
        &[&[0x78, 0, 4, 0x68, 0x53, 0x83, 0xf2, 0, 4], &DELTA[..]].concat(),
    ];
    for payload in bad {
        let mut assembler = Assembler::default();
        handle_all(&mut assembler, key(1, 0));
        assert!(!assembler.needs_key_frame());
        assembler.handle(Ordered::Packet(h264(4, 90, payload, true)));
        assert!(assembler.needs_key_frame(), "{payload:x?}");
    }
}
