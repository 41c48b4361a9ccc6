//! Many packets from many sources: what they cost, what they leave behind, and that nothing goes round in circles.

use std::time::Duration;

use stun_types::message::{BINDING, Message, MessageWrite as _, MessageWriteVec};

use super::rig::*;
use crate::server::*;
use crate::{Quotas, Transport};

fn source(number: u32) -> FiveTuple {
    let address = SocketAddr::from((std::net::Ipv4Addr::from_bits(0xC614_0000 + number), 4000));
    FiveTuple { client: address, ..udp() }
}

fn bare(method: stun_types::message::Method) -> Vec<u8> {
    Message::builder_request(method, MessageWriteVec::new()).finish()
}

/// Rule: abuse-20
#[test]
fn a_hundred_thousand_sources_leave_nothing_behind() {
    let mut rig = Rig::new();
    let mut mallory = TestClient::new(udp(), "mallory", "guessed");
    mallory.greet(&mut rig);
    let (unsigned, signed) = (bare(ALLOCATE), mallory.allocate(&[]));
    for number in 0..100_000 {
        let request = if number % 2 == 0 { &unsigned } else { &signed };
        rig.client(source(number), request);
        rig.sent.clear();
        rig.reports.clear();
    }
    assert!(rig.server.pending.next_timer().is_none() && rig.server.outputs.is_empty());
    assert_eq!((rig.server.stats().allocations, rig.registrar.ports_used()), (0, 0));
    assert_eq!(rig.server.poll_timeout(), None, "no timer either");
    let capacity = rig.server.outputs.capacity();
    assert!(capacity < 64, "{capacity}");
}

#[test]
fn questions_that_nobody_answers_are_bounded_too() {
    let mut rig = Rig::new();
    let mut mallory = TestClient::new(udp(), "mallory", "guessed");
    mallory.greet(&mut rig);
    let (open, signed) = (rig.open.clone(), mallory.allocate(&[]));
    let mut asked = 0;
    for number in 0..10_000 {
        rig.server.handle_client(Context { now: rig.now, open: &open }, source(number), &signed);
        while let Some(output) = rig.server.poll_output() {
            asked += usize::from(matches!(output, Output::NeedKey { .. }));
        }
    }
    assert_eq!(asked, 1024);
    assert_eq!(rig.server.stats().dropped_for(Drop::Busy), 10_000 - 1024);
    rig.advance_to(10.0);
    assert!(rig.server.pending.next_timer().is_none());
}

/// What a server answers, sent to another one as if that had asked.
///
/// Rule: abuse-25
#[test]
fn two_servers_that_are_pointed_at_each_other_settle() {
    let (mut one, mut two) = (Rig::new(), Rig::new());
    let other = five_tuple("198.20.0.77:3478", Transport::Udp);
    for request in [bare(BINDING), bare(ALLOCATE)] {
        one.client(other, &request);
        let (_, answer) = one.sent.pop().expect("an answer");
        assert_eq!(two.client(other, &answer), Handled::Dropped(Drop::NotARequest));
        assert!(two.sent.is_empty() && one.sent.is_empty());
    }
}

/// Rule: abuse-25, abuse-27
#[test]
fn requests_from_our_own_listener_or_through_a_tunnel_to_us_are_not_answered() {
    let mut rig = Rig::new();
    // Our address is 203.0.113.5: as the sender, inside 6to4, inside NAT64, inside Teredo.
    for from in [
        "203.0.113.5:3478",
        "[::ffff:203.0.113.5]:3478",
        "[2002:cb00:7105::1]:4000",
        "[64:ff9b::cb00:7105]:4000",
        "[2001:0:102:304::34ff:8efa]:4000",
    ] {
        for request in [bare(BINDING), bare(ALLOCATE)] {
            let handled = rig.client(five_tuple(from, Transport::Udp), &request);
            assert_eq!(handled, Handled::Dropped(Drop::Loop), "{from}");
        }
    }
    assert!(rig.sent.is_empty());
    // A program of this host is a client like any other, and so is somebody else's tunnel.
    for from in ["203.0.113.5:4000", "[2002:cb00:7106::1]:4000"] {
        rig.client(five_tuple(from, Transport::Udp), &bare(BINDING));
        assert_eq!(rig.sent.len(), 1, "{from}");
        rig.sent.clear();
    }
}

/// Rule: abuse-28
#[test]
fn churn_by_many_users_gives_everything_back() {
    let mut rig = Rig::with_quotas(Quotas { per_user: 4, per_address: 8, total: 50 });
    for round in 0..5000_u32 {
        let (client, id) = (source(round % 40), format!("user{}", round % 25));
        let minted = rig.credentials.mint(&id, 60 + u64::from(round), UNIX).unwrap();
        let mut user = TestClient::new(client, &minted.username, &minted.password);
        user.nonce = rig.server.nonces.issue(rig.now, client.client, false);
        rig.client(client, &user.allocate(&[]));
        if round % 3 == 0 {
            rig.server.handle_disconnected(source((round * 7) % 40));
            rig.drain();
        }
        rig.sent.clear();
        rig.now += Duration::from_millis(700);
        rig.server.handle_timeout(rig.now);
        rig.drain();
        assert_eq!(rig.registrar.held() as usize, rig.sockets.len());
    }
    rig.now += Duration::from_secs(4000);
    rig.server.handle_timeout(rig.now);
    rig.drain();
    assert_eq!((rig.registrar.held(), rig.registrar.ports_used(), rig.sockets.len()), (0, 0, 0));
    let again =
        rig.registrar.handle_wish(rig.now, &QuotaKey::new("user1"), udp().client.ip(), Family::V4, PortWish::Any);
    assert!(again.is_ok());
}
