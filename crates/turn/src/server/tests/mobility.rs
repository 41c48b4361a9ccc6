//! RFC 8016: an allocation follows its client. Two servers share a registrar here, as two workers do.

use stun_types::attribute::{AttributeType, AttributeWrite, Nonce, RawAttribute};
use stun_types::message::TransactionId;
use turn_types::attribute::Lifetime;
use turn_types::message::{ALLOCATE, REFRESH};

use super::rig::*;
use crate::Transport;
use crate::server::*;

const TICKET: AttributeType = AttributeType::new(0x8030);

fn ticket_of(answer: &Answer) -> Option<Vec<u8>> {
    answer.message().raw_attribute(TICKET).map(|raw| raw.value.to_vec())
}

fn mobile(rig: &mut Rig, transport: Transport) -> (TestClient, Vec<u8>) {
    let mut user = TestClient::new(five_tuple(CLIENT, transport), "alice", "pw");
    user.greet(rig);
    let request = user.allocate(&[&RawAttribute::new(TICKET, &[])]);
    let answer = rig.ask(&user, request);
    assert_eq!(answer.code(), 0);
    let ticket = ticket_of(&answer).expect("a ticket");
    (user, ticket)
}

/// The same user on another 5-tuple, with a nonce for it.
fn elsewhere(rig: &mut Rig, client: &str, transport: Transport) -> TestClient {
    let mut user = TestClient::new(five_tuple(client, transport), "alice", "pw");
    user.greet(rig);
    user
}

fn follow(user: &TestClient, ticket: &[u8]) -> Vec<u8> {
    user.request(REFRESH, &[&RawAttribute::new(TICKET, ticket)])
}

fn served(rig: &mut Rig, id: AllocationId) -> FiveTuple {
    rig.peer(id, PEER, 10, Way::Network).expect("the permission is there").client
}

/// Rule: mobility
#[test]
fn the_old_way_is_served_until_the_client_is_heard_on_the_new_one() {
    let mut rig = Rig::new();
    let (old, ticket) = mobile(&mut rig, Transport::Udp);
    assert_eq!(rig.bind(&old, 0x4000, PEER), 0);
    let id = rig.id(&old);
    let new = elsewhere(&mut rig, "198.20.0.77:9", Transport::Udp);
    let answer = rig.ask(&new, follow(&new, &ticket));
    assert_eq!(answer.code(), 0);
    let second = ticket_of(&answer).expect("a new ticket");
    assert_ne!(second, ticket);
    assert_eq!(served(&mut rig, id), old.tuple);
    assert!(matches!(rig.client(old.tuple, &channel_data(0x4000, b"x")), Handled::Relay(_)), "still heard, too");
    assert_eq!(served(&mut rig, id), old.tuple);
    assert!(matches!(rig.client(new.tuple, &channel_data(0x4000, b"x")), Handled::Relay(_)));
    assert_eq!(served(&mut rig, id), new.tuple);
    assert_eq!(rig.client(old.tuple, &channel_data(0x4000, b"x")), Handled::Dropped(Drop::NoAllocation));
    assert_eq!((rig.sockets.len(), rig.registrar.ports_used()), (1, 1), "the relayed address stays");
    let moved = Output::Moved { allocation: id, from: old.tuple, to: new.tuple };
    assert!(rig.routes.contains(&moved) && rig.routes.contains(&Output::Released { client: old.tuple }));
    assert_eq!(rig.ask(&new, follow(&new, &ticket)).code(), 437, "a ticket is good for one move");
    let third = rig.ask(&new, follow(&new, &second));
    assert_eq!(third.code(), 0, "a client that stays gets a new ticket as well");
    assert_ne!(ticket_of(&third), Some(second));
}

#[test]
fn any_request_without_a_ticket_completes_a_move_and_a_retransmission_does_not() {
    let mut rig = Rig::new();
    let (old, ticket) = mobile(&mut rig, Transport::Udp);
    assert_eq!(rig.permit(&old, &[PEER]), 0);
    let id = rig.id(&old);
    let new = elsewhere(&mut rig, "198.20.0.77:9", Transport::Udp);
    let request = follow(&new, &ticket);
    let first = rig.ask(&new, request.clone());
    let again = rig.ask(&new, request);
    assert_eq!((first.code(), &first.bytes), (0, &again.bytes));
    assert_eq!(served(&mut rig, id), old.tuple);
    assert_eq!(rig.permit(&new, &[PEER]), 0);
    assert_eq!(served(&mut rig, id), new.tuple);
}

/// Rule: mobility
#[test]
fn tickets_are_for_who_got_them() {
    let mut rig = Rig::new();
    let (old, ticket) = mobile(&mut rig, Transport::Udp);
    let mut bob = elsewhere(&mut rig, "198.20.0.66:9", Transport::Udp);
    (bob.name, bob.password) = ("bob".into(), "pw2".into());
    assert_eq!(rig.ask(&bob, follow(&bob, &ticket)).code(), 441);
    let new = elsewhere(&mut rig, "198.20.0.77:9", Transport::Udp);
    let mut forged = ticket.clone();
    *forged.last_mut().unwrap() ^= 1;
    // Sevens, as text.
    let foreign = b"BwcH".repeat(7);
    for bad in [&forged, &ticket[1..], &foreign] {
        // A ticket of another worker is that worker's to judge.
        rig.sent.clear();
        rig.client(new.tuple, &follow(&new, bad));
        let code = rig.sent.pop().map(|(_, bytes)| Answer { bytes }.code());
        assert_eq!(code, if bad == foreign { None } else { Some(437) });
    }
    assert_eq!(rig.ask(&new, follow(&new, &[])).code(), 400);
    let mut guesser = elsewhere(&mut rig, "198.20.0.78:9", Transport::Udp);
    guesser.password = "wrong".into();
    assert_eq!(rig.ask(&guesser, follow(&guesser, &ticket)).code(), 401);
    let busy = rig.allocated(five_tuple("198.20.0.79:9", Transport::Udp), "alice", "pw");
    assert_eq!(rig.ask(&busy, follow(&busy, &ticket)).code(), 437, "a 5-tuple has one allocation");
    assert_eq!(rig.permit(&old, &[PEER]), 0, "the owner noticed nothing");
    let full = user_with_ticket_bytes(&mut rig);
    assert_eq!(full, 400, "an Allocate request carries an empty ticket");
}

fn user_with_ticket_bytes(rig: &mut Rig) -> u16 {
    let user = elsewhere(rig, "198.20.0.80:9", Transport::Udp);
    let request = user.allocate(&[&RawAttribute::new(TICKET, &[1])]);
    rig.ask(&user, request).code()
}

/// Rule: mobility
#[test]
fn a_server_that_does_not_want_it_says_405() {
    let mut rig = Rig::new();
    rig.server.options.mobility = false;
    let user = elsewhere(&mut rig, CLIENT, Transport::Udp);
    let request = user.allocate(&[&RawAttribute::new(TICKET, &[])]);
    assert_eq!(rig.ask(&user, request).code(), 405);
    let request = user.allocate(&[]);
    assert_eq!(rig.ask(&user, request).code(), 0);
    assert_eq!(rig.ask(&user, follow(&user, &[1; 21])).code(), 405);
}

/// Rule: mobility, abuse-28
#[test]
fn one_move_is_pending_and_the_quota_is_held_throughout() {
    let mut rig = Rig::with_quota(1);
    let (old, mut ticket) = mobile(&mut rig, Transport::Udp);
    for port in 1..200 {
        let new = elsewhere(&mut rig, &format!("198.20.0.77:{port}"), Transport::Udp);
        let answer = rig.ask(&new, follow(&new, &ticket));
        ticket = ticket_of(&answer).expect("a ticket");
        let second = rig.server.table.tuples();
        assert_eq!(second, 2, "the old 5-tuple and the one that was named last");
    }
    let other = elsewhere(&mut rig, "198.20.0.99:1", Transport::Udp);
    let request = other.allocate(&[]);
    assert_eq!(rig.ask(&other, request).code(), 486);
    let bye = old.request(REFRESH, &[&Lifetime::new(0)]);
    assert_eq!(rig.ask(&old, bye).code(), 0);
    assert_eq!((rig.server.table.tuples(), rig.registrar.ports_used()), (0, 0));
}

#[test]
fn an_allocation_waits_for_a_client_whose_connection_broke() {
    let mut rig = Rig::with_quota(1);
    let (old, ticket) = mobile(&mut rig, Transport::Tcp);
    assert_eq!(rig.permit(&old, &[PEER]), 0);
    let id = rig.id(&old);
    rig.server.handle_disconnected(old.tuple);
    rig.drain();
    assert_eq!(rig.sockets.len(), 1);
    assert_eq!(rig.client(old.tuple, &old.send(PEER, b"x")), Handled::Dropped(Drop::NoAllocation));
    let other = elsewhere(&mut rig, "198.20.0.99:1", Transport::Udp);
    let request = other.allocate(&[]);
    assert_eq!(rig.ask(&other, request).code(), 486, "it frees no quota");
    // Back at once, over another transport: nobody else could be served.
    let new = elsewhere(&mut rig, "198.20.0.77:9", Transport::Udp);
    assert_eq!(rig.ask(&new, follow(&new, &ticket)).code(), 0);
    assert_eq!(served(&mut rig, id), new.tuple);
    rig.advance_to(601.0);
    assert_eq!((rig.sockets.len(), rig.server.table.tuples()), (0, 0), "and it ends when its time is over");
}

/// The move is over at once, but the answer may be lost, and coturn's client asks twice in any case.
#[test]
fn a_client_whose_connection_broke_may_ask_twice() {
    let mut rig = Rig::new();
    let (old, ticket) = mobile(&mut rig, Transport::Tcp);
    assert_eq!(rig.permit(&old, &[PEER]), 0);
    let id = rig.id(&old);
    rig.server.handle_disconnected(old.tuple);
    rig.drain();
    let new = elsewhere(&mut rig, "198.20.0.77:9", Transport::Udp);
    let request = follow(&new, &ticket);
    let first = ticket_of(&rig.ask(&new, request.clone())).expect("a new ticket");
    let second = ticket_of(&rig.ask(&new, request)).expect("the same");
    assert_eq!((&second, served(&mut rig, id)), (&first, new.tuple));
    let other = elsewhere(&mut rig, "198.20.0.78:9", Transport::Udp);
    assert_eq!(rig.ask(&other, follow(&other, &ticket)).code(), 437, "from there only");
    assert_eq!(rig.ask(&other, follow(&other, &first)).code(), 0);
}

#[test]
fn a_connection_that_breaks_during_a_move_decides_it() {
    for (broken_is_old, wanted) in [(true, "198.20.0.77:9"), (false, CLIENT)] {
        let mut rig = Rig::new();
        let (old, ticket) = mobile(&mut rig, Transport::Tcp);
        assert_eq!(rig.permit(&old, &[PEER]), 0);
        let id = rig.id(&old);
        let new = elsewhere(&mut rig, "198.20.0.77:9", Transport::Tcp);
        assert_eq!(rig.ask(&new, follow(&new, &ticket)).code(), 0);
        rig.server.handle_disconnected(if broken_is_old { old.tuple } else { new.tuple });
        rig.drain();
        assert_eq!((served(&mut rig, id).client.to_string().as_str(), rig.server.table.tuples()), (wanted, 1));
    }
}

#[test]
fn a_request_for_another_worker_is_handed_over_once_it_is_signed() {
    let mut rig = Rig::new();
    let (_, ticket) = mobile(&mut rig, Transport::Udp);
    let mut second = Rig::new();
    second.server.worker = 1;
    let mut new = TestClient::new(five_tuple("198.20.0.77:9", Transport::Udp), "alice", "pw");
    new.nonce = "x".into();
    let unsigned = stun_types::message::Message::builder_request(REFRESH, stun_types::message::MessageWriteVec::new());
    let unsigned = stun_types::message::MessageWrite::finish(unsigned);
    second.client(new.tuple, &unsigned);
    assert!(second.routes.is_empty(), "a challenge is any worker's business");
    let request = follow(&new, &ticket);
    second.sent.clear();
    second.client(new.tuple, &request);
    assert!(second.sent.is_empty());
    assert_eq!(second.routes, [Output::Elsewhere { worker: 0, client: new.tuple, bytes: request.clone() }]);
    // There it is judged: first the nonce, which any worker may have issued.
    rig.sent.clear();
    rig.client(new.tuple, &request);
    let stale = Answer { bytes: rig.sent.pop().unwrap().1 };
    assert_eq!(stale.code(), 438);
    new.nonce = stale.message().attribute::<Nonce>().unwrap().nonce().into();
    assert_eq!(rig.ask(&new, follow(&new, &ticket)).code(), 0);
    assert!(rig.server.knows(new.tuple) && !second.server.knows(new.tuple));
}

#[test]
fn a_retransmitted_allocate_gets_the_same_ticket() {
    let mut rig = Rig::new();
    let user = elsewhere(&mut rig, CLIENT, Transport::Udp);
    let (ticket, transport) = (RawAttribute::new(TICKET, &[]), turn_types::attribute::RequestedTransport::new(17));
    let attributes: [&dyn AttributeWrite; 2] = [&transport, &ticket];
    let request = user.request_with(TransactionId::generate(), ALLOCATE, &attributes);
    let first = rig.ask(&user, request.clone());
    assert_eq!(first.bytes, rig.ask(&user, request).bytes);
}

/// A connection of a client that has gone: its place may be another client's by now.
#[test]
fn nobody_is_served_while_the_client_is_gone() {
    let mut rig = Rig::new();
    let (old, _) = mobile(&mut rig, Transport::Tcp);
    assert_eq!(rig.permit(&old, &[PEER]), 0);
    let id = rig.id(&old);
    assert_eq!(served(&mut rig, id), old.tuple);
    rig.server.handle_disconnected(old.tuple);
    rig.drain();
    assert_eq!(rig.peer(id, PEER, 10, Way::Network), Err(Drop::NoAllocation));
}

#[test]
fn a_new_allocation_from_the_same_address_outlives_the_one_that_lost_its_client() {
    for moves in [false, true] {
        let mut rig = Rig::new();
        let (old, ticket) = mobile(&mut rig, Transport::Tcp);
        let first = rig.id(&old);
        rig.server.handle_disconnected(old.tuple);
        rig.drain();
        let again = rig.allocated(old.tuple, "alice", "pw");
        let second = rig.id(&again);
        assert_ne!(first, second);
        if moves {
            let new = elsewhere(&mut rig, "198.20.0.77:9", Transport::Tcp);
            assert_eq!(rig.ask(&new, follow(&new, &ticket)).code(), 0);
        } else {
            assert!(rig.server.handle_end(first));
            rig.drain();
        }
        assert_eq!(rig.permit(&again, &[PEER]), 0, "it is known: {moves}");
        assert_eq!(served(&mut rig, second), again.tuple);
    }
}

#[test]
fn a_client_that_is_lost_again_before_it_heard_its_answer_comes_back_with_the_same_ticket() {
    let mut rig = Rig::new();
    let (old, ticket) = mobile(&mut rig, Transport::Tcp);
    assert_eq!(rig.permit(&old, &[PEER]), 0);
    let id = rig.id(&old);
    rig.server.handle_disconnected(old.tuple);
    let new = elsewhere(&mut rig, "198.20.0.77:9", Transport::Tcp);
    assert_eq!(rig.ask(&new, follow(&new, &ticket)).code(), 0);
    rig.server.handle_disconnected(new.tuple);
    rig.drain();
    assert_eq!(rig.ask(&new, follow(&new, &ticket)).code(), 0);
    assert_eq!(served(&mut rig, id), new.tuple, "and is served");
}
