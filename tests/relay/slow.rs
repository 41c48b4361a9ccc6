//! Connections that are held open without ever becoming a client: each is ended when its time is over, not later.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};
use tests::pki::Pki;
use tests::relay::{USER, start};
use tests::turn_client::TurnClient;
use turn_server::config::TlsMode;

/// A Binding request that announces 8000 bytes of attributes.
const LONG: [u8; 20] = [0, 1, 0x1F, 0x40, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
/// One that announces 64 KiB.
const TOO_LONG: [u8; 20] = [0, 1, 0xFF, 0xFC, 0x21, 0x12, 0xA4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
/// What a connection may take at most, whatever the machine does beside.
const PATIENCE: Duration = Duration::from_secs(60);

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a listener");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

fn secure(address: SocketAddr, pki: &Pki) -> StreamOwned<ClientConnection, TcpStream> {
    let mut stream = connect(address);
    let mut tls = ClientConnection::new(pki.client(&[]), address.ip().into()).expect("a client");
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).expect("a handshake");
    }
    StreamOwned::new(tls, stream)
}

/// Reads until the other side ends it; gives the seconds since `begun`, which is before it was connected: the server's
/// clock may run long before a busy machine comes here.
fn until_closed(begun: Instant, mut stream: impl std::io::Read + Send + 'static) -> JoinHandle<u64> {
    spawn(move || {
        let mut bytes = [0; 64];
        while !matches!(stream.read(&mut bytes), Ok(0) | Err(_)) {}
        begun.elapsed().as_secs()
    })
}

/// Rule: abuse-24
#[test]
fn nobody_is_held_open_without_becoming_a_client() {
    let pki = Pki::new();
    let (relay, address) = start(|config| {
        config.tls = TlsMode::Files;
        (config.tls_cert, config.tls_key) = (Some(pki.cert()), Some(pki.key()));
        config.tls_listen.clear();
    });
    // A message that is too long for anybody without an allocation is not waited for.
    let begun = Instant::now();
    let mut stream = connect(address);
    stream.write_all(&TOO_LONG).expect("sent");
    assert!(until_closed(begun, stream).join().expect("read") < 5);
    let begun = Instant::now();
    let mut stream = secure(address, &pki);
    stream.write_all(&TOO_LONG).expect("sent");
    assert!(until_closed(begun, stream).join().expect("read") < 5);
    assert_eq!(relay.stats().connections_refused, 2);

    let mut waiting = Vec::new();
    // Ten seconds for what comes before the first message.
    let begun = Instant::now();
    let mut half_a_handshake = connect(address);
    half_a_handshake.write_all(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03").expect("sent");
    waiting.push(("half a handshake", 10, until_closed(begun, half_a_handshake)));
    // Thirty for a message.
    waiting.push(("silent", 30, until_closed(Instant::now(), connect(address))));
    waiting.push(("silent after a handshake", 30, until_closed(Instant::now(), secure(address, &pki))));
    let begun = Instant::now();
    let mut half_a_message = connect(address);
    half_a_message.write_all(&LONG[..11]).expect("sent");
    waiting.push(("half a message", 30, until_closed(begun, half_a_message)));
    let begun = Instant::now();
    let mut half_in_tls = secure(address, &pki);
    half_in_tls.write_all(&LONG).expect("sent");
    waiting.push(("half a message in TLS", 30, until_closed(begun, half_in_tls)));
    // A byte now and then keeps nothing open, as it completes nothing.
    let begun = Instant::now();
    let mut dripping = connect(address);
    let reader = dripping.try_clone().expect("a descriptor");
    let drops = spawn(move || {
        let bytes = LONG.iter().copied().chain(std::iter::repeat(0));
        for byte in bytes.take(8000) {
            if dripping.write_all(&[byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    waiting.push(("dripping", 30, until_closed(begun, reader)));
    // A client has an allocation, and stays.
    let mut client = TurnClient::tls(address, &pki, USER.0, USER.1);
    client.allocate().expect("an allocation");

    let count = waiting.len() as u64;
    for (name, seconds, closed) in waiting {
        let took = closed.join().expect("read");
        assert!((seconds - 1..=seconds + 10).contains(&took), "{name}: {took} s");
    }
    drops.join().expect("it ends with its stream");
    let stats = relay.stats();
    assert_eq!((stats.connections, stats.connections_refused), (1, 2 + count));
    assert_eq!(client.refresh(600), 0);
}
