//! turn-client-proto, a TURN client without IO: the only one outside that speaks all of RFC 8489 and RFC 8656.

mod driver;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tests::netns::Namespace;
use tests::relay::{USER, start};
use tests::turn_tools::EchoPeer;
use tests::ways::{self, Target};
use turn_client_proto::api::{TurnConfig, TurnEvent};
use turn_client_proto::stun::auth::Feature;
use turn_types::stun::attribute::ErrorCode;
use turn_types::stun::message::{IntegrityAlgorithm, Message};
use turn_types::{AddressFamily, TurnCredentials};

use driver::Driver;
pub(super) use driver::Kind;

pub(super) const KINDS: [Kind; 2] = [Kind::Udp, Kind::Tcp];

fn config() -> TurnConfig {
    TurnConfig::new(TurnCredentials::new(USER.0, USER.1))
}

fn allocated(target: &Target, kind: Kind, config: &TurnConfig) -> (Driver, SocketAddr) {
    let mut driver = Driver::start(target.server, kind, config.clone());
    match driver.event() {
        TurnEvent::AllocationCreated(_, relayed) => (driver, relayed),
        event => panic!("{kind:?}: {event:?}"),
    }
}

/// What is sent. Over TCP in fours only: the client does not pad its ChannelData there (RFC 8656 section 12.5).
fn payloads(kind: Kind) -> impl Iterator<Item = Vec<u8>> {
    [0, 1, 3, 4, 1200]
        .into_iter()
        .filter(move |length| matches!(kind, Kind::Udp) || length % 4 == 0)
        .map(|n| vec![7; n])
}

/// By Send indications, and then over a channel.
pub(super) fn talk(target: &Target, kind: Kind, config: &TurnConfig) {
    let (mut one, here) = allocated(target, kind, config);
    if let Some(peer) = target.echo {
        one.permit(peer.ip());
        for channel in [false, true] {
            if channel {
                one.bind(peer);
            }
            // coturn's echo does not answer a datagram that is empty.
            for data in payloads(kind).filter(|data| !data.is_empty()) {
                one.send(peer, &data);
                assert_eq!(one.receive(), (peer, data));
            }
        }
    } else {
        let (mut other, there) = allocated(target, kind, config);
        // It names no port for a permission: any of that address.
        one.permit(there.ip());
        other.permit(here.ip());
        for channel in [false, true] {
            if channel {
                one.bind(there);
                other.bind(here);
            }
            for data in payloads(kind) {
                one.send(there, &data);
                assert_eq!(other.receive(), (here, data.clone()));
                other.send(here, &data);
                assert_eq!(one.receive(), (there, data));
            }
        }
        other.delete();
    }
    one.delete();
}

/// Everything that a client says in a call of two to the relay.
pub(super) fn said(target: &Target, kind: Kind) -> Vec<Vec<u8>> {
    let config = config();
    let (mut one, _) = allocated(target, kind, &config);
    let (mut other, there) = allocated(target, kind, &config);
    one.bind(there);
    one.send(there, b"over a channel");
    one.delete();
    other.delete();
    [one.said, other.said].concat()
}

#[test]
fn relays_both_ways() {
    ways::both(|_| {}, |target| KINDS.into_iter().for_each(|kind| talk(target, kind, &config())));
}

/// MESSAGE-INTEGRITY-SHA256 with the key by SHA-256, and a name that is not in the clear (RFC 8489 section 9.2).
/// Rule: stun-userhash, stun-answer-integrity
#[test]
fn relays_with_sha256_and_a_hashed_name() {
    let mut config = config();
    config.set_supported_integrity(IntegrityAlgorithm::Sha256);
    config.set_anonymous_username(Feature::Required);
    ways::both(|_| {}, |target| KINDS.into_iter().for_each(|kind| talk(target, kind, &config)));
}

/// Both algorithms on offer, a name in the clear, and a time-limited one.
/// Rule: stun-password-algorithms
#[test]
fn chooses_among_algorithms() {
    let (relay, server) = start(|_| {});
    let target = Target { server, echo: None, space: None };
    let mut config = config();
    config.add_supported_integrity(IntegrityAlgorithm::Sha256);
    config.set_anonymous_username(Feature::Disabled);
    KINDS.into_iter().for_each(|kind| talk(&target, kind, &config));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let minted = relay.credentials("alice", 600, now).expect("there are secrets");
    let mut limited = TurnConfig::new(TurnCredentials::new(&minted.username, &minted.password));
    limited.set_supported_integrity(IntegrityAlgorithm::Sha256);
    KINDS.into_iter().for_each(|kind| talk(&target, kind, &limited));
}

#[test]
fn a_wrong_password_is_refused() {
    let (relay, server) = start(|_| {});
    for algorithm in [IntegrityAlgorithm::Sha1, IntegrityAlgorithm::Sha256] {
        let mut config = TurnConfig::new(TurnCredentials::new(USER.0, "wrong"));
        config.set_supported_integrity(algorithm);
        // It does not say so by an event, and goes on to ask.
        let refusal = Driver::start(server, Kind::Udp, config).ignored();
        let refusal = Message::from_bytes(&refusal).expect("a STUN message");
        assert_eq!(refusal.attribute::<ErrorCode>().expect("an error").code(), 401);
    }
    assert_eq!(relay.stats().core.allocations_made, 0);
}

/// ADDITIONAL-ADDRESS-FAMILY (RFC 8656 section 7): one allocation, an address of each family, and data through both.
///
/// Rule: turn-dual-answer
#[test]
fn one_allocation_has_both_families() {
    let space = Namespace::new();
    let here6 = space.add_ipv6();
    let (relay, server) = start(|config| {
        config.relay_addresses = vec![space.here.into(), here6.0.into()];
        config.allow_peers = vec![space.there.to_string(), here6.1.to_string()];
    });
    let peers = [IpAddr::from(space.there), here6.1.into()];
    let sockets = peers.map(|ip| space.within(|| UdpSocket::bind((ip, 0))).expect("its address"));
    let mut config = config();
    config.add_address_family(AddressFamily::IPV6);
    for kind in KINDS {
        let mut driver = Driver::start(server, kind, config.clone());
        let mut relayed = [(); 2].map(|()| match driver.event() {
            TurnEvent::AllocationCreated(_, relayed) => relayed,
            event => panic!("{kind:?}: {event:?}"),
        });
        relayed.sort();
        assert_eq!(relayed.map(|address| address.ip()), [space.here.into(), IpAddr::from(here6.0)]);
        assert_eq!((relay.allocations().len(), relay.stats().ports_used), (1, 2));
        for (socket, relayed) in sockets.iter().zip(relayed) {
            let peer = socket.local_addr().expect("bound");
            driver.permit(peer.ip());
            // The way may not be there yet; its end is waited for.
            socket.set_read_timeout(Some(Duration::from_millis(50))).expect("not zero");
            let mut bytes = [0; 64];
            let deadline = Instant::now() + Duration::from_secs(10);
            let length = loop {
                driver.send(peer, b"over");
                // One of the last client's may come late.
                if let Some((length, _)) = socket.recv_from(&mut bytes).ok().filter(|(_, from)| *from == relayed) {
                    break length;
                }
                assert!(Instant::now() < deadline, "nothing comes from {relayed} to {peer}");
            };
            assert_eq!(&bytes[..length], b"over");
            socket.send_to(b"back", relayed).expect("sent");
            assert_eq!(driver.receive(), (peer, b"back".to_vec()));
        }
        driver.delete();
    }
    assert_eq!(relay.stats().handed_over, 0);
}

/// The ICMP attribute (RFC 8656 section 11.5): nobody listens there, and the client is told.
///
/// Rule: turn-icmp
#[test]
fn errors_of_the_network_are_told() {
    let space = Namespace::new();
    // It answers, so the way is there.
    let _echo = EchoPeer::start(&space);
    let (_relay, server) = start(|config| {
        config.relay_addresses = vec![space.here.into()];
        config.allow_peers = vec![format!("{}/32", space.there)];
    });
    let target = Target { server, echo: None, space: None };
    for kind in KINDS {
        let (mut client, _) = allocated(&target, kind, &config());
        let nobody = SocketAddr::from((space.there, 9999));
        client.permit(nobody.ip());
        client.send(nobody, b"is anybody there?");
        assert_eq!(client.icmp(), (nobody, 3, 3, 0), "port unreachable");
        client.delete();
    }
}
