//! What ends when: RFC 8656 sections 7.2, 9 and 12, to the moment.

use turn_types::attribute::Lifetime;
use turn_types::message::REFRESH;

use super::rig::*;
use crate::server::*;

fn relays(rig: &mut Rig, user: &TestClient) -> (bool, bool) {
    let sent = rig.client(user.tuple, &user.send(PEER, b"x"));
    let channel = rig.client(user.tuple, &channel_data(0x4000, b"x"));
    (matches!(sent, Handled::Relay(_)), matches!(channel, Handled::Relay(_)))
}

/// Rule: turn-permission-300
#[test]
fn a_permission_lasts_exactly_300_seconds_and_data_does_not_refresh_it() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    let id = rig.id(&user);
    assert_eq!(rig.permit(&user, &[PEER]), 0);
    for seconds in [0.0, 150.0, 299.999] {
        rig.advance_to(seconds);
        assert!(relays(&mut rig, &user).0);
        assert!(rig.peer(id, PEER, 1, Way::Network).is_ok());
    }
    rig.advance_to(300.0);
    assert_eq!(relays(&mut rig, &user), (false, false));
    assert_eq!(rig.peer(id, PEER, 1, Way::Network), Err(Drop::NoPermission));
    assert_eq!(rig.server.stats().permissions, 0);
    assert_eq!(rig.permit(&user, &[PEER]), 0);
    assert!(relays(&mut rig, &user).0);
}

/// Rule: turn-channel-600
#[test]
fn a_channel_lasts_600_seconds_and_needs_its_permission_too() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    let request = user.request(REFRESH, &[&Lifetime::new(3600)]);
    assert_eq!(rig.ask(&user, request).code(), 0);
    assert_eq!(rig.bind(&user, 0x4000, PEER), 0);
    rig.advance_to(299.9);
    assert_eq!(relays(&mut rig, &user), (true, true));
    rig.advance_to(300.0);
    assert_eq!(relays(&mut rig, &user), (false, false), "bound, but not permitted");
    assert_eq!(rig.permit(&user, &[PEER]), 0);
    assert_eq!(relays(&mut rig, &user), (true, true));
    rig.advance_to(599.9);
    assert_eq!(rig.permit(&user, &[PEER]), 0);
    assert_eq!(relays(&mut rig, &user), (true, true));
    rig.advance_to(600.0);
    assert_eq!(relays(&mut rig, &user), (true, false), "permitted, but not bound");
    let untils: Vec<_> = rig
        .routes
        .iter()
        .filter_map(|output| match output {
            Output::RouteInstalled(route) => Some(route.until.duration_since(rig.start).as_secs()),
            _ => None,
        })
        .collect();
    // Bound; permitted again, twice: until the permission ends, until the binding ends.
    assert_eq!(untils, [300, 600, 600]);
    assert!(matches!(rig.routes.last(), Some(Output::RouteRemoved(_, 0x4000))));
    assert_eq!(rig.bind(&user, 0x4000, "198.20.0.10:1"), 0, "the number is free again");
}

/// Rule: turn-no-allocation
#[test]
fn an_allocation_ends_with_its_life_and_everything_of_it() {
    let mut rig = Rig::new();
    let user = rig.allocated(udp(), "alice", "pw");
    let id = rig.id(&user);
    assert_eq!(rig.bind(&user, 0x4000, PEER), 0);
    rig.advance_to(599.9);
    let request = user.request(REFRESH, &[]);
    assert_eq!(rig.ask(&user, request).code(), 0);
    assert_eq!(rig.bind(&user, 0x4000, PEER), 0);
    rig.advance_to(1199.8);
    assert_eq!(rig.server.stats().allocations, 1);
    rig.advance_to(1199.9);
    assert_eq!(rig.server.stats().allocations, 0);
    assert_eq!(rig.peer(id, PEER, 1, Way::Network), Err(Drop::NoAllocation));
    assert_eq!((rig.registrar.ports_used(), rig.sockets.len()), (0, 0));
    assert_eq!(rig.server.poll_timeout(), None, "nothing is left to wait for");
}

#[test]
fn an_unanswered_question_is_forgotten() {
    let mut rig = Rig::new();
    let mut user = TestClient::new(udp(), "alice", "pw");
    user.greet(&mut rig);
    let request = user.allocate(&[]);
    let context = Context { now: rig.now, open: &() };
    assert_eq!(rig.server.handle_client(context, user.tuple, &request), Handled::Control);
    let question = rig.server.poll_output();
    assert!(matches!(question, Some(Output::NeedKey { .. })));
    assert_eq!(rig.server.handle_client(context, user.tuple, &request), Handled::Dropped(Drop::Busy));
    rig.server.handle_timeout(rig.now + std::time::Duration::from_secs(5));
    assert_eq!(rig.ask(&user, request).code(), 0);
}

#[test]
fn a_lost_connection_ends_its_allocation() {
    let mut rig = Rig::new();
    let user = rig.allocated(five_tuple(CLIENT, crate::Transport::Tcp), "alice", "pw");
    rig.server.handle_disconnected(user.tuple);
    rig.drain();
    assert_eq!((rig.registrar.ports_used(), rig.sockets.len()), (0, 0));
}
