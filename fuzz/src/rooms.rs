//! Rooms: frames of clients and recorders, tokens, offers, and datagrams on the media port.

use serde_json::Value;
use sfu::command::{Intent, Mode, Offer, Permissions, RoomSettings, Source};
use sfu::{Command, Config, Output, ParticipantId, Path, Protocol, RequestId, RoomId, Worker};
use signalling::link::FromRecorder;
use signalling::message::ClientFrame;
use signalling::token::{Confirmation, Key, Keyring};
use signalling::{RoomName, device};

use crate::input::{Input, some_instant};

/// Frames of clients and recorders: what was understood is written as it was read.
pub fn signalling_frame(bytes: &[u8]) {
    if let Ok(frame) = serde_json::from_slice::<ClientFrame>(bytes) {
        let text = serde_json::to_string(&frame).expect("a frame can be written");
        assert_eq!(serde_json::from_str::<ClientFrame>(&text).expect("and read again"), frame);
    }
    if let Ok(frame) = serde_json::from_slice::<FromRecorder>(bytes) {
        let value = serde_json::to_value(&frame).expect("a frame can be written");
        let again: FromRecorder = serde_json::from_value(value.clone()).expect("and read again");
        assert_eq!(serde_json::to_value(&again).unwrap_or(Value::Null), value);
    }
}

/// Tokens: nobody guesses one.
pub fn room_token(bytes: &[u8]) {
    let Ok(token) = std::str::from_utf8(bytes) else { return };
    let keys = Keyring::new(vec![Key::new("k1", *b"0123456789abcdef0123456789abcdef")]).expect("one key");
    assert!(keys.verify_any_room(token, 1_700_000_000).is_err(), "a token that we never signed");
    if let Ok(room) = token.parse::<RoomName>() {
        assert!(keys.verify(token, &room, 1_700_000_000).is_err());
    }
}

/// Proofs of a device-bound token: whatever key and proof say, only the bound key's holder passes.
pub fn device_proof(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return };
    let (key, proof) = (value.get("key"), value.get("proof").and_then(Value::as_str));
    // Nobody has this thumbprint's key.
    let bound = Confirmation { jkt: "A".repeat(43) };
    assert!(device::check_proof(&bound, key, proof, "nonce").is_err(), "a proof without the key");
}

fn worker() -> Worker {
    let candidates = vec![(Protocol::Udp, ([203, 0, 113, 5], 8189).into())];
    Worker::new(Config { candidates, worker: 0, workers: 1 }, some_instant()).expect("a certificate can be made")
}

fn path(number: u8) -> Path {
    let protocol = if number & 1 == 0 { Protocol::Udp } else { Protocol::Tcp };
    Path { protocol, local: ([203, 0, 113, 5], 8189).into(), remote: ([198, 20, 0, number], 4000).into() }
}

/// Lets a participant in with this offer; says whether it was accepted.
fn join(worker: &mut Worker, sdp: String) -> bool {
    let settings = RoomSettings { mode: Mode::Sfu, max_participants: 10, locked: false };
    worker.handle_command(Command::OpenRoom { room: RoomId(1), settings }, some_instant());
    let permissions = Permissions {
        publish: vec![Source::Mic, Source::Camera],
        data: true,
        subscribe: true,
        moderate: false,
        hidden: false,
        recorder: false,
    };
    let track = |mid: &str, source| Intent { mid: mid.into(), source, muted: false };
    let offer = Offer {
        transport: "main".into(),
        epoch: 1,
        only: None,
        sdp: Some(sdp),
        tracks: vec![track("0", Source::Mic), track("1", Source::Camera)],
    };
    let command = Command::Join {
        request: RequestId(1),
        room: RoomId(1),
        participant: ParticipantId(1),
        name: "Ada".into(),
        permissions,
        offer: Some(offer),
    };
    worker.handle_command(command, some_instant());
    let mut replies = Vec::new();
    while let Some(output) = worker.poll_output() {
        if let Output::Reply { result, .. } = output {
            replies.push(result.is_ok());
        }
    }
    assert_eq!(replies.len(), 1, "exactly one reply to a command");
    replies[0]
}

/// Offers: accepted or refused, and no engine panics.
pub fn sfu_offer(bytes: &[u8]) {
    let Ok(sdp) = std::str::from_utf8(bytes) else { return };
    let mut worker = worker();
    join(&mut worker, sdp.to_owned());
    assert_eq!(worker.counters().panics, 0, "the engine panicked");
}

/// Datagrams on the media port, beside one participant who has not connected yet.
pub fn sfu_datagram(bytes: &[u8]) {
    let mut worker = worker();
    assert!(join(&mut worker, include_str!("../corpus/sfu_offer/browser").to_owned()), "a browser's offer is taken");
    let mut input = Input(bytes);
    while let Some(number) = input.byte() {
        let Some(chunk) = input.chunk() else { break };
        worker.handle_datagram(path(number), chunk, some_instant());
        while worker.poll_output().is_some() {}
    }
    assert_eq!(worker.counters().panics, 0, "the engine panicked");
}
