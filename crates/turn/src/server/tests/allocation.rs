//! Authentication, Allocate and Refresh: order and error codes of RFC 8489 section 9.2.4 and RFC 8656 sections 7 and 8.

use stun_types::attribute::{
    AttributeStaticType as _, AttributeType, AttributeWrite, RawAttribute, UnknownAttributes, XorMappedAddress,
};
use stun_types::message::{IntegrityAlgorithm, Message, MessageWrite, MessageWriteExt, MessageWriteVec, TransactionId};
use turn_types::AddressFamily;
use turn_types::attribute::*;
use turn_types::message::{ALLOCATE, REFRESH};

use super::rig::*;
use crate::Transport;
use crate::server::*;

/// Rule: stun-binding, abuse-22
#[test]
fn binding_answers_with_the_source_and_nothing_else() {
    let mut rig = Rig::new();
    let user = TestClient::new(udp(), "", "");
    let request = Message::builder_request(BINDING, MessageWriteVec::new()).finish();
    let answer = rig.ask(&user, request);
    assert_eq!(answer.bytes.len(), 32);
    let message = answer.message();
    let mapped = message.attribute::<XorMappedAddress>().unwrap().addr(message.transaction_id());
    assert_eq!(mapped, CLIENT.parse().unwrap());
}

/// Rule: stun-401-no-integrity, stun-400-incomplete, stun-unknown-user, stun-wrong-password, stun-stale-nonce
/// Rule: stun-answer-integrity, abuse-16
#[test]
fn the_order_of_authentication() {
    let mut rig = Rig::new();
    let mut user = TestClient::new(udp(), "alice", "pw");
    user.greet(&mut rig);

    let mut bare = Message::builder_request(ALLOCATE, MessageWriteVec::new());
    bare.add_message_integrity(&user.credentials(), IntegrityAlgorithm::Sha1).unwrap();
    assert_eq!(rig.ask(&user, bare.finish()).code(), 400, "MESSAGE-INTEGRITY without USERNAME");

    let good_nonce = user.nonce.clone();
    for (name, password) in [("alice", "wrong"), ("mallory", "pw"), ("1:bob", "x")] {
        user.name = name.into();
        user.password = password.into();
        let request = user.allocate(&[]);
        let answer = rig.ask(&user, request);
        assert_eq!((answer.code(), answer.bytes.len()), (401, 84), "{name}");
    }

    user.name = "alice".into();
    user.nonce = "obMatJos2AAABAAAAAAAAAAAAAAAA".into();
    let request = user.allocate(&[]);
    assert_eq!(rig.ask(&user, request).code(), 401, "a wrong MAC comes before a stale nonce");
    user.password = "pw".into();
    let request = user.allocate(&[]);
    let stale = rig.ask(&user, request);
    assert_eq!(stale.code(), 438);
    assert!(rig.server.nonces.is_fresh(&stale.nonce(), rig.now, user.tuple.client));

    user.nonce = good_nonce;
    let request = user.allocate(&[]);
    let answer = rig.ask(&user, request);
    assert_eq!(answer.code(), 0);
    assert!(answer.message().validate_integrity(&user.credentials()).is_ok());
    rig.advance_to(1801.0);
    assert_eq!(rig.permit(&user, &[PEER]), 438, "its time is over");
}

/// Rule: stun-nonce-source, abuse-14
#[test]
fn a_nonce_is_good_for_one_source() {
    let mut rig = Rig::new();
    let mut user = TestClient::new(udp(), "alice", "pw");
    user.greet(&mut rig);
    user.tuple = five_tuple("198.20.0.1:4001", Transport::Udp);
    let request = user.allocate(&[]);
    assert_eq!(rig.ask(&user, request).code(), 438);
}

/// Rule: abuse-11, turn-486
#[test]
fn time_limited_names_count_when_allocating_and_share_the_quota_of_their_id() {
    let mut rig = Rig::with_quota(2);
    let expired = rig.credentials.mint("carol", 0, UNIX).unwrap();
    let mut user = TestClient::new(udp(), &expired.username, &expired.password);
    user.greet(&mut rig);
    let request = user.allocate(&[]);
    assert_eq!(rig.ask(&user, request).code(), 401);
    for (port, ttl, wanted) in [(1, 10, 0), (2, 20, 0), (3, 30, 486)] {
        let minted = rig.credentials.mint("@carol:example.org", ttl, UNIX).unwrap();
        let tuple = five_tuple(&format!("198.20.0.1:{port}"), Transport::Udp);
        let mut user = TestClient::new(tuple, &minted.username, &minted.password);
        user.greet(&mut rig);
        let request = user.allocate(&[]);
        assert_eq!(rig.ask(&user, request).code(), wanted);
    }
    assert_eq!(rig.registrar.ports_used(), 2);
}

/// Rule: turn-requested-transport, turn-token-conflicts, stun-420
/// Rule: turn-dont-fragment, turn-family-conflict, turn-additional-even-port
#[test]
fn allocate_checks_its_attributes_in_order() {
    let udp_transport = RequestedTransport::new(RequestedTransport::UDP);
    let (tcp_transport, strange_transport) = (RequestedTransport::new(6), RequestedTransport::new(99));
    let unknown_family = RawAttribute::new(RequestedAddressFamily::TYPE, &[9, 0, 0, 0]);
    let short_family = RawAttribute::new(RequestedAddressFamily::TYPE, &[1]);
    let (v4, v6) = (AddressFamily::IPV4, AddressFamily::IPV6);
    let (family4, family6) = (RequestedAddressFamily::new(v4), RequestedAddressFamily::new(v6));
    let more4 = RawAttribute::new(AdditionalAddressFamily::TYPE, &[1, 0, 0, 0]);
    let more6 = AdditionalAddressFamily::new(v6);
    let (even, pair, token) = (EvenPort::new(false), EvenPort::new(true), ReservationToken::new(7));
    let ticket = RawAttribute::new(AttributeType::new(0x8030), &[]);
    let strange = RawAttribute::new(AttributeType::new(0x7777), &[]);
    let fragment = DontFragment::new();
    let cases: Vec<(Vec<&dyn AttributeWrite>, u16)> = vec![
        (vec![], 400),
        (vec![&tcp_transport as &dyn AttributeWrite], 442),
        (vec![&strange_transport], 442),
        (vec![&udp_transport, &fragment], 0),
        (vec![&udp_transport, &strange], 420),
        (vec![&udp_transport, &ticket], 0),
        (vec![&udp_transport, &token], 508),
        (vec![&udp_transport, &token, &even], 400),
        (vec![&udp_transport, &token, &family4], 400),
        (vec![&udp_transport, &token, &more6], 400),
        (vec![&udp_transport, &family4, &more6], 400),
        (vec![&udp_transport, &more4], 400),
        (vec![&udp_transport, &pair, &more6], 400),
        (vec![&udp_transport, &unknown_family], 440),
        (vec![&udp_transport, &short_family], 400),
        (vec![&udp_transport, &family6], 0),
        (vec![&udp_transport, &even, &more6], 0),
        (vec![&udp_transport, &family4, &pair], 0),
    ];
    for (index, (attributes, wanted)) in cases.into_iter().enumerate() {
        let mut rig = Rig::new();
        let mut user = TestClient::new(udp(), "alice", "pw");
        user.greet(&mut rig);
        let request = user.request(ALLOCATE, &attributes);
        let answer = rig.ask(&user, request);
        assert_eq!(answer.code(), wanted, "case {index}");
        assert!(answer.message().validate_integrity(&user.credentials()).is_ok(), "case {index} is signed");
        if wanted == 420 {
            let last = attributes.last().unwrap().get_type();
            assert!(answer.message().attribute::<UnknownAttributes>().unwrap().has_attribute(last));
        }
        assert_eq!(rig.registrar.ports_used() == 0, wanted != 0, "case {index} leaks nothing");
    }
}

/// Rule: turn-440
#[test]
fn a_server_without_ipv6_says_440() {
    let mut rig = Rig::new();
    rig.server.families = vec![Family::V4];
    let mut user = TestClient::new(udp(), "alice", "pw");
    user.greet(&mut rig);
    let request = user.allocate(&[&RequestedAddressFamily::new(AddressFamily::IPV6)]);
    assert_eq!(rig.ask(&user, request).code(), 440);
}

/// Rule: turn-lifetime
#[test]
fn lifetimes_are_clamped() {
    for (asked, wanted) in [(None, 600), (Some(1), 600), (Some(700), 700), (Some(100_000), 3600), (Some(0), 600)] {
        let mut rig = Rig::new();
        let mut user = TestClient::new(udp(), "alice", "pw");
        user.greet(&mut rig);
        let lifetime = Lifetime::new(asked.unwrap_or(0));
        let attributes: &[&dyn AttributeWrite] = if asked.is_some() { &[&lifetime] } else { &[] };
        let request = user.allocate(attributes);
        let answer = rig.ask(&user, request);
        assert_eq!(answer.message().attribute::<Lifetime>().unwrap().seconds(), wanted);
    }
}

/// Rule: stun-retransmission, turn-437-busy
#[test]
fn a_retransmission_gets_the_same_answer_and_another_request_437() {
    let mut rig = Rig::new();
    let mut user = TestClient::new(udp(), "alice", "pw");
    user.greet(&mut rig);
    let pair = EvenPort::new(true);
    let request = user.allocate(&[&pair]);
    let first = rig.ask(&user, request.clone());
    rig.advance_to(30.0);
    let again = rig.ask(&user, request);
    assert_eq!(first.bytes, again.bytes);
    assert_eq!(first.relayed().port() % 2, 0);
    let other = user.allocate(&[]);
    assert_eq!(rig.ask(&user, other).code(), 437);
    assert_eq!(rig.server.stats().allocations_made, 1);
}

/// Rule: turn-reservation, turn-token-508
#[test]
fn a_reservation_is_used_once_and_from_any_five_tuple() {
    let mut rig = Rig::new();
    let mut user = TestClient::new(udp(), "alice", "pw");
    user.greet(&mut rig);
    let request = user.allocate(&[&EvenPort::new(true)]);
    let first = rig.ask(&user, request);
    let token = first.message().attribute::<ReservationToken>().unwrap();
    user.tuple = five_tuple("198.20.0.1:4001", Transport::Tcp);
    user.greet(&mut rig);
    let request = user.allocate(&[&token]);
    let second = rig.ask(&user, request);
    assert_eq!(second.relayed().port(), first.relayed().port() + 1);
    user.tuple = five_tuple("198.20.0.1:4002", Transport::Tcp);
    user.greet(&mut rig);
    let request = user.allocate(&[&token]);
    assert_eq!(rig.ask(&user, request).code(), 508);
}

/// Rule: turn-refresh-zero, turn-441, abuse-18
#[test]
fn refresh_deletes_at_once_and_knows_its_owner() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    let family = RequestedAddressFamily::new(AddressFamily::IPV6);
    let request = user.request(REFRESH, &[&family]);
    assert_eq!(rig.ask(&user, request).code(), 443);

    let mut bob = TestClient::new(udp(), "bob", "pw2");
    bob.nonce = user.nonce.clone();
    let request = bob.request(REFRESH, &[&Lifetime::new(0)]);
    assert_eq!(rig.ask(&bob, request).code(), 441);
    assert_eq!(rig.permit(&bob, &[PEER]), 441);
    bob.password = "wrong".into();
    let request = bob.request(REFRESH, &[&Lifetime::new(0)]);
    assert_eq!(rig.ask(&bob, request).code(), 401);

    let request = user.request(REFRESH, &[&Lifetime::new(900)]);
    let answer = rig.ask(&user, request);
    assert_eq!(answer.message().attribute::<Lifetime>().unwrap().seconds(), 900);
    let request = user.request(REFRESH, &[&Lifetime::new(0)]);
    let answer = rig.ask(&user, request);
    assert_eq!((answer.code(), answer.message().attribute::<Lifetime>().unwrap().seconds()), (0, 0));
    let request = user.request(REFRESH, &[&Lifetime::new(0)]);
    assert_eq!(rig.ask(&user, request).code(), 437);
    assert_eq!(rig.permit(&user, &[PEER]), 437);
    assert_eq!(rig.bind(&user, 0x4000, PEER), 437);
    assert_eq!((rig.registrar.ports_used(), rig.sockets.len()), (0, 0));
}

/// Rule: stun-after-integrity, abuse-17
#[test]
fn what_follows_message_integrity_is_ignored() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    let mut request = user.request(REFRESH, &[&Lifetime::new(700)]);
    // LIFETIME = 0 appended by somebody who does not know the password.
    request.extend([0, 0x0D, 0, 4, 0, 0, 0, 0]);
    let length = (request.len() - 20) as u16;
    request[2..4].copy_from_slice(&length.to_be_bytes());
    let answer = rig.ask(&user, request);
    assert_eq!(answer.message().attribute::<Lifetime>().unwrap().seconds(), 700);
    assert_eq!(rig.server.stats().allocations, 1);
}

#[test]
fn churn_gives_everything_back() {
    let mut rig = Rig::with_quota(2);
    let user = rig.allocated(udp(), "alice", "pw");
    for _ in 0..2000 {
        let request = user.request(REFRESH, &[&Lifetime::new(0)]);
        assert_eq!(rig.ask(&user, request).code(), 0);
        let transport = RequestedTransport::new(RequestedTransport::UDP);
        let request = user.request_with(TransactionId::generate(), ALLOCATE, &[&transport]);
        assert_eq!(rig.ask(&user, request).code(), 0);
    }
    assert_eq!((rig.registrar.ports_used(), rig.sockets.len()), (1, 1));
    assert!(rig.id(&user).to_bits() >> 32 == 2000, "ids are never used twice");
}
