//! What goes through a packetiser and its depacketiser comes out as a file holds it.

use super::*;
use crate::depacketise::assembler::tests::{handle_all, packet};
use crate::depacketise::{Assembler, Picture};
use crate::packet::RtpPacket;

/// 640x360, and nothing that could be decoded.
pub(crate) const VP9_KEY: [u8; 12] = [0x82, 0x49, 0x83, 0x42, 0x20, 0x27, 0xf0, 0x16, 0x70, 1, 2, 3];
pub(crate) const VP9_DELTA: [u8; 4] = [0x86, 1, 2, 3];
/// A delimiter, the sequence header that libaom writes for 320x180, the beginning of its key frame.
pub(crate) const AV1_KEY: [u8; 22] =
    [0x12, 0, 0x0a, 0x0b, 0, 0, 0, 0x04, 0x3c, 0xfe, 0xcc, 0xda, 0xf9, 0, 0x40, 0x32, 5, 0x10, 0, 0x84, 0, 2];
pub(crate) const AV1_DELTA: [u8; 7] = [0x12, 0, 0x32, 3, 0x30, 0, 1];
/// As x264 writes them for 320x180: cropped, with escapes.
pub(crate) const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x0d, 0xda, 0x05, 0x06, 0x7e, 0x7c, 0x04, 0x40, 0, 0, 3, 0, 0x40, 0, 0, 0x0f, 0x23, 0xc5, 0x0a,
    0xa8,
];
pub(crate) const PPS: &[u8] = &[0x68, 0xce, 0x0f, 0xc8];

fn through(codec: Codec, frames: &[Vec<u8>]) -> Vec<Picture> {
    let mut packetiser = Packetiser::starting_at(65_530, 0x7fff);
    let mut packets = Vec::new();
    for (index, frame) in frames.iter().enumerate() {
        for Packet { sequence, marker, payload } in packetiser.packets(codec, frame) {
            assert!(payload.len() <= MAX_PAYLOAD + 6, "{}", payload.len());
            packets.push(RtpPacket { codec, ..packet(sequence, index as u64 * 3000, &payload, marker) });
        }
    }
    handle_all(&mut Assembler::default(), packets)
}

fn long(start: &[u8], len: usize) -> Vec<u8> {
    start.iter().copied().chain((0..).map(|n: u32| (n % 251) as u8 | 1)).take(len).collect()
}

#[test]
fn vp9_frames_come_out_as_they_went_in() {
    let frames = [long(&VP9_KEY, 5000), VP9_DELTA.to_vec(), long(&VP9_DELTA, 1100)];
    let out = through(Codec::Vp9, &frames);
    assert_eq!(out.iter().map(|picture| picture.data.clone()).collect::<Vec<_>>(), frames);
    let keys: Vec<_> = out.iter().map(|picture| picture.key.as_ref().map(|key| (key.width, key.height))).collect();
    assert_eq!(keys, [Some((640, 360)), None, None]);
}

#[test]
fn av1_units_lose_only_their_delimiter() {
    let frame = long(&[0x30], 4000);
    let delta = [&AV1_DELTA[..2], &[0x32, 0xa0, 0x1f], &frame].concat();
    let out = through(Codec::Av1, &[AV1_KEY.to_vec(), delta.clone(), AV1_DELTA.to_vec()]);
    let data: Vec<_> = out.iter().map(|picture| &picture.data[..]).collect();
    assert_eq!(data, [&AV1_KEY[2..], &delta[2..], &AV1_DELTA[2..]]);
    assert_eq!(out[0].key.as_ref().map(|key| (key.width, key.height)), Some((320, 180)));
}

#[test]
fn h264_units_lose_delimiters_sets_and_start_codes() {
    let (slice, small) = (long(&[0x65, 0x88], 3000), [0x65, 0x08, 7]);
    let code = [0, 0, 0, 1];
    let key = [&code[..], &[9, 0xf0], &code, SPS, &code, PPS, &code[1..], &slice, &code, &small].concat();
    let delta = [&code[..], &[0x41, 0x9a, 1]].concat();
    let out = through(Codec::H264, &[key, delta]);
    let sized = |nal: &[u8]| [&(nal.len() as u32).to_be_bytes(), nal].concat();
    assert_eq!(out[0].data, [sized(&slice), sized(&small)].concat());
    assert_eq!(out[1].data, sized(&[0x41, 0x9a, 1]));
    assert_eq!(out[0].key.as_ref().map(|key| (key.width, key.height)), Some((320, 180)));
}
