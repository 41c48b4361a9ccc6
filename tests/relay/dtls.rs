//! DTLS: no state before a cookie has come back, bounded sessions after, and clients that leave or begin anew.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tests::dtls::{DtlsSocket, first_hello, second_hello};
use tests::pki::Pki;
use tests::relay::{USER, start};
use tests::turn_client::TurnClient;
use turn::Drop;
use turn_server::config::{RelayConfig, TlsMode};
use turn_server::relay::{Relay, RelayStats};

const PATIENCE: Duration = Duration::from_secs(5);

fn with(pki: &Pki) -> impl FnOnce(&mut RelayConfig) {
    let (cert, key) = (pki.cert(), pki.key());
    move |config| {
        config.tls = TlsMode::Files;
        (config.tls_cert, config.tls_key) = (Some(cert), Some(key));
        config.tls_listen.clear();
    }
}

fn until(relay: &Relay, what: impl Fn(&RelayStats) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !what(&relay.stats()) {
        assert!(Instant::now() < deadline, "{:?}", relay.stats());
        std::thread::yield_now();
    }
}

fn socket(server: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((server.ip(), 0)).expect("a free port");
    socket.connect(server).expect("a local address");
    socket.set_read_timeout(Some(PATIENCE)).expect("not zero");
    socket
}

fn ask(socket: &UdpSocket, bytes: &[u8]) -> Vec<u8> {
    socket.send(bytes).expect("sent");
    let mut answer = vec![0; 2048];
    let length = socket.recv(&mut answer).expect("an answer");
    answer.truncate(length);
    answer
}

/// Rule: abuse-23
#[test]
fn a_flood_of_hellos_keeps_nothing_and_is_answered_by_the_budget() {
    let pki = Pki::new();
    let (relay, address) = start(|config| {
        with(&pki)(config);
        config.unproven_replies = 50;
        config.workers = 1;
    });
    let hello = first_hello();
    let sockets: Vec<_> = (0..200).map(|_| socket(address)).collect();
    let begun = Instant::now();
    for round in 0..50 {
        for socket in &sockets {
            socket.send(&hello).expect("sent");
        }
        // Each round was looked at before the next one, so that no buffer of the kernel drops a part.
        until(&relay, |stats| stats.core.dropped_for(Drop::RateLimited) + 400 >= (round + 1) * 200);
    }
    let answers = 10_000 - relay.stats().core.dropped_for(Drop::RateLimited);
    let allowed = (begun.elapsed().as_secs() + 4) * 50;
    assert!((100..=allowed).contains(&answers), "{answers}");
    let mut received = 0;
    for socket in &sockets {
        socket.set_nonblocking(true).expect("a socket");
        let mut bytes = [0; 2048];
        while let Ok(length) = socket.recv(&mut bytes) {
            assert!(length < hello.len(), "{length} bytes for {}", hello.len());
            assert_eq!((bytes[0], bytes[13]), (22, 3), "HelloVerifyRequest");
            received += 1;
        }
    }
    assert!(received <= answers);
    let stats = relay.stats();
    assert_eq!((stats.sessions, stats.sessions_refused, stats.core.allocations), (0, 0, 0));
    // Who sends the cookie back is not held up by the flood, once the budget has a token again.
    let mut client = TurnClient::dtls(address, USER.0, USER.1);
    assert_eq!(client.binding(), client.local_addr());
}

#[test]
fn a_cookie_is_good_for_its_source_and_its_hello_only() {
    let pki = Pki::new();
    let (relay, address) = start(with(&pki));
    let (mine, other) = (socket(address), socket(address));
    let hello = first_hello();
    let challenge = ask(&mine, &hello);
    assert_eq!((challenge.len(), challenge[13]), (60, 3));
    let with_cookie = second_hello(&hello, &challenge);
    assert_eq!(ask(&other, &with_cookie)[13], 3, "asked again");
    assert_eq!(ask(&mine, &second_hello(&first_hello(), &challenge))[13], 3, "asked again");
    let mut forged = challenge.clone();
    forged[40] ^= 1;
    assert_eq!(ask(&mine, &second_hello(&hello, &forged))[13], 3, "asked again");
    assert_eq!(relay.stats().sessions, 0);
    assert_eq!(ask(&mine, &with_cookie)[13], 2, "ServerHello");
    assert_eq!(relay.stats().sessions, 1);
}

#[test]
fn a_session_shows_the_certificate_and_ends_with_its_client() {
    let pki = Pki::new();
    let (relay, address) = start(with(&pki));
    let dtls = DtlsSocket::connect(address);
    let leaf = CertificateDer::from_pem_file(pki.cert()).expect("PEM");
    assert_eq!(dtls.certificate, leaf.as_ref());
    let socket = dtls.socket.try_clone().expect("a descriptor");
    let mut client = TurnClient::over_dtls(dtls, USER.0, USER.1);
    client.allocate().expect("an allocation");
    assert_eq!((relay.stats().sessions, relay.allocations().len()), (1, 1));

    // Somebody who can only write into the path ends nothing: hellos without a cookie, alerts, noise.
    let alert = b"\x15\xfe\xfd\0\0\0\0\0\0\0\x09\0\x02\x02\x28";
    // And what is not encrypted is not heard, whatever it says.
    let mut plain = b"\x17\xfe\xfd\0\0\0\0\0\0\0\x0a\0\x14\0\x01\0\0\x21\x12\xa4\x42".to_vec();
    plain.extend(b"a Binding...");
    let mut handshake = first_hello();
    handshake[18] = 7;
    for _ in 0..40 {
        for noise in [&first_hello()[..], &handshake, alert, &plain, b"\x17\xfe\xfd\0\x01", &[20; 40]] {
            socket.send(noise).expect("sent");
        }
    }
    assert_eq!(client.refresh(600), 0);
    assert_eq!(relay.stats().core.bindings, 0);
    assert_eq!((relay.stats().sessions, relay.allocations().len()), (1, 1));

    // A client that lost its state begins anew from the same address, and its allocation is gone.
    let mut again = DtlsSocket::on(socket).expect("a handshake");
    assert_eq!((relay.stats().sessions, relay.allocations().len()), (1, 0));
    again.close();
    until(&relay, |stats| stats.sessions == 0);
    assert_eq!(relay.stats().sessions_refused, 0);
}

#[test]
fn one_source_cannot_take_all_sessions() {
    let pki = Pki::new();
    let (relay, address) = start(|config| {
        with(&pki)(config);
        config.workers = 1;
    });
    let hello = first_hello();
    let sockets: Vec<_> = (0..257).map(|_| socket(address)).collect();
    for socket in &sockets {
        let with_cookie = second_hello(&hello, &ask(socket, &hello));
        socket.send(&with_cookie).expect("sent");
    }
    until(&relay, |stats| stats.sessions_refused == 1);
    assert_eq!(relay.stats().sessions, 256);
    // Another address of ours has its own share.
    let elsewhere = UdpSocket::bind("127.0.0.2:0").expect("loopback is ours");
    elsewhere.connect(address).expect("a way");
    assert!(DtlsSocket::on(elsewhere).is_some());
}

#[test]
fn a_client_of_version_1_0_is_told_at_once() {
    let pki = Pki::new();
    let (relay, address) = start(with(&pki));
    let mut hello = first_hello();
    hello[26] = 0xFF;
    let alert = ask(&socket(address), &hello);
    assert_eq!((alert[0], &alert[13..]), (21, &[2, 70][..]), "fatal, protocol_version");
    assert_eq!(relay.stats().sessions, 0);
}

#[test]
fn dtls_can_be_switched_off() {
    let pki = Pki::new();
    let (relay, address) = start(|config| {
        with(&pki)(config);
        config.dtls = false;
    });
    let socket = socket(address);
    socket.send(&first_hello()).expect("sent");
    until(&relay, |stats| stats.core.dropped_for(Drop::Malformed) == 1);
    let mut client = TurnClient::tls(address, &pki, USER.0, USER.1);
    assert_eq!(client.binding(), client.local_addr());
}
