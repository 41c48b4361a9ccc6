//! Peers that must not be reached, through every door; and messages that must not be answered.

use stun_types::message::{Message, MessageWrite, MessageWriteVec};
use turn_types::message::{ALLOCATE, DATA, SEND};

use super::rig::*;
use crate::server::*;

const FORBIDDEN: [&str; 12] = [
    "127.0.0.1:80",
    "[::1]:80",
    "[::ffff:127.0.0.1]:80",
    "0.0.0.0:80",
    "[::]:80",
    "10.0.0.1:80",
    "169.254.169.254:80",
    "[64:ff9b::7f00:1]:80",
    "203.0.113.5:8080",
    "203.0.113.5:3478",
    "203.0.113.5:50050",
    "[::ffff:203.0.113.5]:8189",
];

#[test]
fn no_door_opens_to_a_forbidden_peer() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    for peer in FORBIDDEN {
        assert_eq!(rig.permit(&user, &[peer]), 403, "{peer}");
        assert_eq!(rig.bind(&user, 0x4000, peer), 403, "{peer}");
        let sent = rig.client(user.tuple, &user.send(peer, b"x"));
        assert!(matches!(sent, Handled::Dropped(_)), "{peer}");
    }
    assert_eq!(rig.server.stats().permissions, 0);
}

#[test]
fn a_permission_for_an_own_address_covers_its_open_ports_only() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    let id = rig.id(&user);
    rig.open.0.push(50_050);
    assert_eq!(rig.permit(&user, &["203.0.113.5:8189"]), 0);
    for (port, wanted) in [(8189, true), (50_050, true), (8080, false), (3478, false), (50_051, false)] {
        let sent = rig.client(user.tuple, &user.send(&format!("203.0.113.5:{port}"), b"x"));
        assert_eq!(matches!(&sent, Handled::Relay(route) if route.own), wanted, "{port}");
    }
    assert_eq!(rig.bind(&user, 0x4000, "203.0.113.5:50050"), 0);
    assert!(matches!(rig.client(user.tuple, &channel_data(0x4000, b"x")), Handled::Relay(route) if route.own));
    assert!(rig.peer(id, "203.0.113.5:50050", 1, Way::Handover).is_ok());
    let through_kernel = rig.peer(id, "203.0.113.5:50050", 1, Way::Network);
    assert_eq!(through_kernel, Err(Drop::Policy), "another program on this host");
    rig.open.0.pop();
    let dead = rig.client(user.tuple, &channel_data(0x4000, b"x"));
    assert_eq!(dead, Handled::Dropped(Drop::Policy), "the other allocation ended");
}

#[test]
fn a_policy_that_denies_more_ends_what_it_denies() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    let id = rig.id(&user);
    assert_eq!(rig.bind(&user, 0x4000, PEER), 0);
    assert_eq!(rig.bind(&user, 0x4001, "198.20.1.9:1"), 0);
    rig.set_policy(&["198.20.0.0/24"]);
    assert_eq!(rig.client(user.tuple, &channel_data(0x4000, b"x")), Handled::Dropped(Drop::NoChannel));
    assert_eq!(rig.client(user.tuple, &user.send(PEER, b"x")), Handled::Dropped(Drop::NoPermission));
    assert_eq!(rig.peer(id, PEER, 1, Way::Network), Err(Drop::NoPermission));
    assert!(matches!(rig.client(user.tuple, &channel_data(0x4001, b"x")), Handled::Relay(_)));
    assert_eq!(rig.permit(&user, &[PEER]), 403);
    assert!(rig.routes.contains(&Output::RouteRemoved(id, 0x4000)));
}

#[test]
fn what_is_no_request_is_never_answered() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    rig.sent.clear();
    let request = Message::builder_request(ALLOCATE, MessageWriteVec::new()).finish();
    let request = Message::from_bytes(&request).unwrap();
    let packets = [
        Message::builder_success(&request, MessageWriteVec::new()).finish(),
        Message::builder_error(&request, MessageWriteVec::new()).finish(),
        Message::builder_indication(DATA, MessageWriteVec::new()).finish(),
        Message::builder_indication(SEND, MessageWriteVec::new()).finish(),
        Message::builder_indication(BINDING, MessageWriteVec::new()).finish(),
        Message::builder_request(turn_types::message::CONNECT, MessageWriteVec::new()).finish(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0x16, 3, 1, 0, 5],
        vec![0x80; 200],
        vec![0x50, 0, 0, 0],
        vec![0; 20],
        vec![],
    ];
    for packet in packets {
        let handled = rig.client(user.tuple, &packet);
        assert!(matches!(handled, Handled::Dropped(_)), "{packet:?}");
    }
    assert!(rig.sent.is_empty());
}

#[test]
fn a_request_of_64_kib_is_dropped() {
    let mut rig = Rig::new();
    let mut packet = vec![0, 3, 0xFF, 0xFC];
    packet.extend(crate::framing::MAGIC_COOKIE);
    packet.resize(20 + 0xFFFC, 0);
    assert_eq!(rig.client(udp(), &packet), Handled::Dropped(Drop::TooLarge));
}
