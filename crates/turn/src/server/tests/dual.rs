//! Two relayed addresses at once, packets that must not be fragmented, and what the network says of lost ones.

use std::net::SocketAddr;

use stun_types::attribute::{Attribute as _, AttributeStaticType as _};
use turn_types::AddressFamily;
use turn_types::attribute::{
    AdditionalAddressFamily, AddressErrorCode, Data, DontFragment, EvenPort, Icmp, Lifetime, RequestedAddressFamily,
    XorPeerAddress, XorRelayedAddress,
};
use turn_types::message::{DATA, REFRESH};

use super::rig::*;
use crate::route::ToPeer;
use crate::server::*;

const PEER6: &str = "[2a00::9]:7000";

fn dual(rig: &mut Rig) -> (TestClient, Answer) {
    let mut user = TestClient::new(udp(), "alice", "pw");
    user.greet(rig);
    let request = user.allocate(&[&AdditionalAddressFamily::new(AddressFamily::IPV6)]);
    let answer = rig.ask(&user, request);
    (user, answer)
}

fn relayed_addresses(answer: &Answer) -> Vec<SocketAddr> {
    let message = answer.message();
    let found = message.iter_attributes().filter(|(_, raw)| raw.get_type() == XorRelayedAddress::TYPE);
    found.map(|(_, raw)| XorRelayedAddress::try_from(&raw).unwrap().addr(message.transaction_id())).collect()
}

fn missing(answer: &Answer) -> Option<(AddressFamily, u16)> {
    let missing = answer.message().attribute::<AddressErrorCode>().ok()?;
    Some((missing.family(), missing.error().code()))
}

/// Rule: turn-dual-answer
#[test]
fn both_families_are_relayed() {
    let mut rig = Rig::new();
    let (user, answer) = dual(&mut rig);
    assert_eq!((answer.code(), missing(&answer)), (0, None));
    let families: Vec<_> = relayed_addresses(&answer).iter().map(|address| Family::of(address.ip())).collect();
    assert_eq!((families, rig.registrar.ports_used()), (vec![Family::V4, Family::V6], 2));
    assert_eq!(rig.permit(&user, &[PEER, PEER6]), 0, "one request may name both");
    assert_eq!((rig.bind(&user, 0x4000, PEER), rig.bind(&user, 0x4001, PEER6)), (0, 0));
    let id = rig.id(&user);
    for (index, peer) in [PEER, PEER6].into_iter().enumerate() {
        let by_channel = channel_data(0x4000 + index as u16, b"x");
        for packet in [user.send(peer, b"x"), by_channel] {
            let Handled::Relay(ToPeer { relayed, .. }) = rig.client(user.tuple, &packet) else { panic!("not relayed") };
            assert_eq!(relayed, relayed_addresses(&answer)[index]);
        }
        assert!(rig.peer(id, peer, 10, Way::Network).is_ok());
    }
}

/// Rule: turn-dual-half
#[test]
fn half_of_it_is_a_success_that_says_what_is_missing() {
    let (v4, v6) = (AddressFamily::IPV4, AddressFamily::IPV6);
    for (families, wanted) in [(vec![Family::V4], (v6, 440)), (vec![Family::V6], (v4, 440))] {
        let mut rig = Rig::new();
        rig.server.families = families;
        let (user, answer) = dual(&mut rig);
        assert_eq!((answer.code(), missing(&answer)), (0, Some(wanted)));
        assert_eq!((relayed_addresses(&answer).len(), rig.registrar.ports_used()), (1, 1));
        let id = rig.id(&user);
        assert_eq!(rig.server.table.get(id).unwrap().missing.unwrap().1, 440);
    }
    // No port of IPv6 is left: the quota is another user's.
    for full in [Family::V4, Family::V6] {
        let mut rig = Rig::with_quota(1000);
        let (bob, there) = (QuotaKey::new("bob"), udp().client.ip());
        while rig.registrar.handle_wish(rig.now, &bob, there, full, PortWish::Any).is_ok() {}
        let (_, answer) = dual(&mut rig);
        let family = if full == Family::V4 { v4 } else { v6 };
        assert_eq!((answer.code(), missing(&answer)), (0, Some((family, 508))));
    }
    let mut rig = Rig::with_quota(1);
    let (_, answer) = dual(&mut rig);
    assert_eq!((answer.code(), missing(&answer)), (0, Some((v6, 486))), "each address counts");
    let mut rig = Rig::with_quota(1);
    let other = five_tuple("198.20.0.7:1", crate::Transport::Udp);
    rig.allocated(other, "alice", "pw");
    assert_eq!((dual(&mut rig).1.code(), rig.registrar.ports_used()), (486, 1));
}

#[test]
fn a_retransmission_is_answered_alike() {
    let mut rig = Rig::with_quota(1);
    let mut user = TestClient::new(udp(), "alice", "pw");
    user.greet(&mut rig);
    let request = user.allocate(&[&AdditionalAddressFamily::new(AddressFamily::IPV6)]);
    let first = rig.ask(&user, request.clone());
    assert_eq!(first.bytes, rig.ask(&user, request).bytes);
}

/// Rule: turn-refresh-family
#[test]
fn one_of_two_families_can_be_given_back() {
    for (gone, stays, gone_peer, stays_peer) in
        [(AddressFamily::IPV4, Family::V6, PEER, PEER6), (AddressFamily::IPV6, Family::V4, PEER6, PEER)]
    {
        let mut rig = Rig::new();
        let (user, _) = dual(&mut rig);
        assert_eq!((rig.bind(&user, 0x4000, PEER), rig.bind(&user, 0x4001, PEER6)), (0, 0));
        let (family, zero) = (RequestedAddressFamily::new(gone), Lifetime::new(0));
        let refresh = user.request(REFRESH, &[&family, &zero]);
        assert_eq!(rig.ask(&user, refresh).code(), 0);
        assert_eq!((rig.sockets.len(), rig.registrar.ports_used()), (1, 1));
        assert!(rig.sockets.iter().all(|(_, local)| Family::of(local.ip()) == stays));
        assert_eq!(rig.client(user.tuple, &user.send(gone_peer, b"x")), Handled::Dropped(Drop::NoPermission));
        assert!(matches!(rig.client(user.tuple, &user.send(stays_peer, b"x")), Handled::Relay(_)));
        assert_eq!((rig.permit(&user, &[gone_peer]), rig.permit(&user, &[stays_peer])), (443, 0));
        let again = user.request(REFRESH, &[&family, &zero]);
        assert_eq!(rig.ask(&user, again).code(), 443, "it is gone");
        let rest = user.request(REFRESH, &[&zero]);
        assert_eq!((rig.ask(&user, rest).code(), rig.sockets.len(), rig.registrar.ports_used()), (0, 0, 0));
    }
}

/// Rule: turn-default-family
#[test]
fn a_client_that_names_no_family_may_keep_its_own() {
    for (keep, server, wanted) in [
        (false, "[2001:db8::5]:3478", Family::V4),
        (true, "[2001:db8::5]:3478", Family::V6),
        (true, "203.0.113.5:3478", Family::V4),
    ] {
        let mut rig = Rig::new();
        rig.server.options.keep_family = keep;
        let tuple = FiveTuple { server: server.parse().unwrap(), ..udp() };
        let mut user = TestClient::new(tuple, "alice", "pw");
        user.greet(&mut rig);
        let request = user.allocate(&[&EvenPort::new(false)]);
        assert_eq!(Family::of(rig.ask(&user, request).relayed().ip()), wanted);
    }
}

/// Rule: turn-dont-fragment
#[test]
fn a_packet_that_must_stay_whole_says_so() {
    let mut rig = Rig::new();
    let mut user = TestClient::new(udp(), "alice", "pw");
    user.greet(&mut rig);
    let request = user.allocate(&[&DontFragment::new()]);
    assert_eq!(rig.ask(&user, request).code(), 0);
    assert_eq!(rig.permit(&user, &[PEER]), 0);
    let whole = user.indication(PEER, &[&DontFragment::new(), &Data::new(b"x")]);
    for (packet, wanted) in [(whole, true), (user.send(PEER, b"x"), false)] {
        let Handled::Relay(ToPeer { dont_fragment, .. }) = rig.client(user.tuple, &packet) else {
            panic!("not relayed")
        };
        assert_eq!(dont_fragment, wanted);
    }
}

/// Rule: turn-icmp
#[test]
fn icmp_errors_reach_who_may_talk_to_the_peer() {
    let mut rig = Rig::new();
    let (user, _) = dual(&mut rig);
    let id = rig.id(&user);
    assert_eq!(rig.permit(&user, &[PEER, PEER6]), 0);
    let tell = |rig: &mut Rig, peer: &str, kind: u8| {
        rig.sent.clear();
        let open = rig.open.clone();
        let context = Context { now: rig.now, open: &open };
        let error = IcmpError { peer: peer.parse().unwrap(), kind, code: 4, data: 1280 };
        let told = rig.server.handle_icmp(context, id, error);
        rig.drain();
        told
    };
    for (peer, kinds) in [(PEER, &[3u8, 11][..]), (PEER6, &[1, 2, 3])] {
        for kind in kinds {
            tell(&mut rig, peer, *kind).unwrap();
            let (to, bytes) = rig.sent.pop().unwrap();
            let message = stun_types::message::Message::from_bytes(&bytes).unwrap();
            assert_eq!((to, message.method(), message.is_response()), (user.tuple, DATA, false));
            let icmp = message.attribute::<Icmp>().unwrap();
            assert_eq!((icmp.icmp_type(), icmp.code(), icmp.data()), (*kind, 4, 1280));
            let inner = message.attribute::<XorPeerAddress>().unwrap().addr(message.transaction_id());
            assert_eq!(inner, peer.parse().unwrap());
            assert!(message.attribute::<Data<'_>>().is_err(), "no DATA");
        }
    }
    assert_eq!(tell(&mut rig, PEER, 8), Err(Drop::Malformed), "an echo request");
    assert_eq!(tell(&mut rig, PEER6, 129), Err(Drop::Malformed));
    assert_eq!(tell(&mut rig, "198.20.0.8:7000", 3), Err(Drop::NoPermission));
    rig.advance_to(301.0);
    assert_eq!(tell(&mut rig, PEER, 3), Err(Drop::NoPermission), "the permission is over");
    rig.advance_to(601.0);
    assert_eq!(tell(&mut rig, PEER, 3), Err(Drop::NoAllocation));
    assert!(rig.sent.is_empty());
}
