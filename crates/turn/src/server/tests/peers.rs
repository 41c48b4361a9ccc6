//! Peer policy behind every door: each denied range, ports, media only; before and after a reload.

use stun_types::message::TransactionId;
use turn_types::attribute::{ChannelNumber, Data, XorPeerAddress};

use stun_types::attribute::AttributeWrite;
use stun_types::message::{Message, MessageWrite as _, MessageWriteExt as _, MessageWriteVec};
use turn_types::message::{CHANNEL_BIND, SEND};

use super::rig::*;
use crate::policy::DENIED;
use crate::policy::tests::ends;
use crate::report::Report;
use crate::server::*;

fn ports(list: &[&str]) -> Policy {
    let list: Vec<String> = list.iter().map(|text| (*text).to_owned()).collect();
    policy(&[]).with_ports(&list).unwrap()
}

/// Rule: turn-403, abuse-1, abuse-8
#[test]
fn every_denied_range_is_denied_at_every_door() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    // The rig's policy allows benchmarking addresses, which play the internet.
    for (range, _) in DENIED.into_iter().filter(|(range, _)| *range != "198.18.0.0/15") {
        for ip in ends(range) {
            let peer = SocketAddr::new(ip, 5000).to_string();
            assert_eq!(rig.permit(&user, &[PEER, &peer]), 403, "{peer}");
            assert_eq!(rig.bind(&user, 0x4000, &peer), 403, "{peer}");
            assert!(matches!(rig.client(user.tuple, &user.send(&peer, b"x")), Handled::Dropped(_)), "{peer}");
        }
    }
    assert_eq!((rig.server.stats().permissions, rig.server.stats().channels), (0, 0), "the good one beside it neither");
}

#[test]
fn a_refusal_is_reported_with_the_rule() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    rig.change_policy(ports(&["443"]));
    assert_eq!(rig.permit(&user, &["10.0.0.1:80"]), 403);
    assert_eq!(rig.bind(&user, 0x4000, "[::ffff:198.20.0.9]:443"), 403);
    assert_eq!(rig.bind(&user, 0x4000, PEER), 403);
    let reports: Vec<_> = rig
        .reports
        .iter()
        .map(|report| {
            let Report::PeerDenied { client, username, peer, rule } = report else { panic!("{report:?}") };
            assert_eq!((*client, username.as_str()), (user.tuple, "alice"));
            (peer.to_string(), rule.as_str())
        })
        .collect();
    assert_eq!(
        reports,
        [
            ("10.0.0.1:80".to_owned(), "built-in: private 10.0.0.0/8"),
            ("198.20.0.9:443".to_owned(), "built-in: IPv4-mapped ::ffff:0:0/96"),
            (PEER.to_owned(), "peer_ports: not one of [443]"),
        ]
    );
}

#[test]
fn who_may_be_reached_is_reported_once() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    assert_eq!(rig.permit(&user, &[PEER, "198.20.0.9:1", "198.20.0.10:1", "203.0.113.5:8189"]), 0);
    assert_eq!(
        (rig.permit(&user, &[PEER]), rig.bind(&user, 0x4000, PEER), rig.bind(&user, 0x4001, "198.20.0.11:1")),
        (0, 0, 0)
    );
    rig.advance_to(301.0);
    assert_eq!(rig.permit(&user, &["198.20.0.10:1"]), 0, "it was over");
    let relayed = rig.server.table.of_client(user.tuple).expect("an allocation").first.public;
    let permitted = |peer: &str| Report::PeerPermitted {
        client: user.tuple,
        username: "alice".into(),
        relayed,
        peer: peer.parse().unwrap(),
    };
    let wanted = ["198.20.0.9", "198.20.0.10", "198.20.0.11", "198.20.0.10"].map(permitted);
    assert_eq!(rig.reports, wanted, "our own addresses are no news");
}

/// Rule: abuse-7, abuse-6
#[test]
fn ports_are_checked_where_there_is_one() {
    let mut rig = Rig::new();
    rig.change_policy(ports(&["443", "1024-65535"]));
    let user = rig.allocated(udp(), "alice", "pw");
    let id = rig.id(&user);
    assert_eq!(rig.bind(&user, 0x4000, "198.20.0.9:53"), 403);
    assert_eq!(rig.permit(&user, &["198.20.0.9:53"]), 0, "the port of a permission means nothing");
    for (port, allowed) in [(443, true), (1024, true), (1023, false), (53, false), (0, false)] {
        let peer = format!("198.20.0.9:{port}");
        let sent = rig.client(user.tuple, &user.send(&peer, b"x"));
        assert_eq!(matches!(sent, Handled::Relay(_)), allowed, "to {port}");
        assert_eq!(rig.peer(id, &peer, 1, Way::Network).is_ok(), allowed, "from {port}");
    }
    assert_eq!(rig.bind(&user, 0x4000, "203.0.113.5:8189"), 0, "ports of ours are allowed by being open");
}

/// Rule: abuse-7
#[test]
fn a_reload_of_ports_ends_channels_and_keeps_permissions() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    assert_eq!(rig.bind(&user, 0x4000, "198.20.0.9:53"), 0);
    assert_eq!(rig.bind(&user, 0x4001, "198.20.0.9:443"), 0);
    rig.change_policy(ports(&["443"]));
    assert_eq!(rig.client(user.tuple, &channel_data(0x4000, b"x")), Handled::Dropped(Drop::NoChannel));
    assert!(matches!(rig.client(user.tuple, &channel_data(0x4001, b"x")), Handled::Relay(_)));
    assert_eq!(rig.client(user.tuple, &user.send("198.20.0.9:53", b"x")), Handled::Dropped(Drop::Policy));
    assert_eq!(rig.server.stats().permissions, 1);
}

/// RFC 8656 section 9.1: the port of a permission means nothing, so there are clients that name none.
#[test]
fn a_permission_for_our_own_address_without_a_port_opens_nothing_but_open_ports() {
    let mut rig = Rig::new();
    rig.open.0.push(50_050);
    let user = rig.allocated(udp(), "alice", "pw");
    let id = rig.id(&user);
    assert_eq!(rig.permit(&user, &["203.0.113.5:0"]), 0);
    for (port, open) in [(50_050, true), (8189, true), (22, false), (3478, false), (0, false)] {
        let peer = format!("203.0.113.5:{port}");
        let sent = rig.client(user.tuple, &user.send(&peer, b"x"));
        assert_eq!(matches!(&sent, Handled::Relay(to_peer) if to_peer.own), open, "{port}");
    }
    assert!(rig.peer(id, "203.0.113.5:50050", 1, Way::Handover).is_ok());
    assert_eq!(rig.peer(id, "203.0.113.5:50050", 1, Way::Network), Err(Drop::Policy), "another program of this host");
    assert_eq!(rig.permit(&user, &["[::ffff:203.0.113.5]:0"]), 403);
    assert_eq!(rig.bind(&user, 0x4000, "203.0.113.5:0"), 403);
    rig.change_policy(policy(&[]).media_only());
    assert_eq!(rig.client(user.tuple, &user.send("203.0.113.5:50050", b"x")), Handled::Dropped(Drop::Policy));
    assert!(matches!(rig.client(user.tuple, &user.send("203.0.113.5:8189", b"x")), Handled::Relay(_)));
}

#[test]
fn media_only_reaches_the_media_port_and_nothing_else() {
    let mut rig = Rig::new();
    rig.open.0.push(50_050);
    let user = rig.allocated(udp(), "alice", "pw");
    let id = rig.id(&user);
    assert_eq!(rig.bind(&user, 0x4000, "203.0.113.5:8189"), 0);
    assert_eq!(rig.bind(&user, 0x4001, "203.0.113.5:50050"), 0, "a live allocation");
    assert_eq!(rig.bind(&user, 0x4002, PEER), 0);
    rig.change_policy(policy(&[]).media_only());
    let relays =
        |rig: &mut Rig, number| matches!(rig.client(user.tuple, &channel_data(number, b"x")), Handled::Relay(_));
    assert_eq!([0x4000, 0x4001, 0x4002].map(|number| relays(&mut rig, number)), [true, false, false]);
    assert!(rig.peer(id, "203.0.113.5:8189", 1, Way::Handover).is_ok());
    assert_eq!(rig.peer(id, PEER, 1, Way::Network), Err(Drop::NoPermission));
    for peer in [PEER, "203.0.113.5:50050", "198.20.0.9:8189"] {
        assert_eq!(rig.permit(&user, &[peer]), 403, "{peer}");
        assert_eq!(rig.bind(&user, 0x4003, peer), 403, "{peer}");
        assert!(matches!(rig.client(user.tuple, &user.send(peer, b"x")), Handled::Dropped(_)), "{peer}");
    }
    assert_eq!(rig.permit(&user, &["203.0.113.5:8189"]), 0);
}

/// Rule: abuse-9, stun-duplicate
#[test]
fn what_is_checked_is_what_is_used_where_an_attribute_is_there_twice() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    let transaction = TransactionId::generate();
    let peer = |text: &str| XorPeerAddress::new(text.parse().unwrap(), transaction);
    let (good, bad, number) = (peer(PEER), peer("10.0.0.1:7000"), ChannelNumber::new(0x4000));
    let bind = |first: &dyn AttributeWrite, second: &dyn AttributeWrite| {
        user.request_with(transaction, CHANNEL_BIND, &[&number, first, second])
    };
    assert_eq!(rig.ask(&user, bind(&bad, &good)).code(), 403);
    assert_eq!(rig.ask(&user, bind(&good, &bad)).code(), 0);
    let relayed = |handled: Handled| match handled {
        Handled::Relay(to_peer) => Some(to_peer.peer.to_string()),
        _ => None,
    };
    assert_eq!(relayed(rig.client(user.tuple, &channel_data(0x4000, b"x"))), Some(PEER.into()));
    let send = |peers: [&str; 2]| {
        let mut write = Message::builder_indication(SEND, MessageWriteVec::new());
        for peer in peers {
            let peer = XorPeerAddress::new(peer.parse().unwrap(), write.transaction_id());
            write.add_attribute(&peer).unwrap();
        }
        write.add_attribute(&Data::new(b"x")).unwrap();
        write.finish()
    };
    assert_eq!(relayed(rig.client(user.tuple, &send(["10.0.0.1:7000", PEER]))), None);
    assert_eq!(relayed(rig.client(user.tuple, &send([PEER, "10.0.0.1:7000"]))), Some(PEER.into()));
}
