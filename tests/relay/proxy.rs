//! PROXY headers of version 2: who sends them is believed, if listed; from anybody else they are garbage.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tests::pki::Pki;
use tests::relay::{USER, start};
use tests::turn_client::TurnClient;
use turn_server::config::TlsMode;

const PROXY: &str = "127.0.0.1";
const NOBODY: &str = "127.0.0.2";

/// A connection from one of our loopback addresses.
fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(from.parse().expect("an address"), 0).into()).expect("loopback is ours");
    socket.connect(&to.into()).expect("a listener");
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
    stream
}

fn header(command: u8, client: Option<SocketAddr>) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    let (family, mut body) = match client {
        Some(SocketAddr::V4(client)) => (0x11, [client.ip().octets(), [192, 0, 2, 1]].concat()),
        Some(SocketAddr::V6(client)) => (0x21, [client.ip().octets(), [0; 16]].concat()),
        None => (0, Vec::new()),
    };
    if let Some(client) = client {
        body.extend(client.port().to_be_bytes());
        body.extend(3478u16.to_be_bytes());
    }
    bytes.extend([command, family]);
    bytes.extend((body.len() as u16 + 6).to_be_bytes());
    bytes.extend(body);
    // An extension: PP2_TYPE_NOOP of three bytes.
    bytes.extend([4, 0, 3, 0, 0, 0]);
    bytes
}

/// Whether the other side closes, without having said anything.
fn is_closed(mut stream: TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Rule: proxy
#[test]
fn a_listed_proxy_names_the_client_for_everything() {
    let pki = Pki::new();
    let (relay, address) = start(|config| {
        config.proxy_protocol_from = vec![format!("{PROXY}/32")];
        config.tls = TlsMode::Files;
        (config.tls_cert, config.tls_key) = (Some(pki.cert()), Some(pki.key()));
        config.tls_listen.clear();
    });
    for (number, client) in ["198.51.100.7:4000", "[2001:db8::7]:4001"].into_iter().enumerate() {
        let client: SocketAddr = client.parse().expect("an address");
        let mut stream = connect(PROXY, address);
        // In pieces: what is not whole is waited for.
        for piece in header(0x21, Some(client)).chunks(7) {
            stream.write_all(piece).expect("sent");
        }
        let mut over_tcp = TurnClient::over_tcp(stream, USER.0, USER.1);
        assert_eq!(over_tcp.binding(), client);
        over_tcp.allocate().expect("an allocation");

        let elsewhere = SocketAddr::new(client.ip(), 5000 + number as u16);
        let mut stream = connect(PROXY, address);
        stream.write_all(&header(0x21, Some(elsewhere))).expect("sent");
        let mut over_tls = TurnClient::over_tls(stream, pki.client(&[]), USER.0, USER.1);
        assert_eq!(over_tls.binding(), elsewhere);
        over_tls.allocate().expect("an allocation");
        let allocations = relay.allocations();
        for wanted in [client, elsewhere] {
            assert!(allocations.iter().any(|made| made.snapshot.client.client == wanted), "{wanted}: {allocations:?}");
        }
    }
    // The proxy's own health check, and a client that it does not know.
    for command in [0x20, 0x21] {
        let mut stream = connect(PROXY, address);
        stream.write_all(&header(command, None)).expect("sent");
        let mut own = TurnClient::over_tcp(stream, USER.0, USER.1);
        assert_eq!(own.binding(), own.local_addr());
    }
    // Who does not come through the proxy needs no header.
    let mut direct = TurnClient::over_tcp(connect(NOBODY, address), USER.0, USER.1);
    assert_eq!(direct.binding(), direct.local_addr());
    assert_eq!(relay.stats().connections_refused, 0);
}

/// Rule: abuse-37
#[test]
fn headers_of_others_and_proxies_without_one_are_refused() {
    let (relay, address) = start(|config| config.proxy_protocol_from = vec![format!("{PROXY}/32")]);
    let forged = header(0x21, Some("198.51.100.7:4000".parse().expect("an address")));
    let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], b"twelve bytes"].concat();
    let mut refused = 0;
    for (from, bytes) in [
        (NOBODY, &[&forged[..], &binding].concat()[..]),
        (PROXY, &binding),
        (PROXY, b"PROXY TCP4 198.51.100.7 192.0.2.1 4000 3478\r\n"),
        (PROXY, b"\x16\x03\x01\x02\0\x01\0\x01\xfc"),
        // A second header, by the client behind the proxy.
        (PROXY, &[&forged[..], &forged, &binding].concat()),
        (PROXY, &[&forged[..12], &[0x21, 0x11, 0xFF, 0xFF]].concat()),
    ] {
        let mut stream = connect(from, address);
        stream.write_all(bytes).expect("sent");
        assert!(is_closed(stream), "{from} {bytes:?}");
        refused += 1;
        assert_eq!(relay.stats().connections_refused, refused);
    }
    assert_eq!(relay.stats().core.bindings, 0);
}

#[test]
fn a_proxied_client_that_comes_again_replaces_itself() {
    let (relay, address) = start(|config| {
        config.proxy_protocol_from = vec![format!("{PROXY}/32")];
        config.workers = 1;
    });
    let client = Some("198.51.100.7:4000".parse().expect("an address"));
    let come = || {
        let mut stream = connect(PROXY, address);
        stream.write_all(&header(0x21, client)).expect("sent");
        let kept = stream.try_clone().expect("a descriptor");
        let mut client = TurnClient::over_tcp(stream, USER.0, USER.1);
        client.allocate().expect("an allocation");
        (client, kept)
    };
    let (_first, first_stream) = come();
    let (mut second, _) = come();
    assert!(is_closed(first_stream));
    assert_eq!((relay.allocations().len(), second.refresh(600)), (1, 0));
}
