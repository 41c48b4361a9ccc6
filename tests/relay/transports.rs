//! The ways to the relay: UDP, DTLS, TCP and TLS on one port, with clients and tools that are not ours.

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use service::config::Origin;
use tests::dtls::DtlsSocket;
use tests::netns::Namespace;
use tests::pki::Pki;
use tests::relay::{USER, start};
use tests::server::Server;
use tests::turn_client::TurnClient;
use tests::turn_tools::{EchoPeer, uclient};
use turn::Transport;
use turn_server::config::{RelayConfig, TlsMode};

const LOGIN: [&str; 4] = ["-u", USER.0, "-w", USER.1];

fn with(pki: &Pki) -> impl FnOnce(&mut RelayConfig) {
    let (cert, key) = (pki.cert(), pki.key());
    move |config| {
        config.tls = TlsMode::Files;
        (config.tls_cert, config.tls_key) = (Some(cert), Some(key));
        config.tls_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    }
}

/// Rule: stun-binding-tls, turn-channel-lengths
#[test]
fn every_transport_is_served_on_every_port() {
    let pki = Pki::new();
    let (relay, address) = start(with(&pki));
    let [secure] = relay.tls_addresses() else { panic!("one address of tls_listen") };
    for place in [address, *secure] {
        let mut clients = [
            TurnClient::udp(place, USER.0, USER.1),
            TurnClient::tcp(place, USER.0, USER.1),
            TurnClient::tls(place, &pki, USER.0, USER.1),
            TurnClient::dtls(place, USER.0, USER.1),
        ];
        let mut relayed = Vec::new();
        for client in &mut clients {
            assert_eq!(client.binding(), client.local_addr());
            relayed.push(client.allocate().expect("an allocation"));
        }
        // Each to the next, with lengths that need padding on streams.
        let count = clients.len();
        for from in 0..count {
            let to = (from + 1) % count;
            assert_eq!(clients[from].bind(0x4000, relayed[to]), 0);
            assert_eq!(clients[to].bind(0x4001, relayed[from]), 0);
            for length in [0usize, 1, 2, 3, 1200, 16_000] {
                let payload: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
                clients[from].send_channel(0x4000, &payload);
                let received = clients[to].receive().expect("ChannelData");
                assert_eq!((received[..2].to_vec(), &received[4..]), (vec![0x40, 1], &payload[..]), "{from} to {to}");
            }
        }
        let mut seen: Vec<_> = relay.allocations().iter().map(|made| made.snapshot.client.transport).collect();
        seen.sort();
        assert_eq!(seen, Transport::ALL);
        assert_eq!(relay.stats().core.allocations_over, [1; 4]);
        for client in &mut clients {
            assert_eq!(client.refresh(0), 0);
        }
    }
}

/// Rule: stun-framing
#[test]
fn a_message_may_come_in_any_pieces_of_tls() {
    let pki = Pki::new();
    let (_relay, address) = start(with(&pki));
    let mut client = TurnClient::tls(address, &pki, USER.0, USER.1);
    client.allocate().expect("an allocation");
    // A Binding request, a record for each byte of it.
    let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], b"in pieces!!!"].concat();
    for byte in &request {
        client.send_raw(&[*byte]);
    }
    assert_eq!(client.receive().expect("an answer")[8..20], *b"in pieces!!!");
    // And several in one record.
    client.send_raw(&[&request[..], &request, &request].concat());
    for _ in 0..3 {
        assert_eq!(client.receive().expect("an answer")[8..20], *b"in pieces!!!");
    }
    assert_eq!(client.refresh(600), 0);
}

#[test]
fn alpn_is_accepted_when_offered_and_never_required() {
    let pki = Pki::new();
    let (_relay, address) = start(with(&pki));
    let connect = |alpn: &[&str]| {
        let stream = TcpStream::connect(address).expect("a listener");
        TurnClient::over_tls(stream, pki.client(alpn), USER.0, USER.1)
    };
    assert_eq!(connect(&["stun.turn"]).alpn(), Some(&b"stun.turn"[..]));
    assert_eq!(connect(&["h2", "stun.nat-discovery"]).alpn(), Some(&b"stun.nat-discovery"[..]));
    let mut none = connect(&[]);
    assert_eq!(none.alpn(), None);
    assert_eq!(none.binding(), none.local_addr());
    // Who wants to speak something else is told so, before a byte of it could be taken for ours.
    let mut stream = TcpStream::connect(address).expect("a listener");
    let mut web = rustls::ClientConnection::new(pki.client(&["h2"]), address.ip().into()).expect("a client");
    let mut outcome = Ok((0, 0));
    while web.is_handshaking() && outcome.is_ok() {
        outcome = web.complete_io(&mut stream);
    }
    let error = outcome.expect_err("refused").to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
}

#[test]
fn openssl_verifies_the_chain_and_agrees_on_the_protocol() {
    let pki = Pki::new();
    let (_relay, address) = start(with(&pki));
    for version in ["-tls1_2", "-tls1_3"] {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address.to_string(), "-alpn", "stun.turn", version]);
        command.args(["-verify_return_error", "-verify_ip", "127.0.0.1", "-CAfile"]).arg(pki.root());
        let output = command.stdin(Stdio::null()).output().expect("openssl is installed");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("ALPN protocol: stun.turn") && text.contains("Verify return code: 0 (ok)"), "{text}");
        assert!(text.contains("test intermediate"), "the whole chain is shown: {text}");
    }
}

#[test]
fn coturns_client_over_tls_and_dtls() {
    let pki = Pki::new();
    let space = Namespace::new();
    let peer = EchoPeer::start(&space);
    let (there, port) = (space.there.to_string(), peer.address.port().to_string());
    let (relay, address) = start(|config| {
        with(&pki)(config);
        config.relay_addresses = vec![space.here.into()];
        config.allow_peers = vec![there.clone()];
    });
    for mode in [&["-t", "-S"][..], &["-t", "-S", "-s"], &["-S"], &["-S", "-s"]] {
        let echo = ["-n", "50", "-m", "2", "-l", "1200", "-c", "-e", &there, "-r", &port];
        let run = uclient(address, &[&echo[..], &LOGIN, mode].concat());
        if mode.contains(&"-t") { run.assert_something_came() } else { run.assert_nothing_lost() }
    }
    let stats = relay.stats();
    assert!(stats.sent_to_peers >= 400 && stats.tcp_dropped == 0, "{stats:?}");
    assert_eq!(stats.core.to_peers.packets, stats.core.to_clients.packets, "nothing lost: {stats:?}");
}

#[test]
fn a_reload_changes_certificates_and_touches_no_connection() {
    let pki = Pki::new();
    let config = std::cell::RefCell::new(None);
    let (relay, address) = start(|relay| {
        with(&pki)(relay);
        *config.borrow_mut() = Some(relay.clone());
    });
    let mut old = TurnClient::tls(address, &pki, USER.0, USER.1);
    old.allocate().expect("an allocation");
    let before = pki.client(&[]);
    pki.renew();
    let mut config = config.into_inner().expect("edited");
    relay.reload(&config).expect("good files");
    // It trusts the new authority only.
    let mut new = TurnClient::tls(address, &pki, USER.0, USER.1);
    assert!(new.allocate().is_ok());
    assert_eq!(old.refresh(600), 0);
    let mut stream = TcpStream::connect(address).expect("a listener");
    let mut distrustful = rustls::ClientConnection::new(before, address.ip().into()).expect("a client");
    let outcome = (0..8).try_for_each(|_| distrustful.complete_io(&mut stream).map(drop));
    assert!(outcome.expect_err("refused").to_string().contains("certificate"));

    std::fs::write(pki.key(), "nothing").expect("written");
    assert!(relay.reload(&config).expect_err("refused").to_string().contains("key.pem"));
    assert!(TurnClient::tls(address, &pki, USER.0, USER.1).allocate().is_ok(), "the last good one is used");
    config.tls = TlsMode::Off;
    assert!(relay.reload(&config).expect_err("refused").to_string().contains("restart"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_server_hands_out_what_it_encrypts_and_reloads_it() {
    let pki = Pki::new();
    let config = std::cell::RefCell::new(None);
    let server = Server::start_with(|whole| {
        with(&pki)(&mut whole.relay);
        whole.relay.secrets = vec!["north".into()];
        *config.borrow_mut() = Some(whole.clone());
    })
    .await;
    let config = config.into_inner().expect("edited");
    let secure = server.running.addresses().relay_tls[0];
    let granted = server.ask("GET", "/v1/turn?service=turn&username=alice", None).await.body;
    let uris = granted["uris"].as_array().expect("a list");
    assert_eq!(uris.last().expect("URLs"), &format!("turns:{secure}?transport=tcp"));
    pki.renew();
    server.running.reload(&config, &Origin::default()).expect("good files");
    let name = |key: &str| granted[key].as_str().expect("a text").to_owned();
    let (username, password) = (name("username"), name("password"));
    let allocated = tokio::task::spawn_blocking(move || {
        TurnClient::tls(secure, &pki, &username, &password).allocate().expect("an allocation")
    });
    assert_eq!(allocated.await.expect("no panic").ip(), secure.ip());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_our_own_is_the_one_of_https_and_is_not_advertised() {
    let server = Server::start_with(|config| {
        config.relay.tls = TlsMode::SelfSigned;
        config.relay.tls_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        config.relay.secrets = vec!["north".into()];
    })
    .await;
    let secure = server.running.addresses().relay_tls[0];
    let granted = server.ask("GET", "/v1/turn?service=turn&username=alice", None).await.body;
    assert!(!granted["uris"].to_string().contains("turns:"), "{granted}");
    let shown = tokio::task::spawn_blocking(move || DtlsSocket::connect(secure).certificate);
    let kept = CertificateDer::from_pem_file(server.folder.path().join("state/tls/cert.pem")).expect("PEM");
    assert_eq!(shown.await.expect("no panic"), kept.as_ref());
}
