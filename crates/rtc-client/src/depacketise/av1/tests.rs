//! Packets made by hand: every form that the payload format allows, and what must be taken for damage.

use crate::depacketise::assembler::tests::{handle_all, packet};
use crate::depacketise::{Assembler, Ordered};
use crate::packet::{Codec, RtpPacket};
use crate::packetise::tests::{AV1_DELTA, AV1_KEY};

fn av1(sequence: u64, timestamp: u64, payload: &[u8], marker: bool) -> RtpPacket {
    RtpPacket { codec: Codec::Av1, ..packet(sequence, timestamp, payload, marker) }
}

/// The sequence header and the key frame of [`AV1_KEY`], without delimiter and sizes.
fn obus() -> (Vec<u8>, Vec<u8>) {
    let sequence = &AV1_KEY[2..];
    let len = 2 + usize::from(sequence[1]);
    let frame = &sequence[len..];
    ([&[0x08], &sequence[2..len]].concat(), [&[0x30], &frame[2..]].concat())
}

fn unit() -> Vec<u8> {
    AV1_KEY[2..].to_vec()
}

#[test]
fn elements_come_out_with_their_sizes_however_they_were_packed() {
    let (sequence, frame) = obus();
    let (a, b) = frame.split_at(3);
    let counted = [&[0x28, sequence.len() as u8], &sequence[..], &frame].concat();
    let lengths = [&[0x08, sequence.len() as u8], &sequence[..], &[frame.len() as u8], &frame].concat();
    // A delimiter and padding are not kept; an OBU may bring its size along.
    let len = sequence.len() as u8;
    let with_size = [&[0x08, 2, 0x12, 0, len + 1], &unit()[..sequence.len() + 1], &[3, 0x7a, 1, 0x80]].concat();
    let ways: [Vec<RtpPacket>; 4] = [
        vec![av1(1, 0, &counted, true)],
        vec![av1(1, 0, &lengths, true)],
        vec![
            av1(1, 0, &[&[0x68, sequence.len() as u8], &sequence[..], a].concat(), false),
            av1(2, 0, &[&[0x90], b].concat(), true),
        ],
        vec![av1(1, 0, &with_size, false), av1(2, 0, &[&[0x10], &frame[..]].concat(), true)],
    ];
    for packets in ways {
        let out = handle_all(&mut Assembler::default(), packets.clone());
        assert_eq!(out.len(), 1, "{packets:x?}");
        assert_eq!(out[0].data, unit());
        let key = out[0].key.as_ref().expect("a key frame");
        assert_eq!((key.width, key.height), (320, 180));
        // Main profile, level 0, 4:2:0 of unknown position; then the sequence header with its size.
        assert_eq!(key.config, [&[0x81, 0x00, 0x0c, 0x00], &unit()[..sequence.len() + 1]].concat());
    }
}

#[test]
fn a_delta_frame_needs_its_key_frame() {
    let (sequence, frame) = obus();
    let delta = av1(2, 3000, &[&[0x10, 0x30], &AV1_DELTA[4..]].concat(), true);
    let mut assembler = Assembler::default();
    assert!(handle_all(&mut assembler, vec![delta.clone()]).is_empty());
    let key = [&[0x28, sequence.len() as u8], &sequence[..], &frame].concat();
    assert_eq!(handle_all(&mut assembler, vec![av1(1, 0, &key, true), delta]).len(), 2);
    // A sequence header does not make a key frame.
    let repeated = [&[0x28, sequence.len() as u8], &sequence[..], &[0x30], &AV1_DELTA[4..]].concat();
    assert_eq!(handle_all(&mut assembler, vec![av1(4, 9000, &repeated, true)])[0].key, None);
    // A key frame without its sequence header cannot be seeked to.
    let bare = av1(5, 12_000, &[&[0x10], &frame[..]].concat(), true);
    assert_eq!(handle_all(&mut assembler, vec![bare])[0].key, None);
}

#[test]
fn a_packet_may_hold_more_elements_than_a_byte_counts() {
    let (sequence, frame) = obus();
    let key = [&[0x28, sequence.len() as u8], &sequence[..], &frame].concat();
    let mut assembler = Assembler::default();
    let delimiters = [&[0x00][..], &[1, 0x10].repeat(600)].concat();
    let out = handle_all(&mut assembler, vec![av1(1, 0, &key, true), av1(2, 3000, &delimiters, false)]);
    assert_eq!((out.len(), assembler.needs_key_frame()), (1, false));
}

#[test]
fn what_does_not_follow_is_damage() {
    let (sequence, frame) = obus();
    let key = [&[0x28, sequence.len() as u8], &sequence[..], &frame].concat();
    let bad: [&[u8]; 7] = [
        // Continues nothing; goes on after its end; lengths beyond the packet; a wrong count; no element; no OBU.
        &[0x90, 0x30, 1],
        &[0x50, 0x30, 1],
        &[0x00, 9, 0x30, 1],
        &[0x20, 1, 0x30],
        &[0x30, 1, 0x30, 0x30],
        &[0x10],
        &[0x10, 0xff],
    ];
    for payload in bad {
        let mut assembler = Assembler::default();
        handle_all(&mut assembler, vec![av1(1, 0, &key, true)]);
        assert!(!assembler.needs_key_frame());
        assembler.handle(Ordered::Packet(av1(2, 3000, payload, true)));
        assert!(assembler.needs_key_frame(), "{payload:x?}");
    }
}
