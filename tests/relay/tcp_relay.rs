//! TCP relaying (RFC 6062): to a peer in another network, between two allocations, and across workers.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use stun_types::attribute::AttributeWrite;
use stun_types::message::{Message, TransactionId};
use tests::netns::Namespace;
use tests::pki::Pki;
use tests::program::Listening;
use tests::relay::{USER, start};
use tests::turn_client::TurnClient;
use turn_server::config::TlsMode;
use turn_types::attribute::{ConnectionId, RequestedTransport, XorPeerAddress};
use turn_types::message::{ALLOCATE, CONNECT, CONNECTION_ATTEMPT, CONNECTION_BIND};

/// Sends back what comes, and ends when its peer does; prints its port first.
const ECHO: &str = "
import socket, threading
listener = socket.create_server(('0.0.0.0', 0))
print(listener.getsockname()[1], flush=True)
def echo(peer):
    while data := peer.recv(65536):
        peer.sendall(data)
    peer.close()
while True:
    threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()
";

fn code(answer: &[u8]) -> u16 {
    let message = Message::from_bytes(answer).expect("a STUN message");
    message.attribute::<stun_types::attribute::ErrorCode>().map_or(0, |error| error.code())
}

/// A client whose allocation relays TCP, and the relayed address.
fn allocated(server: SocketAddr) -> (TurnClient, SocketAddr) {
    allocated_over(TurnClient::tcp(server, USER.0, USER.1))
}

fn allocated_over(mut client: TurnClient) -> (TurnClient, SocketAddr) {
    client.greet();
    let answer = client.ask(ALLOCATE, &[&RequestedTransport::new(6)]);
    let message = Message::from_bytes(&answer).expect("a STUN message");
    assert_eq!(code(&answer), 0);
    let relayed = message.attribute::<turn_types::attribute::XorRelayedAddress>().expect("an address");
    let relayed = relayed.addr(message.transaction_id());
    (client, relayed)
}

fn connect(client: &mut TurnClient, peer: SocketAddr) -> Result<u32, u16> {
    let transaction = TransactionId::generate();
    let attribute = XorPeerAddress::new(peer, transaction);
    let attributes: [&dyn AttributeWrite; 1] = [&attribute];
    let answer = client.ask_as(transaction, CONNECT, &attributes);
    let message = Message::from_bytes(&answer).expect("a STUN message");
    match code(&answer) {
        0 => Ok(message.attribute::<ConnectionId>().expect("a connection").id()),
        code => Err(code),
    }
}

/// The client's second connection, which carries bytes from now on.
fn bind(server: SocketAddr, connection: u32) -> TcpStream {
    let mut client = TurnClient::tcp(server, USER.0, USER.1);
    client.greet();
    let answer = client.ask(CONNECTION_BIND, &[&ConnectionId::new(connection)]);
    assert_eq!(code(&answer), 0, "bound");
    client.into_stream()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 + index / 253) as u8).collect()
}

#[test]
fn bytes_reach_a_peer_and_come_back_whole() {
    let space = Namespace::new();
    let echo = Listening::start(space.command("python3").args(["-c", ECHO]));
    let peer = SocketAddr::from((space.there, echo.port));
    let (relay, server) = start(|config| {
        config.tcp_relay = true;
        config.relay_addresses = vec![space.here.into()];
        config.allow_peers = vec![format!("{}/32", space.there)];
    });
    // Ports land on either worker: in 12 rounds both ways come up.
    for round in 0..12 {
        let (mut control, _) = allocated(server);
        let connection = connect(&mut control, peer).expect("a connection");
        assert_eq!(connect(&mut control, peer), Err(446));
        let mut data = bind(server, connection);
        let sent = pattern(if round == 0 { 4 << 20 } else { 100_000 });
        let mut writer = data.try_clone().expect("another handle");
        let to_send = sent.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&to_send).expect("sent");
            writer.shutdown(Shutdown::Write).expect("ended");
        });
        let mut got = Vec::new();
        data.read_to_end(&mut got).expect("the peer's end is the client's");
        writing.join().expect("written");
        assert!(got == sent, "{} of {} bytes came back as they were", got.len(), sent.len());
        assert_eq!(control.refresh(0), 0);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    let carried = (4 << 20) + 11 * 100_000;
    let settled = |stats: &turn_server::relay::RelayStats| {
        let counted = stats.core.to_peers.bytes == carried && stats.core.to_clients.bytes == carried;
        stats.ports_used == 0 && stats.connections == 0 && counted
    };
    while !settled(&relay.stats()) {
        assert!(Instant::now() < deadline, "{:?}", relay.stats());
        std::thread::yield_now();
    }
}

/// Rule: tcp-attempt, tcp-end, tcp-connect
#[test]
fn two_allocations_reach_each_other_and_nothing_else_of_the_host() {
    let (_relay, server) = start(|config| config.tcp_relay = true);
    for _ in 0..8 {
        let (mut caller, _) = allocated(server);
        let (mut callee, there) = allocated(server);
        assert_eq!(connect(&mut caller, SocketAddr::new(there.ip(), server.port())), Err(403), "our own port");
        // The permission is for the IP, so any relayed address of it.
        assert_eq!(callee.permit(there), 0);
        let connection = connect(&mut caller, there).expect("a connection");
        let attempt = callee.receive().expect("an indication");
        let message = Message::from_bytes(&attempt).expect("a STUN message");
        assert_eq!(message.method(), CONNECTION_ATTEMPT);
        let incoming = message.attribute::<ConnectionId>().expect("a connection").id();
        let (mut near, mut far) = (bind(server, connection), bind(server, incoming));
        for size in [1, 1000, 70_000] {
            let sent = pattern(size);
            near.write_all(&sent).expect("sent");
            let mut got = vec![0; size];
            far.read_exact(&mut got).expect("received");
            assert!(got == sent);
            far.write_all(&got).expect("sent");
            near.read_exact(&mut got).expect("received");
            assert!(got == sent);
        }
        // The allocation's end closes everything.
        assert_eq!(caller.refresh(0), 0);
        assert_eq!(near.read(&mut [0; 10]).unwrap_or(0), 0);
        assert_eq!(far.read(&mut [0; 10]).unwrap_or(0), 0);
    }
}

/// Rule: abuse-31
#[test]
fn bytes_beyond_a_limit_wait_and_none_is_lost() {
    const RATE: usize = 400_000;
    let (relay, server) = start(|config| {
        config.tcp_relay = true;
        config.allocations_per_user = 0;
        config.allocation_bytes_per_second = RATE as u64;
    });
    // Each way at the same time, with both ends on either worker.
    let pairs: Vec<_> = (0..8)
        .map(|_| {
            let (caller, callee, connection, incoming) = pair(server);
            (caller, callee, bind(server, connection), bind(server, incoming))
        })
        .collect();
    let sent = pattern(2 * RATE);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for (_, _, near, far) in &pairs {
            for (mut from, mut to) in [(near, far), (far, near)] {
                let sent = &sent;
                scope.spawn(move || from.write_all(sent).expect("sent"));
                scope.spawn(move || {
                    let mut got = vec![0; sent.len()];
                    to.set_read_timeout(Some(Duration::from_secs(30))).expect("not zero");
                    to.read_exact(&mut got).expect("all of it");
                    assert!(got == *sent);
                });
            }
        }
    });
    // A second's worth passes at once, and as much as one read takes at the end.
    let least = Duration::from_millis(700);
    assert!(begin.elapsed() >= least, "{:?}", begin.elapsed());
    assert_eq!(relay.stats().core.dropped_for(turn::Drop::AllocationLimit), 0);
}

#[test]
fn tls_is_told_the_end_after_the_last_byte() {
    let pki = Pki::new();
    let (_relay, server) = start(|config| {
        config.tcp_relay = true;
        config.tls = TlsMode::Files;
        (config.tls_cert, config.tls_key) = (Some(pki.cert()), Some(pki.key()));
        config.tls_listen.clear();
    });
    for _ in 0..4 {
        let (mut caller, _) = allocated_over(TurnClient::tls(server, &pki, USER.0, USER.1));
        let (mut callee, there) = allocated(server);
        assert_eq!(callee.permit(there), 0);
        let connection = connect(&mut caller, there).expect("a connection");
        let attempt = callee.receive().expect("an indication");
        let incoming = Message::from_bytes(&attempt).expect("a STUN message");
        let incoming = incoming.attribute::<ConnectionId>().expect("a connection").id();

        // A reader with hardly any buffer: what it does not take waits at every stage before, until the very end.
        let slow = TcpStream::connect(server).expect("a listener");
        socket2::SockRef::from(&slow).set_recv_buffer_size(8192).expect("a buffer");
        let mut data = TurnClient::over_tls(slow, pki.client(&[]), USER.0, USER.1);
        data.greet();
        assert_eq!(code(&data.ask(CONNECTION_BIND, &[&ConnectionId::new(connection)])), 0, "bound");
        let mut reader = data.into_tls();
        let mut writer = bind(server, incoming);
        let sent = pattern(300_000);
        let to_send = sent.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&to_send).expect("sent");
            writer.shutdown(Shutdown::Write).expect("ended");
            writer
        });
        let mut got = Vec::new();
        // An end without close_notify would be an error.
        reader.read_to_end(&mut got).expect("the peer's end is the client's");
        assert!(got == sent, "{} of {} bytes came", got.len(), sent.len());
        writing.join().expect("written");
    }
}

#[test]
fn it_is_off_unless_wanted() {
    let (_relay, server) = start(|_| {});
    let mut client = TurnClient::tcp(server, USER.0, USER.1);
    client.greet();
    assert_eq!(code(&client.ask(ALLOCATE, &[&RequestedTransport::new(6)])), 442);
}

/// Two allocations and a connection between them: both control connections, and the names of both ends.
fn pair(server: SocketAddr) -> (TurnClient, TurnClient, u32, u32) {
    let (mut caller, _) = allocated(server);
    let (mut callee, there) = allocated(server);
    assert_eq!(callee.permit(there), 0);
    let connection = connect(&mut caller, there).expect("a connection");
    let attempt = callee.receive().expect("an indication");
    let message = Message::from_bytes(&attempt).expect("a STUN message");
    let incoming = message.attribute::<ConnectionId>().expect("a connection").id();
    (caller, callee, connection, incoming)
}

#[test]
fn one_connection_is_never_joined_with_two_peers() {
    let (_relay, server) = start(|config| {
        config.tcp_relay = true;
        config.allocations_per_user = 0;
    });
    // Both ends are on either worker: the second request may come before the first one has its effect.
    for _ in 0..12 {
        let (one, two) = (pair(server), pair(server));
        let mut data = TurnClient::tcp(server, USER.0, USER.1);
        data.greet();
        let binds = [one.2, two.2].map(|connection| {
            data.written(TransactionId::generate(), CONNECTION_BIND, &[&ConnectionId::new(connection)])
        });
        data.send_raw(&binds.concat());
        assert_eq!(code(&data.receive().expect("an answer")), 0);
        let mut data = data.into_stream();
        let (mut first, mut second) = (bind(server, one.3), bind(server, two.3));
        // Either may be closed already.
        let _ = second.write_all(&[b'B'; 1000]);
        let _ = first.write_all(&[b'A'; 1000]);
        let _ = (first.shutdown(Shutdown::Write), second.shutdown(Shutdown::Write));
        let mut got = Vec::new();
        let _ = data.read_to_end(&mut got);
        // Which request comes first is not said where they go to different workers.
        let of = |peer: u8| got.iter().filter(|byte| **byte == peer).count();
        assert!(of(b'A') == 0 || of(b'B') == 0, "bytes of two peers: {} and {}", of(b'A'), of(b'B'));
    }
}

#[test]
fn a_client_that_breaks_off_takes_its_peer_s_connection_with_it() {
    let (relay, server) = start(|config| {
        config.tcp_relay = true;
        config.allocations_per_user = 0;
    });
    for _ in 0..6 {
        let (_caller, _callee, connection, incoming) = pair(server);
        let (near, mut far) = (bind(server, connection), bind(server, incoming));
        far.set_write_timeout(Some(Duration::from_secs(20))).expect("not zero");
        let sending = std::thread::spawn(move || {
            let piece = pattern(65_536);
            let mut sent = 0;
            while far.write_all(&piece).is_ok() {
                sent += piece.len();
                assert!(sent < 1 << 30, "somebody takes it all");
            }
        });
        // It reads a little, and is gone while the peer still sends.
        let mut some = [0; 1000];
        (&near).read_exact(&mut some).expect("the beginning");
        socket2::SockRef::from(&near).set_linger(Some(Duration::ZERO)).expect("TCP");
        drop(near);
        sending.join().expect("the peer is told");
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while relay.stats().connections > 12 {
        assert!(Instant::now() < deadline, "control connections are left: {:?}", relay.stats());
        std::thread::yield_now();
    }
}

#[test]
fn of_our_own_addresses_only_the_relay_s_is_connected_to() {
    let space = Namespace::new();
    let (_relay, server) = start(|config| {
        config.tcp_relay = true;
        config.relay_addresses = vec![space.here.into()];
    });
    let (mut client, relayed) = allocated(server);
    // Another program of this host, at the port of a live relayed address.
    let program = std::net::TcpListener::bind(("127.0.0.1", relayed.port())).expect("that port is free there");
    program.set_nonblocking(true).expect("Linux");
    let transaction = TransactionId::generate();
    let peer = XorPeerAddress::new(program.local_addr().expect("bound"), transaction);
    let request = client.written(transaction, CONNECT, &[&peer]);
    client.send_raw(&request);
    client.binding();
    let reached = program.accept().is_ok();
    assert!(!reached, "a program that is none of ours");
}

#[test]
fn thousands_of_connections_end_at_once() {
    let space = Namespace::new();
    // Nobody answers there.
    space.add_route("10.201.0.0/24");
    let (relay, server) = start(|config| {
        config.tcp_relay = true;
        config.relay_addresses = vec![space.here.into()];
        config.allow_peers = vec!["10.201.0.0/24".into()];
        config.allocations_per_user = 0;
    });
    let mut clients: Vec<_> = (0..48).map(|_| allocated(server).0).collect();
    for client in &mut clients {
        let requests = (0..64).map(|number: u16| {
            let transaction = TransactionId::generate();
            let peer = XorPeerAddress::new(SocketAddr::from(([10, 201, 0, 9], 2000 + number)), transaction);
            client.written(transaction, CONNECT, &[&peer])
        });
        let requests: Vec<u8> = requests.collect::<Vec<_>>().concat();
        client.send_raw(&requests);
        client.binding();
    }
    // One order to each worker.
    assert_eq!(relay.revoke(USER.0, 60, 0).ended(), 48);
    let deadline = Instant::now() + Duration::from_secs(10);
    while relay.stats().ports_used > 0 {
        assert!(Instant::now() < deadline, "{:?}", relay.stats());
    }
    assert!(TurnClient::udp(server, USER.0, USER.1).allocate().is_ok());
}

#[test]
fn bytes_that_come_with_the_request_reach_the_peer() {
    let (_relay, server) = start(|config| {
        config.tcp_relay = true;
        config.allocations_per_user = 0;
    });
    for _ in 0..8 {
        let (_caller, _callee, connection, incoming) = pair(server);
        let mut far = bind(server, incoming);
        let mut data = TurnClient::tcp(server, USER.0, USER.1);
        data.greet();
        let request = data.written(TransactionId::generate(), CONNECTION_BIND, &[&ConnectionId::new(connection)]);
        // Whoever looks for a message before the peer is there, at another worker, sees the beginning of one.
        let early = *b"\x40\0\0\x20hello";
        data.send_raw(&[&request[..], &early].concat());
        assert_eq!(code(&data.receive().expect("an answer")), 0);
        let mut got = [0; 9];
        far.read_exact(&mut got).expect("at once");
        assert_eq!(got, early);
    }
}
