//! Allocations that follow their clients (RFC 8016), from any transport to any, from worker to worker.

use std::net::SocketAddr;

use stun_types::attribute::{AttributeType, AttributeWrite, ErrorCode, Nonce, RawAttribute};
use stun_types::message::{Message, MessageClass};
use tests::relay::{USER, start};
use tests::turn_client::TurnClient;
use turn_types::message::REFRESH;

const TICKET: AttributeType = AttributeType::new(0x8030);

type Connect = fn(SocketAddr, &str, &str) -> TurnClient;

fn ticket_of(answer: &[u8]) -> Vec<u8> {
    let message = Message::from_bytes(answer).expect("a STUN message");
    message.raw_attribute(TICKET).expect("a ticket").value.to_vec()
}

/// Comes back with a ticket from a new 5-tuple: the next ticket.
fn come_back(client: &mut TurnClient, ticket: &[u8]) -> Vec<u8> {
    client.greet();
    let attribute = RawAttribute::new(TICKET, ticket);
    let attributes: [&dyn AttributeWrite; 1] = [&attribute];
    let mut answer = client.ask(REFRESH, &attributes);
    let message = Message::from_bytes(&answer).expect("a STUN message");
    // The worker that has the allocation may want a nonce of its own.
    if let Ok(nonce) = message.attribute::<Nonce>() {
        client.set_nonce(nonce.nonce());
        answer = client.ask(REFRESH, &attributes);
    }
    let message = Message::from_bytes(&answer).expect("a STUN message");
    let code = message.attribute::<ErrorCode>().map(|error| error.code());
    assert_eq!((message.class(), code.ok()), (MessageClass::Success, None));
    ticket_of(&answer)
}

/// Rule: mobility
#[test]
fn an_allocation_follows_its_client_over_every_transport_and_to_every_worker() {
    let (relay, address) = start(|config| config.mobility = true);
    let ways: [Connect; 2] = [TurnClient::udp, TurnClient::tcp];
    let mut friend = TurnClient::udp(address, USER.0, USER.1);
    let there = friend.allocate().expect("an allocation");
    let mut moving = TurnClient::udp(address, USER.0, USER.1);
    let (relayed, mut ticket) = moving.allocate_mobile();
    assert_eq!((friend.permit(relayed), moving.bind(0x4001, there)), (0, 0));
    // Each new port lands on either worker: in 24 moves each pair of workers and transports comes up.
    for round in 0..24u32 {
        let mut next = ways[round as usize % 2](address, USER.0, USER.1);
        ticket = come_back(&mut next, &ticket);
        friend.send(relayed, b"still the old way");
        let data = moving.receive().expect("data on the old 5-tuple");
        assert!(data.ends_with(b"still the old way\0\0\0") || data.ends_with(b"still the old way"), "{data:?}");
        next.send_channel(0x4001, &round.to_be_bytes());
        let data = friend.receive().expect("data from the new 5-tuple");
        assert!(data.windows(4).any(|four| four == round.to_be_bytes()));
        friend.send(relayed, b"the new way");
        let data = next.receive().expect("data on the new 5-tuple");
        assert_eq!(data[..2], [0x40, 0x01]);
        // Requests are answered there, too: by whichever worker has the allocation.
        assert_eq!((next.permit(there), next.refresh(600)), (0, 0));
        moving = next;
    }
    assert_eq!(relay.stats().core.allocations, 2);
    assert_eq!(moving.refresh(0), 0);
    drop((moving, friend));
}

/// Rule: mobility, abuse-28
#[test]
fn a_broken_connection_does_not_end_a_call_and_frees_no_quota() {
    let (relay, address) = start(|config| {
        config.mobility = true;
        config.allocations_per_user = 2;
    });
    let mut friend = TurnClient::udp(address, USER.0, USER.1);
    let there = friend.allocate().expect("an allocation");
    let mut first = TurnClient::tcp(address, USER.0, USER.1);
    let (relayed, ticket) = first.allocate_mobile();
    assert_eq!((friend.permit(relayed), first.bind(0x4001, there)), (0, 0));
    let local = first.local_addr();
    drop(first);
    // The server has seen it once the address may be used for another connection.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while relay.stats().connections > 0 {
        assert!(std::time::Instant::now() < deadline, "{local} stays open");
        std::thread::yield_now();
    }
    let mut greedy = TurnClient::udp(address, USER.0, USER.1);
    assert_eq!(greedy.allocate(), Err(486));
    let mut back = TurnClient::udp(address, USER.0, USER.1);
    come_back(&mut back, &ticket);
    friend.send(relayed, b"there you are");
    assert_eq!(back.receive().expect("data")[..2], [0x40, 0x01]);
}

#[test]
fn a_ticket_is_refused_where_it_is_not_wanted() {
    let (_relay, address) = start(|_| {});
    let mut client = TurnClient::udp(address, USER.0, USER.1);
    assert_eq!(client.allocate_with(&[&RawAttribute::new(TICKET, &[])]), Err(405));
}
