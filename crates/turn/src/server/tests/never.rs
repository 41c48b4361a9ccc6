//! Whatever comes in whatever order: no panic, no leaked port, no second answer.

use proptest::prelude::*;
use turn_types::AddressFamily;
use turn_types::attribute::{AdditionalAddressFamily, EvenPort, Lifetime};
use turn_types::message::REFRESH;

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
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..4u8;
    prop_oneof![
        (client.clone(), 0..3u8).prop_map(|(client, kind)| Step::Allocate { client, kind }),
        (client.clone(), prop_oneof![Just(0), 1..4000u32]).prop_map(|(client, life)| Step::Refresh { client, life }),
        (client.clone(), 0..4u8).prop_map(|(client, peer)| Step::Permit { client, peer }),
        (client.clone(), 0x3FFE..0x4004u16, 0..4u8).prop_map(|(client, number, peer)| Step::Bind {
            client,
            number,
            peer
        }),
        client.clone().prop_map(|client| Step::Disconnect { client }),
        (1..700u16).prop_map(|seconds| Step::Wait { seconds }),
        (client.clone(), prop::collection::vec(any::<u8>(), 0..80))
            .prop_map(|(client, bytes)| Step::Garbage { client, bytes }),
        (client.clone(), 0..200usize, any::<u8>()).prop_map(|(client, at, to)| Step::Cut { client, at, to }),
        (client, 0..4u8, 0..1500u16).prop_map(|(client, peer, len)| Step::FromPeer { client, peer, len }),
    ]
}

fn user(rig: &Rig, client: u8) -> TestClient {
    let transport = if client.is_multiple_of(2) { Transport::Udp } else { Transport::Tcp };
    let mut user = TestClient::new(five_tuple(&format!("198.20.0.{client}:4000"), transport), "alice", "pw");
    user.nonce = rig.server.nonces.issue(rig.now, user.tuple.client, false);
    user
}

fn play(rig: &mut Rig, step: Step) {
    let peer = |number: u8| format!("198.20.7.{number}:7000");
    match step {
        Step::Allocate { client, kind } => {
            let user = user(rig, client);
            let even = EvenPort::new(true);
            let more = AdditionalAddressFamily::new(AddressFamily::IPV6);
            let request = match kind {
                0 => user.allocate(&[]),
                1 => user.allocate(&[&even]),
                _ => user.allocate(&[&more]),
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
            rig.client(user.tuple, &user.permission(&[&peer(number)]));
        }
        Step::Bind { client, number, peer: to } => {
            let user = user(rig, client);
            rig.client(user.tuple, &user.bind(number, &peer(to)));
        }
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
            let mut request = user.bind(0x4000, &peer(1));
            let at = at % request.len();
            request[at] = to;
            rig.client(user.tuple, &request);
        }
        Step::FromPeer { client, peer: from, len } => {
            if let Some(id) = rig.server.table.id_of(user(rig, client).tuple) {
                let _ = rig.peer(id, &peer(from), len.into(), Way::Network);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_sequence_panics_or_leaks_a_port(steps in prop::collection::vec(step(), 0..60)) {
        let mut rig = Rig::with_quota(6);
        for step in steps {
            rig.sent.clear();
            let waited = matches!(step, Step::Wait { .. });
            play(&mut rig, step);
            prop_assert!(waited || rig.sent.len() <= 1);
            let alive: std::collections::BTreeSet<_> = rig.sockets.iter().map(|(id, _)| *id).collect();
            prop_assert_eq!(alive.len() as u64, rig.server.stats().allocations);
        }
        let end = rig.now.duration_since(rig.start).as_secs_f64() + 4000.0;
        rig.advance_to(end);
        while rig.registrar.handle_timeout(rig.now).is_some() {}
        prop_assert_eq!(rig.registrar.ports_used(), 0);
        prop_assert_eq!(rig.sockets.len(), 0);
        prop_assert_eq!(rig.server.poll_timeout(), None);
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
