//! Whatever comes in whatever order: no panic, no leaked port, permission or connection, no second answer, and no packet
//! for a peer that the policy denies.

use std::collections::BTreeSet;

use proptest::prelude::*;
use stun_types::attribute::{AttributeType, RawAttribute};
use stun_types::message::TransactionId;
use turn_types::AddressFamily;
use turn_types::attribute::{
    AdditionalAddressFamily, ConnectionId, EvenPort, Lifetime, RequestedTransport, XorPeerAddress,
};
use turn_types::message::{ALLOCATE, CONNECT, CONNECTION_BIND, REFRESH};

use super::rig::*;
use crate::Transport;
use crate::server::*;

#[derive(Debug, Clone)]
enum Step {
    Allocate { client: u8, kind: u8 },
    Refresh { client: u8, life: u32 },
    Permit { client: u8, peer: u8 },
    Bind { client: u8, number: u16, peer: u8 },
    Disconnect { client: u8 },
    Wait { seconds: u16 },
    Garbage { client: u8, bytes: Vec<u8> },
    Cut { client: u8, at: usize, to: u8 },
    FromPeer { client: u8, peer: u8, len: u16 },
    Send { client: u8, peer: u8 },
    Channel { client: u8, number: u16 },
    Follow { client: u8, of: u8 },
    Connect { client: u8, peer: u8 },
    Join { client: u8, number: u8 },
    Deny { peer: u8 },
}

/// Peers: the first four may be reached until they are denied, the others never.
const PEERS: [&str; 8] = [
    "198.20.7.0:7000",
    "198.20.7.1:7000",
    "198.20.7.2:7000",
    "198.20.7.3:7000",
    "10.0.0.1:7000",
    "203.0.113.5:7000",
    "[::ffff:127.0.0.1]:7000",
    "169.254.169.254:7000",
];

const TICKET: AttributeType = AttributeType::new(0x8030);

fn step() -> impl Strategy<Value = Step> {
    let client = 0..3u8;
    prop_oneof![
        4 => (client.clone(), 0..5u8).prop_map(|(client, kind)| Step::Allocate { client, kind }),
        4 => (client.clone(), prop_oneof![Just(0), 1..4000u32]).prop_map(|(client, life)| Step::Refresh { client, life }),
        4 => (client.clone(), 0..8u8).prop_map(|(client, peer)| Step::Permit { client, peer }),
        4 => (client.clone(), 0x3FFE..0x4004u16, 0..8u8).prop_map(|(client, number, peer)| Step::Bind {
            client,
            number,
            peer
        }),
        1 => client.clone().prop_map(|client| Step::Disconnect { client }),
        1 => (1..700u16).prop_map(|seconds| Step::Wait { seconds }),
        1 => (client.clone(), prop::collection::vec(any::<u8>(), 0..80))
            .prop_map(|(client, bytes)| Step::Garbage { client, bytes }),
        1 => (client.clone(), 0..200usize, any::<u8>()).prop_map(|(client, at, to)| Step::Cut { client, at, to }),
        4 => (client.clone(), 0..4u8, 0..1500u16).prop_map(|(client, peer, len)| Step::FromPeer { client, peer, len }),
        4 => (client.clone(), 0..8u8).prop_map(|(client, peer)| Step::Send { client, peer }),
        4 => (client.clone(), 0x4000..0x4004u16).prop_map(|(client, number)| Step::Channel { client, number }),
        1 => (client.clone(), client.clone()).prop_map(|(client, of)| Step::Follow { client, of }),
        1 => (client.clone(), 0..8u8).prop_map(|(client, peer)| Step::Connect { client, peer }),
        1 => (client, 0..4u8).prop_map(|(client, number)| Step::Join { client, number }),
        1 => (0..4u8).prop_map(|peer| Step::Deny { peer }),
    ]
}

fn user(rig: &Rig, client: u8) -> TestClient {
    let transport = if client.is_multiple_of(2) { Transport::Udp } else { Transport::Tcp };
    let mut user = TestClient::new(five_tuple(&format!("198.20.0.{client}:4000"), transport), "alice", "pw");
    user.nonce = rig.server.nonces.issue(rig.now, user.tuple.client, false);
    user
}

fn peer(number: u8) -> &'static str {
    PEERS[usize::from(number)]
}

fn play(rig: &mut Rig, denied: &mut BTreeSet<u8>, step: Step) {
    match step {
        Step::Allocate { client, kind } => {
            let user = user(rig, client);
            let even = EvenPort::new(true);
            let more = AdditionalAddressFamily::new(AddressFamily::IPV6);
            let request = match kind {
                0 => user.allocate(&[]),
                1 => user.allocate(&[&even]),
                2 => user.allocate(&[&more]),
                3 => user.allocate(&[&RawAttribute::new(TICKET, &[])]),
                _ => user.request(ALLOCATE, &[&RequestedTransport::new(6)]),
            };
            rig.client(user.tuple, &request);
        }
        Step::Refresh { client, life } => {
            let user = user(rig, client);
            let request = user.request(REFRESH, &[&Lifetime::new(life)]);
            rig.client(user.tuple, &request);
        }
        Step::Permit { client, peer: number } => {
            let user = user(rig, client);
            rig.client(user.tuple, &user.permission(&[peer(number)]));
        }
        Step::Bind { client, number, peer: to } => {
            let user = user(rig, client);
            rig.client(user.tuple, &user.bind(number, peer(to)));
        }
        Step::Follow { client, of } => {
            let owner = rig.server.table.id_of(user(rig, of).tuple).and_then(|id| rig.server.table.get(id));
            let ticket = owner.and_then(|allocation| rig.server.ticket(allocation)).unwrap_or_default();
            let user = user(rig, client);
            let request = user.request(REFRESH, &[&RawAttribute::new(TICKET, &ticket)]);
            rig.client(user.tuple, &request);
        }
        Step::Connect { client, peer: to } => {
            let user = user(rig, client);
            let transaction = TransactionId::generate();
            let attribute = XorPeerAddress::new(peer(to).parse().unwrap(), transaction);
            rig.routes.clear();
            rig.client(user.tuple, &user.request_with(transaction, CONNECT, &[&attribute]));
            for output in std::mem::take(&mut rig.routes) {
                let Output::Connect { connection, .. } = output else { continue };
                assert!(!(denied.contains(&to) || to > 3), "a connection to a denied peer");
                rig.server.handle_connected(rig.now, connection, to != 2);
                rig.drain();
            }
        }
        Step::Join { client, number } => {
            let user = user(rig, client);
            let connection = rig.server.connections.keys().nth(number.into()).map_or(7, |id| id.to_bits());
            let request = user.request(CONNECTION_BIND, &[&ConnectionId::new(connection)]);
            rig.client(user.tuple, &request);
        }
        step => play_rest(rig, denied, step),
    }
}

/// Steps that are no requests.
fn play_rest(rig: &mut Rig, denied: &mut BTreeSet<u8>, step: Step) {
    match step {
        Step::Disconnect { client } => {
            rig.server.handle_disconnected(user(rig, client).tuple);
            rig.drain();
        }
        Step::Wait { seconds } => {
            let end = rig.now.duration_since(rig.start).as_secs_f64() + f64::from(seconds);
            rig.advance_to(end);
            while rig.registrar.handle_timeout(rig.now).is_some() {}
        }
        Step::Garbage { client, bytes } => {
            rig.client(user(rig, client).tuple, &bytes);
        }
        Step::Cut { client, at, to } => {
            let user = user(rig, client);
            let mut request = user.bind(0x4000, peer(1));
            let at = at % request.len();
            request[at] = to;
            rig.client(user.tuple, &request);
        }
        Step::FromPeer { client, peer: from, len } => {
            if let Some(id) = rig.server.table.id_of(user(rig, client).tuple) {
                let told = rig.peer(id, peer(from), len.into(), Way::Network);
                assert!(told.is_err() || !denied.contains(&from), "a denied peer was heard");
            }
        }
        Step::Send { client, peer: to } => {
            let user = user(rig, client);
            let relayed = matches!(rig.client(user.tuple, &user.send(peer(to), b"x")), Handled::Relay(_));
            assert!(!relayed || !(denied.contains(&to) || to > 3), "a packet for a denied peer");
        }
        Step::Channel { client, number } => {
            let tuple = user(rig, client).tuple;
            if let Handled::Relay(to_peer) = rig.client(tuple, &channel_data(number, b"x")) {
                let to = PEERS.iter().position(|peer| *peer == to_peer.peer.to_string());
                let allowed = to.is_some_and(|to| to < 4 && !denied.contains(&(to as u8)));
                assert!(allowed, "a packet for a denied peer");
            }
        }
        Step::Deny { peer: number } => {
            denied.insert(number);
            let ranges: Vec<String> = denied.iter().map(|number| format!("198.20.7.{number}")).collect();
            rig.set_policy(&ranges.iter().map(String::as_str).collect::<Vec<_>>());
        }
        _ => unreachable!("a request"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_sequence_panics_or_leaks_a_port(steps in prop::collection::vec(step(), 0..120)) {
        let mut rig = Rig::with_quota(6);
        rig.server.options.tcp_relay = true;
        let mut denied = BTreeSet::new();
        for step in steps {
            rig.sent.clear();
            play(&mut rig, &mut denied, step);
            // A step may end what others wait for; but each is answered once.
            let answered: BTreeSet<_> = rig.sent.iter().map(|(_, bytes)| bytes[4..20].to_vec()).collect();
            prop_assert_eq!(answered.len(), rig.sent.len());
            let alive: BTreeSet<_> = rig.sockets.iter().map(|(id, _)| *id).collect();
            prop_assert_eq!(alive.len() as u64, rig.server.stats().allocations);
        }
        let end = rig.now.duration_since(rig.start).as_secs_f64() + 4000.0;
        rig.advance_to(end);
        while rig.registrar.handle_timeout(rig.now).is_some() {}
        prop_assert_eq!(rig.registrar.ports_used(), 0);
        prop_assert_eq!(rig.sockets.len(), 0);
        prop_assert_eq!(rig.server.poll_timeout(), None);
        prop_assert_eq!((rig.server.connections.len(), rig.server.table.tuples()), (0, 0));
    }

    /// Rule: abuse-34
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), first in 0..=0x4Fu8) {
        let mut rig = Rig::new();
        let user = rig.allocated(udp(), "alice", "pw");
        let mut bytes = bytes;
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        rig.client(user.tuple, &bytes);
        if bytes.len() >= 20 {
            let length = (bytes.len() - 20) as u16;
            bytes[2..4].copy_from_slice(&length.to_be_bytes());
            bytes[4..8].copy_from_slice(&crate::framing::MAGIC_COOKIE);
            rig.client(user.tuple, &bytes);
        }
    }
}
