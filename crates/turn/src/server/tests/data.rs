//! The data path: RFC 8656 sections 11 and 12.

use super::rig::*;
use crate::route::ToPeer;
use crate::server::*;
use crate::{Head, Transport};

/// Rule: turn-send, turn-data, turn-no-permission
#[test]
fn send_and_data() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    let id = rig.id(&user);
    let packet = user.send(PEER, b"hello");
    assert_eq!(rig.client(user.tuple, &packet), Handled::Dropped(Drop::NoPermission));
    assert_eq!(rig.permit(&user, &["198.20.0.9:1"]), 0, "the port of a permission does not count");
    let Handled::Relay(ToPeer { allocation, peer, own, payload, .. }) = rig.client(user.tuple, &packet) else {
        panic!("not relayed")
    };
    assert_eq!((allocation, peer, own, &packet[payload]), (id, PEER.parse().unwrap(), false, &b"hello"[..]));
    assert!(matches!(rig.client(user.tuple, &user.send(PEER, b"")), Handled::Relay(_)), "empty data is data");
    assert_eq!(rig.client(user.tuple, &user.send("198.20.0.9:0", b"x")), Handled::Dropped(Drop::Policy));
    let v6 = user.send("[2a00::1]:5", b"x");
    assert_eq!(rig.client(user.tuple, &v6), Handled::Dropped(Drop::NoPermission));

    let to_client = rig.peer(id, PEER, 5, Way::Network).unwrap();
    assert_eq!(to_client.client, user.tuple);
    assert_eq!(to_client.head.bytes()[..2], [0, 0x17]);
    assert_eq!(to_client.head.padding().len(), 3);
    assert_eq!(rig.peer(id, "198.20.0.8:7000", 5, Way::Network), Err(Drop::NoPermission));
    assert_eq!(rig.peer(id, PEER, 65_500, Way::Network), Err(Drop::TooLarge));
}

/// Rule: turn-channel-bind
#[test]
fn channels_are_a_bijection() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    assert_eq!(rig.bind(&user, 0x4000, PEER), 0);
    assert_eq!(rig.bind(&user, 0x4000, PEER), 0, "binding again refreshes");
    assert_eq!(rig.bind(&user, 0x4001, PEER), 400);
    assert_eq!(rig.bind(&user, 0x4000, "198.20.0.9:7001"), 400);
    assert_eq!(rig.bind(&user, 0x4FFF, "198.20.0.9:7001"), 0);
    for number in [0x3FFF, 0x5000, 0x7FFE, 0x7FFF, 0, 0xFFFF] {
        assert_eq!(rig.bind(&user, number, "198.20.0.9:7002"), 400, "{number:#x}");
    }
    rig.server.options.rfc5766_channels = true;
    for (number, wanted) in [(0x3FFF, 400), (0x5000, 0), (0x7FFE, 0), (0x7FFF, 0), (0x8000, 400)] {
        assert_eq!(rig.bind(&user, number, &format!("198.20.0.9:{number}")), wanted, "{number:#x}");
    }
    assert!(matches!(rig.client(user.tuple, &channel_data(0x7FFF, b"x")), Handled::Relay(_)));
    assert_eq!(rig.bind(&user, 0x4002, "[2a00::1]:7"), 443);
    assert_eq!(rig.bind(&user, 0x4002, "198.20.0.9:0"), 400);
}

/// Rule: turn-channel-data, abuse-38
#[test]
fn a_bound_peer_is_heard_on_its_channel_and_its_other_ports_are_not() {
    for (transport, padding) in [(Transport::Udp, 0), (Transport::Tcp, 3), (Transport::Tls, 3), (Transport::Dtls, 0)] {
        let mut rig = Rig::new();
        let user = rig.allocated(five_tuple(CLIENT, transport), "alice", "pw");
        let id = rig.id(&user);
        assert_eq!(rig.bind(&user, 0x4123, PEER), 0);
        let to_client = rig.peer(id, PEER, 5, Way::Network).unwrap();
        assert_eq!(to_client.head, Head::channel(0x4123, 5, padding > 0));
        assert_eq!(to_client.head.bytes(), [0x41, 0x23, 0, 5]);
        assert_eq!(to_client.head.padding().len(), padding);
        let other_port = rig.peer(id, "198.20.0.9:7001", 5, Way::Network).unwrap();
        assert_eq!(other_port.head.bytes()[..2], [0, 0x17], "a Data indication");

        let mut packet = channel_data(0x4123, b"abc");
        packet.push(0);
        let Handled::Relay(route) = rig.client(user.tuple, &packet) else { panic!("not relayed") };
        assert_eq!((route.peer, &packet[route.payload]), (PEER.parse().unwrap(), &b"abc"[..]));
        assert_eq!(rig.client(user.tuple, &channel_data(0x4124, b"abc")), Handled::Dropped(Drop::NoChannel));
        let stranger = five_tuple("198.20.0.2:4000", transport);
        assert_eq!(rig.client(stranger, &packet), Handled::Dropped(Drop::NoAllocation));
        let stats = rig.server.stats();
        assert_eq!((stats.to_peers.bytes, stats.allocations), (3, 1));
        assert_eq!(stats.allocations_over, Transport::ALL.map(|other| u64::from(other == transport)));
        assert_eq!(rig.server.snapshots(rig.now)[0].usage.to_client.packets, 2);
    }
}

/// Rule: turn-permission-all-or-nothing, turn-443-peer, abuse-8
#[test]
fn create_permission_takes_all_or_nothing() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    assert_eq!(rig.permit(&user, &[]), 400);
    assert_eq!(rig.permit(&user, &[PEER, "10.0.0.1:1"]), 403);
    assert_eq!(rig.permit(&user, &[PEER, "[2a00::1]:1"]), 443);
    assert_eq!(rig.server.stats().permissions, 0);
    assert_eq!(rig.permit(&user, &[PEER, "198.20.0.10:1"]), 0);
    assert_eq!(rig.server.stats().permissions, 2);
    let many: Vec<String> = (0..255).map(|last| format!("198.19.0.{last}:1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(rig.permit(&user, &many), 508);
    assert_eq!(rig.permit(&user, &many[1..]), 0);
    assert_eq!(rig.bind(&user, 0x4000, "198.19.1.1:1"), 508);
    assert_eq!(rig.bind(&user, 0x4000, PEER), 0);
}
