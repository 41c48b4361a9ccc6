//! Peers that must not be reached, through every door; and messages that must not be answered.

use std::time::Duration;

use stun_types::message::{
    BINDING, IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageIntegrityCredentials, MessageWrite,
    MessageWriteExt, MessageWriteVec,
};
use turn_types::message::{ALLOCATE, DATA, SEND};

use super::rig::*;
use crate::Transport;
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

/// Rule: turn-403, abuse-1
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

/// Rule: abuse-5
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

/// Rule: abuse-1
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

/// Rule: abuse-25
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

/// Requests that need no password: a Binding, an unsigned Allocate, and a signature without a name.
fn unproven() -> [Vec<u8>; 3] {
    let bare = |method| Message::builder_request(method, MessageWriteVec::new()).finish();
    let mut nameless = Message::builder_request(ALLOCATE, MessageWriteVec::new());
    let key = LongTermKeyCredentials::new("x".into(), "y".into(), "z".into());
    nameless
        .add_message_integrity(&MessageIntegrityCredentials::LongTerm(key), IntegrityAlgorithm::Sha1)
        .expect("a request can be signed");
    [bare(BINDING), bare(ALLOCATE), nameless.finish()]
}

/// Rule: abuse-21
#[test]
fn a_forged_source_is_not_flooded_with_answers() {
    let mut rig = Rig::new();
    let user = rig.allocated(five_tuple("198.51.100.7:4000", Transport::Udp), "alice", "pw");
    let requests = unproven();
    let answers = |rig: &mut Rig, transport: Transport, port: u16, host: u8| {
        let before = rig.sent.len();
        for number in 0..900 {
            let tuple = five_tuple(&format!("198.51.100.{host}:{port}"), transport);
            rig.client(tuple, &requests[number % 3]);
        }
        rig.sent.len() - before
    };
    let flood = answers(&mut rig, Transport::Udp, 5000, 1) + answers(&mut rig, Transport::Udp, 5001, 2);
    assert!((195..=205).contains(&flood), "{flood} answers of 100 a second, with two seconds at once");
    assert_eq!(rig.server.stats().dropped_for(Drop::RateLimited), 1800 - flood as u64);
    assert_eq!(answers(&mut rig, Transport::Tcp, 5002, 1), 900, "a handshake has shown who it is");
    assert_eq!(answers(&mut rig, Transport::Udp, 4000, 7), 900, "so has an allocation's password");
    assert_eq!(rig.permit(&user, &[PEER]), 0);
    rig.now += Duration::from_secs(1);
    let later = answers(&mut rig, Transport::Udp, 5000, 1);
    assert!((99..=101).contains(&later), "{later}");
}
