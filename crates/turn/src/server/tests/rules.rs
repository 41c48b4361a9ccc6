//! Small rules that no other test is about.

use stun_types::attribute::{AttributeStaticType as _, Nonce, RawAttribute, Realm, Username, XorMappedAddress};
use stun_types::message::{
    BINDING, IntegrityAlgorithm, Message, MessageWrite as _, MessageWriteExt as _, MessageWriteVec,
};
use turn_types::attribute::{Lifetime, XorRelayedAddress};
use turn_types::message::ALLOCATE;

use super::rig::*;
use crate::Transport;

/// Rule: stun-header
#[test]
fn what_has_no_sound_header_is_dropped() {
    let good = Message::builder_request(BINDING, MessageWriteVec::new()).finish();
    let mut rig = Rig::new();
    rig.client(udp(), &good);
    assert_eq!(rig.sent.len(), 1, "it is good");
    let changed = |change: fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    for (what, bytes) in [
        ("the highest bit", changed(|bytes| bytes[0] |= 0x80)),
        ("the cookie", changed(|bytes| bytes[5] ^= 1)),
        (
            "a length that is no multiple of 4",
            changed(|bytes| {
                bytes[3] = 2;
                bytes.extend([0; 2]);
            }),
        ),
        ("a length beyond the datagram", changed(|bytes| bytes[3] = 4)),
        ("a datagram beyond the length", changed(|bytes| bytes.extend([0; 4]))),
        ("half a header", changed(|bytes| bytes.truncate(10))),
    ] {
        let mut rig = Rig::new();
        rig.client(udp(), &bytes);
        assert!(rig.sent.is_empty(), "{what}");
    }
}

/// Rule: turn-answer
#[test]
fn allocate_says_all_that_a_client_must_know() {
    let mut rig = Rig::new();
    let mut user = TestClient::new(udp(), "alice", "pw");
    user.greet(&mut rig);
    let request = user.allocate(&[]);
    let answer = rig.ask(&user, request);
    let message = answer.message();
    assert!(message.has_attribute(XorRelayedAddress::TYPE));
    assert_eq!(message.attribute::<Lifetime>().unwrap().seconds(), 600);
    let mapped = message.attribute::<XorMappedAddress>().unwrap().addr(message.transaction_id());
    assert_eq!(mapped, CLIENT.parse().unwrap());
}

/// Rule: stun-limits
#[test]
fn names_realms_and_nonces_have_their_length_and_no_more() {
    let mut rig = Rig::new();
    let mut user = TestClient::new(udp(), "alice", "pw");
    user.greet(&mut rig);
    assert!(user.nonce.chars().count() < 128);
    let mut ask = |name: &str, realm: &str, nonce: &str| {
        let mut write = Message::builder_request(ALLOCATE, MessageWriteVec::new());
        for (kind, text) in [(Username::TYPE, name), (Realm::TYPE, realm), (Nonce::TYPE, nonce)] {
            write.add_attribute(&RawAttribute::new(kind, text.as_bytes())).unwrap();
        }
        write.add_message_integrity(&user.credentials(), IntegrityAlgorithm::Sha1).unwrap();
        rig.ask(&user, write.finish()).code()
    };
    let (nonce, long) = (user.nonce.as_str(), |character: &str, count: usize| character.repeat(count));
    assert_eq!((ask(&long("a", 508), "tern", nonce), ask(&long("a", 509), "tern", nonce)), (401, 400));
    assert_eq!((ask("bob", &long("ü", 127), nonce), ask("bob", &long("ü", 128), nonce)), (401, 400));
    assert_eq!((ask("bob", "tern", &long("ü", 127)), ask("bob", "tern", &long("ü", 128))), (401, 400));
}

/// Rule: turn-508-permissions, abuse-30
#[test]
fn permissions_are_so_many_and_no_more() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    for peer in 0..crate::permission::MAX {
        assert_eq!(rig.permit(&user, &[&format!("198.20.{}.{}:1", 1 + peer / 256, peer % 256)]), 0, "{peer}");
    }
    assert_eq!(rig.permit(&user, &[PEER]), 508);
    assert_eq!(rig.permit(&user, &["198.20.1.0:1"]), 0, "what is there is renewed");
}

/// Rule: turn-channel-numbers, turn-channel-bind
#[test]
fn numbers_outside_of_the_range_are_no_channels() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    for number in [0, 0x3FFF, 0x5000, 0x7FFE, 0xFFFF] {
        assert_eq!(rig.bind(&user, number, PEER), 400, "{number:#x}");
    }
    assert_eq!(rig.bind(&user, 0x4FFF, PEER), 0);
    for number in [0x5000, 0x7FFE, 0xC000, 0xFFFF] {
        rig.sent.clear();
        rig.client(user.tuple, &channel_data(number, b"x"));
        assert!(rig.sent.is_empty(), "{number:#x}");
    }
}

/// Rule: abuse-20
#[test]
fn forged_sources_leave_nothing_behind() {
    let mut rig = Rig::new();
    let user = TestClient::new(udp(), "alice", "pw");
    let request = user.allocate(&[]);
    for source in 0..100_000u32 {
        let client = format!("198.{}.{}.{}:4000", 24 + source / 65536, source / 256 % 256, source % 256);
        rig.client(five_tuple(&client, Transport::Udp), &request);
        rig.sent.clear();
    }
    assert_eq!(rig.server.poll_timeout(), None, "nothing waits for anything");
    assert_eq!((rig.registrar.ports_used(), rig.server.stats().allocations), (0, 0));
}

/// Rule: abuse-35
#[test]
fn padding_is_zero() {
    let mut rig = Rig::new();
    rig.server.realm = "a realm of 17 char".into();
    let user = TestClient::new(udp(), "alice", "pw");
    let answer =
        rig.ask(&user, Message::builder_request(turn_types::message::ALLOCATE, MessageWriteVec::new()).finish());
    let mut rest = &answer.bytes[20..];
    let mut padded = 0;
    while let [_, _, high, low, more @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let (value, after) = more.split_at(length.next_multiple_of(4));
        assert!(value[length..].iter().all(|byte| *byte == 0));
        padded += value.len() - length;
        rest = after;
    }
    assert!(padded > 0);
}

#[test]
fn a_peer_that_is_named_often_is_permitted_once() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    for number in 0..200 {
        assert_eq!(rig.bind(&user, 0x4000 + number, &format!("198.20.0.9:{}", 2000 + number)), 0);
    }
    rig.routes.clear();
    assert_eq!(rig.permit(&user, &["198.20.0.9:1"; 300]), 0);
    assert_eq!(rig.routes.len(), 200, "each channel is refreshed once");
}
