//! What a relay must not do for anybody.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tests::pki::Pki;
use tests::relay::{USER, start};
use tests::turn_client::TurnClient;
use turn::Drop;
use turn_server::config::TlsMode;
use turn_server::relay::Relay;

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Rule: turn-403, abuse-1, abuse-5
#[test]
fn no_door_leads_to_a_forbidden_peer() {
    let (relay, address) = start(|_| {});
    // Programs of this host that nobody may reach: one that answers on UDP, one that would be the API.
    let victim = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    victim.set_nonblocking(true).expect("a socket");
    let api = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let victim_port = victim.local_addr().expect("bound").port();
    let api_port = api.local_addr().expect("bound").port();
    let mut client = TurnClient::udp(address, USER.0, USER.1);
    client.allocate().expect("an allocation");
    let mut forbidden = vec![address];
    for ip in [
        "127.0.0.1",
        "127.8.9.10",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "::",
        "::127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "64:ff9b::7f00:1",
        "2002:7f00:1::1",
        "2001:0:0:0:0:0:80ff:fffe",
    ] {
        for port in [victim_port, api_port, 80] {
            forbidden.push(SocketAddr::new(ip.parse().expect("an address"), port));
        }
    }
    for peer in &forbidden {
        assert_eq!(client.permit(*peer), 403, "CreatePermission {peer}");
        assert_eq!(client.bind(0x4000, *peer), 403, "ChannelBind {peer}");
        client.send(*peer, b"through the wall");
        client.send_channel(0x4000, b"through the wall");
    }
    // Answered only after everything above was looked at.
    client.binding();
    let stats = relay.stats();
    assert_eq!(victim.recv(&mut [0; 64]).expect_err("nothing came").kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!((stats.sent_to_peers, stats.handed_over), (0, 0));
    assert_eq!(stats.core.dropped_for(Drop::NoPermission), forbidden.len() as u64);
    assert_eq!(stats.core.dropped_for(Drop::NoChannel), forbidden.len() as u64);
    assert_eq!(stats.core.errors_with(403), 2 * forbidden.len() as u64);
    assert_eq!(relay.check_peer(forbidden[1]).rule, "own address: not a media port, not a live relayed port");
}

/// Rule: abuse-5, abuse-6
#[test]
fn a_live_allocation_is_reached_and_a_dead_one_is_not() {
    let (relay, address) = start(|_| {});
    let victim = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let mut alice = TurnClient::udp(address, USER.0, USER.1);
    let mut bob = TurnClient::tcp(address, USER.0, USER.1);
    let alice_relayed = alice.allocate().expect("an allocation");
    let bob_relayed = bob.allocate().expect("an allocation");
    assert_eq!(alice.bind(0x4000, bob_relayed), 0);
    assert_eq!(bob.bind(0x4001, alice_relayed), 0);
    alice.send_channel(0x4000, b"hello");
    assert_eq!(bob.receive().expect("ChannelData"), b"\x40\x01\0\x05hello");
    bob.send_channel(0x4001, b"hi");
    assert_eq!(alice.receive().expect("ChannelData"), b"\x40\0\0\x02hi");

    // The permission is for 127.0.0.1, but for live relayed ports only.
    alice.send(victim.local_addr().expect("bound"), b"x");
    // And another program of this host cannot pose as the peer.
    victim.send_to(b"x", alice_relayed).expect("sent");
    alice.binding();
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while relay.stats().core.dropped_for(Drop::Policy) < 2 {
        assert!(std::time::Instant::now() < deadline, "{:?}", relay.stats());
    }
    victim.set_nonblocking(true).expect("a socket");
    assert!(victim.recv(&mut [0; 64]).is_err());

    assert_eq!(bob.refresh(0), 0);
    let before = relay.stats();
    alice.send_channel(0x4000, b"are you there?");
    alice.binding();
    let after = relay.stats();
    assert_eq!(after.handed_over, before.handed_over, "gone with the allocation");
    assert_eq!(alice.permit(bob_relayed), 403);
}

/// Rule: abuse-11
#[test]
fn expired_and_forged_names_get_nothing() {
    let (relay, address) = start(|_| {});
    let now = unix_now();
    let good = relay.credentials("carol", 60, now).expect("a secret is configured");
    let expired = relay.credentials("carol", 0, now).expect("a secret is configured");
    assert!(TurnClient::udp(address, &good.username, &good.password).allocate().is_ok());
    assert_eq!(TurnClient::udp(address, &expired.username, &expired.password).allocate(), Err(401));
    let later = good.username.replacen(char::is_numeric, "9", 1);
    assert_eq!(TurnClient::udp(address, &later, &good.password).allocate(), Err(401));
    assert_eq!(TurnClient::udp(address, "nobody", "x").allocate(), Err(401));
}

/// Rule: turn-486, abuse-28
#[test]
fn the_quota_of_an_id_spans_workers_and_names() {
    let (relay, address) = start(|config| config.allocations_per_user = 6);
    let mut clients = Vec::new();
    let mut outcomes = Vec::new();
    for extra in 0..8 {
        let minted = relay.credentials("@dora:example.org", 60 + extra, unix_now()).expect("a secret is configured");
        // UDP and TCP, many source ports: both workers serve some of them.
        let mut client = if extra % 2 == 0 {
            TurnClient::udp(address, &minted.username, &minted.password)
        } else {
            TurnClient::tcp(address, &minted.username, &minted.password)
        };
        outcomes.push(client.allocate().err());
        clients.push(client);
    }
    assert_eq!(outcomes, [None, None, None, None, None, None, Some(486), Some(486)]);
    let allocations = relay.allocations();
    assert_eq!(allocations.len(), 6);
    assert!(allocations.iter().all(|allocation| allocation.snapshot.quota_key == "@dora:example.org"));
    assert!(relay.end_allocation(&allocations[0].name));
    assert!(!relay.end_allocation(&allocations[0].name));
    assert!(clients[7].allocate().is_ok());
}

/// Rule: abuse-1, abuse-4
#[test]
fn a_reload_that_denies_a_peer_ends_what_it_had() {
    let space = tests::netns::Namespace::new();
    let there = SocketAddr::from((space.there, 5000));
    let config = std::cell::RefCell::new(None);
    let (relay, address) = start(|relay| {
        relay.relay_addresses = vec![space.here.into()];
        relay.allow_peers = vec![there.ip().to_string()];
        *config.borrow_mut() = Some(relay.clone());
    });
    let mut client = TurnClient::udp(address, USER.0, USER.1);
    client.allocate().expect("an allocation");
    assert_eq!(client.bind(0x4000, there), 0);
    client.send_channel(0x4000, b"x");
    client.binding();
    assert_eq!(relay.stats().sent_to_peers, 1);

    let mut config = config.into_inner().expect("edited");
    config.deny_peers = vec![there.ip().to_string()];
    relay.reload(&config).expect("a good configuration");
    client.send_channel(0x4000, b"x");
    client.send(there, b"x");
    client.binding();
    let stats = relay.stats();
    assert_eq!((stats.sent_to_peers, stats.core.channels, stats.core.permissions), (1, 0, 0));
    assert_eq!(client.permit(there), 403);
    config.deny_peers = vec!["nonsense".into()];
    assert!(relay.reload(&config).is_err());
}

const GARBAGE: [&[u8]; 12] = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /v1/rooms HTTP/1.1\r\nContent-Length: 999999\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x10",
    b"OPTIONS sip:x@y SIP/2.0\r\n\r\n",
    b"\x80\x60\0\x01\0\0\0\x01\0\0\0\x01payload",
    b"\xc3\0\0\0\x01\x08quicquic",
    b"\0\x01\0\0",
    b"\0\x01\xff\xff\x21\x12\xa4\x42aaaaaaaaaaaa",
    b"\x40\0\xff\xff",
    b"\x50\0\0\0",
    b"\0",
];

/// Rule: abuse-36
#[test]
fn garbage_on_every_port_harms_nobody() {
    let lines = tests::log::capture();
    let (relay, address) = start(|_| {});
    let mut client = TurnClient::udp(address, USER.0, USER.1);
    let relayed = client.allocate().expect("an allocation");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let mut noise: Vec<Vec<u8>> = GARBAGE.iter().map(|bytes| bytes.to_vec()).collect();
    noise.push(Vec::new());
    for size in [1usize, 3, 4, 19, 20, 21, 1500, 60_000] {
        noise.push((0..size).map(|_| rand::random()).collect());
        // Random attributes behind a sound header.
        let mut message = vec![0, 3, 0, 0, 0x21, 0x12, 0xA4, 0x42];
        message.extend((0..size).map(|_| rand::random::<u8>()));
        message.resize((20 + size).next_multiple_of(4), 0);
        let length = (message.len() - 20) as u16;
        message[2..4].copy_from_slice(&length.to_be_bytes());
        noise.push(message);
    }
    for bytes in &noise {
        for to in [address, relayed] {
            sender.send_to(bytes, to).expect("sent");
        }
        let stream = std::net::TcpStream::connect(address).expect("a listener");
        let _ = std::io::Write::write_all(&mut &stream, bytes);
        drop(stream);
        client.send_raw(bytes);
    }
    assert_eq!(client.binding(), client.local_addr());
    assert!(TurnClient::tcp(address, USER.0, USER.1).allocate().is_ok());
    assert_eq!(client.refresh(600), 0, "the allocation lives");
    assert_eq!(relay.stats().sent_to_peers, 0);
    let sources = 1 + 2 * noise.len();
    assert!(lines.count() <= sources, "a line for each source at most: {} for {sources}", lines.count());
}

/// Rule: abuse-25
#[test]
fn garbage_inside_and_instead_of_encryption_harms_nobody() {
    let pki = Pki::new();
    let (relay, address) = start(|config| {
        config.tls = TlsMode::Files;
        (config.tls_cert, config.tls_key) = (Some(pki.cert()), Some(pki.key()));
        config.tls_listen = vec![address_of_any_port()];
    });
    let secure = relay.tls_addresses()[0];
    let mut over_tls = TurnClient::tls(secure, &pki, USER.0, USER.1);
    let mut over_dtls = TurnClient::dtls(secure, USER.0, USER.1);
    let relayed = over_tls.allocate().expect("an allocation");
    over_dtls.allocate().expect("an allocation");
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let mut noise: Vec<Vec<u8>> = GARBAGE.iter().map(|bytes| bytes.to_vec()).collect();
    for first in [20, 21, 22, 23, 25, 32, 63] {
        // Records of DTLS and TLS that hold anything, and less than they say.
        noise.push((0..64).map(|at| if at == 0 { first } else { rand::random() }).collect());
        noise.push([&[first, 3, 3, 0x40, 0][..], &[0xA5; 300]].concat());
        noise.push([&[first, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40][..], &[0xA5; 40]].concat());
    }
    for bytes in &noise {
        for to in [address, secure, relayed] {
            sender.send_to(bytes, to).expect("sent");
        }
        for to in [address, secure] {
            let mut stream = std::net::TcpStream::connect(to).expect("a listener");
            let _ = stream.write_all(bytes);
            let mut inside = TurnClient::tls(to, &pki, USER.0, USER.1);
            inside.send_raw(bytes);
        }
        over_dtls.send_raw(bytes);
    }
    assert_eq!((over_tls.refresh(600), over_dtls.refresh(600)), (0, 0), "the allocations live");
    assert!(TurnClient::tls(secure, &pki, USER.0, USER.1).allocate().is_ok());
    assert!(TurnClient::dtls(address, USER.0, USER.1).allocate().is_ok());
    assert_eq!(relay.stats().sent_to_peers, 0);
    let mut buffer = [0; 2048];
    sender.set_nonblocking(true).expect("a socket");
    while let Ok(length) = sender.recv(&mut buffer) {
        assert!(length <= 60, "nothing but short answers: {:?}", &buffer[..length]);
    }
}

fn address_of_any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

#[test]
fn nothing_but_a_request_is_answered() {
    let (_relay, address) = start(|_| {});
    let mut client = TurnClient::udp(address, USER.0, USER.1);
    // Success and error responses, and indications, of every method that there is.
    for method in [1u16, 3, 4, 6, 7, 8, 9, 10, 11, 12] {
        for class in [0x0010u16, 0x0100, 0x0110] {
            let kind = class | method;
            let mut bytes = kind.to_be_bytes().to_vec();
            bytes.extend([0, 0, 0x21, 0x12, 0xA4, 0x42]);
            bytes.extend([7; 12]);
            client.send_raw(&bytes);
        }
    }
    client.binding();
    assert!(client.is_silent_for(Duration::from_millis(200)));
}

/// Rule: abuse-33
#[test]
fn a_client_that_does_not_read_loses_media_and_nobody_else_does() {
    let (relay, address) = start(|_| {});
    overwhelm(&relay, address, TurnClient::tcp(address, USER.0, USER.1));
}

/// Rule: abuse-33
#[test]
fn a_client_that_does_not_read_tls_loses_media_and_nobody_else_does() {
    let pki = Pki::new();
    let (relay, address) = start(|config| {
        config.tls = TlsMode::Files;
        (config.tls_cert, config.tls_key) = (Some(pki.cert()), Some(pki.key()));
        config.tls_listen.clear();
    });
    overwhelm(&relay, address, TurnClient::tls(address, &pki, USER.0, USER.1));
}

fn overwhelm(relay: &Relay, address: SocketAddr, mut slow: TurnClient) {
    let mut fast = TurnClient::udp(address, USER.0, USER.1);
    let slow_relayed = slow.allocate().expect("an allocation");
    let fast_relayed = fast.allocate().expect("an allocation");
    assert_eq!(slow.bind(0x4000, fast_relayed), 0);
    assert_eq!(fast.bind(0x4000, slow_relayed), 0);
    let packet = [7; 1200];
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while relay.stats().tcp_dropped == 0 {
        // No more in one go than the kernel keeps: the request after them must arrive.
        for _ in 0..50 {
            fast.send_channel(0x4000, &packet);
        }
        fast.binding();
        assert!(std::time::Instant::now() < deadline, "{:?}", relay.stats());
    }
    // What was not dropped arrives whole, and the stream is still in step.
    for _ in 0..50 {
        assert_eq!(slow.receive().expect("ChannelData")[4..], packet);
    }
    assert_eq!(slow.refresh(600), 0);
    let made = relay.allocations();
    let unsent =
        |relayed| made.iter().find(|made| made.snapshot.relayed == [relayed]).expect("it lives").snapshot.unsent;
    assert_eq!((unsent(slow_relayed), unsent(fast_relayed)), (relay.stats().tcp_dropped, 0));
}
