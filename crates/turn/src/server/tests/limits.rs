//! Limits as clients meet them: which code, what is dropped, and what is never refused.

use std::time::Duration;

use stun_types::message::TransactionId;
use turn_types::attribute::{Lifetime, RequestedTransport};
use turn_types::message::REFRESH;

use super::rig::*;
use crate::server::*;
use crate::stats::Limit;
use crate::{Quotas, Rates, Transport};

fn from(client: &str) -> FiveTuple {
    five_tuple(client, Transport::Udp)
}

fn allocate(rig: &mut Rig, client: &str, name: &'static str, password: &'static str) -> u16 {
    let mut user = TestClient::new(from(client), name, password);
    user.greet(rig);
    let request = user.allocate(&[]);
    rig.ask(&user, request).code()
}

/// Rule: abuse-28, turn-486
#[test]
fn an_address_is_486_and_the_server_508() {
    let mut rig = Rig::with_quotas(Quotas { per_user: 0, per_address: 2, total: 3 });
    assert_eq!(allocate(&mut rig, "198.20.0.1:1", "alice", "pw"), 0);
    assert_eq!(allocate(&mut rig, "198.20.0.1:2", "bob", "pw2"), 0);
    assert_eq!(allocate(&mut rig, "198.20.0.1:3", "alice", "pw"), 486);
    assert_eq!(allocate(&mut rig, "198.20.0.2:1", "alice", "pw"), 0);
    assert_eq!(allocate(&mut rig, "198.20.0.3:1", "bob", "pw2"), 508);
    let stats = rig.server.stats();
    assert_eq!((stats.limited_by(Limit::Address), stats.limited_by(Limit::Total)), (1, 1));
}

#[test]
fn who_is_inside_is_never_refused_by_a_quota() {
    let mut rig = Rig::with_quotas(Quotas { per_user: 1, per_address: 1, total: 1 });
    let mut user = TestClient::new(udp(), "alice", "pw");
    user.greet(&mut rig);
    let transport = RequestedTransport::new(RequestedTransport::UDP);
    let request = user.request_with(TransactionId::generate(), ALLOCATE, &[&transport]);
    let first = rig.ask(&user, request.clone());
    assert_eq!(first.code(), 0);
    assert_eq!(rig.ask(&user, request).bytes, first.bytes, "a retransmission");
    let refresh = user.request(REFRESH, &[&Lifetime::new(600)]);
    assert_eq!(rig.ask(&user, refresh).code(), 0);
    assert_eq!(rig.registrar.held(), 1);
    let end = user.request(REFRESH, &[&Lifetime::new(0)]);
    assert_eq!(rig.ask(&user, end).code(), 0);
    assert_eq!(allocate(&mut rig, "198.20.0.9:1", "bob", "pw2"), 0, "its place is free");
}

/// Rule: abuse-31
#[test]
fn a_user_s_packets_are_limited_both_ways_over_all_its_allocations() {
    let mut rig = Rig::new();
    rig.server.handle_limits(Limits { user: Rates { bytes: 0, packets: 10 }, ..Limits::default() });
    let one = rig.allocated(from("198.20.0.1:1"), "alice", "pw");
    let two = rig.allocated(from("198.20.0.1:2"), "alice", "pw");
    let other = rig.allocated(from("198.20.0.1:3"), "bob", "pw2");
    for user in [&one, &two, &other] {
        assert_eq!(rig.bind(user, 0x4000, PEER), 0);
    }
    let relayed = |rig: &mut Rig, user: &TestClient, count: usize| {
        let sends =
            |index: usize| if index.is_multiple_of(2) { user.send(PEER, b"x") } else { channel_data(0x4000, b"x") };
        (0..count).filter(|index| matches!(rig.client(user.tuple, &sends(*index)), Handled::Relay(_))).count()
    };
    assert_eq!(relayed(&mut rig, &one, 8) + relayed(&mut rig, &two, 8), 11);
    assert_eq!(rig.client(one.tuple, &one.send(PEER, b"x")), Handled::Dropped(Drop::UserLimit));
    assert_eq!(relayed(&mut rig, &other, 8), 8, "another user");
    let (id, second) = (rig.id(&one), rig.id(&two));
    let came = (0..20).filter(|_| rig.peer(id, PEER, 100, Way::Network).is_ok()).count();
    assert_eq!((came, rig.peer(second, PEER, 100, Way::Network)), (11, Err(Drop::UserLimit)));
    rig.now += Duration::from_secs(1);
    assert_eq!(relayed(&mut rig, &two, 20), 10);
    let dropped = rig.server.stats().dropped_for(Drop::UserLimit);
    assert_eq!(dropped, 5 + 1 + 9 + 1 + 10);
    let usage = rig.server.snapshots(rig.now).into_iter().map(|snapshot| snapshot.usage.to_peers.packets).sum::<u64>();
    assert_eq!(usage, 11 + 8 + 10, "what was dropped is not counted as carried");
}

#[test]
fn a_limit_that_is_taken_away_limits_nothing() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    assert_eq!(rig.bind(&user, 0x4000, PEER), 0);
    rig.server.handle_limits(Limits { allocation: Rates { bytes: 100, packets: 0 }, ..Limits::default() });
    let send = |rig: &mut Rig| rig.client(user.tuple, &channel_data(0x4000, &[0; 101]));
    assert!(matches!(send(&mut rig), Handled::Relay(_)));
    assert_eq!(send(&mut rig), Handled::Dropped(Drop::AllocationLimit));
    rig.server.handle_limits(Limits::default());
    assert!(matches!(send(&mut rig), Handled::Relay(_)));
}

/// RFC 8656 section 21.1.7: packets that go round between two allocations.
///
/// Rule: turn-loop, abuse-26
#[test]
fn a_loop_of_channels_runs_at_the_user_s_rate_only() {
    let mut rig = Rig::new();
    rig.server.handle_limits(Limits { user: Rates { bytes: 0, packets: 100 }, ..Limits::default() });
    // Whoever set it up made each server believe that its client sits at the other one's relayed address.
    let user = rig.allocated(udp(), "alice", "pw");
    let id = rig.id(&user);
    assert_eq!(rig.bind(&user, 0x4000, PEER), 0);
    let mut rounds = 0;
    for step in 0..10_000 {
        rig.now = rig.start + Duration::from_millis(step);
        let out = rig.client(user.tuple, &channel_data(0x4000, &channel_data(0x4000, b"round")));
        let back = rig.peer(id, PEER, 9, Way::Network);
        rounds += usize::from(matches!(out, Handled::Relay(_)) && back.is_ok());
    }
    assert!((1090..=1110).contains(&rounds), "{rounds} in ten seconds at 100 a second");
}

/// Rule: abuse-30
#[test]
fn a_scan_of_peers_is_stopped_and_a_call_is_not() {
    let mut rig = Rig::with_quota(10);
    rig.server.handle_limits(Limits { new_peers: 2, ..Limits::default() });
    let one = rig.allocated(from("198.20.0.1:1"), "alice", "pw");
    let two = rig.allocated(from("198.20.0.1:2"), "alice", "pw");
    let peer = |number: usize| format!("198.20.8.{number}:80");
    let permitted = (0..40).filter(|number| rig.permit(&one, &[&peer(*number)]) == 0).count();
    assert_eq!(permitted, 20, "ten seconds' worth");
    assert_eq!(rig.bind(&two, 0x4000, &peer(50)), 508, "the user's, not the allocation's");
    assert_eq!(rig.permit(&one, &[&peer(0), &peer(1)]), 0, "has a permission");
    assert_eq!(rig.permit(&two, &[&peer(19)]), 0, "had it lately, by another allocation");
    assert_eq!(rig.permit(&two, &["203.0.113.5:8189"]), 0, "our own media port is no news");
    assert_eq!(rig.permit(&one, &[&peer(3), &peer(60)]), 508, "all or nothing");
    let before = rig.server.stats().permissions;
    rig.now += Duration::from_secs(1);
    assert_eq!(rig.permit(&one, &[&peer(60), &peer(61), &peer(62)]), 508);
    assert_eq!(rig.server.stats().permissions, before);
    assert_eq!(rig.permit(&one, &[&peer(60), &peer(61)]), 0);
    assert_eq!(rig.server.stats().limited_by(Limit::NewPeers), 20 + 1 + 1 + 1);
    let bob = rig.allocated(from("198.20.0.2:1"), "bob", "pw2");
    assert_eq!(rig.permit(&bob, &[&peer(70)]), 0, "another user");
}
