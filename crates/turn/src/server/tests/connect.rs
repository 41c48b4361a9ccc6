//! RFC 6062: an allocation that relays TCP.

use stun_types::attribute::{AttributeWrite, RawAttribute};
use stun_types::message::{Message, TransactionId};
use turn_types::attribute::{
    AdditionalAddressFamily, ConnectionId as ConnectionIdAttribute, DontFragment, EvenPort, RequestedTransport,
    ReservationToken, XorPeerAddress,
};
use turn_types::message::{ALLOCATE, CONNECT, CONNECTION_ATTEMPT, CONNECTION_BIND};

use super::rig::*;
use crate::Transport;
use crate::server::*;

fn tcp_transport() -> RequestedTransport {
    RequestedTransport::new(6)
}

fn tcp() -> FiveTuple {
    five_tuple(CLIENT, Transport::Tcp)
}

fn relaying(rig: &mut Rig) -> TestClient {
    rig.server.options.tcp_relay = true;
    let mut user = TestClient::new(tcp(), "alice", "pw");
    user.greet(rig);
    let request = user.request(ALLOCATE, &[&tcp_transport()]);
    assert_eq!(rig.ask(&user, request).code(), 0);
    user
}

fn connect(user: &TestClient, peer: &str) -> Vec<u8> {
    let transaction = TransactionId::generate();
    user.request_with(transaction, CONNECT, &[&XorPeerAddress::new(peer.parse().unwrap(), transaction)])
}

/// Sends a Connect request that the server takes: the connection's name.
fn connecting(rig: &mut Rig, user: &TestClient, peer: &str) -> ConnectionId {
    rig.sent.clear();
    rig.client(user.tuple, &connect(user, peer));
    assert!(rig.sent.is_empty(), "no answer before the peer's");
    let Some(Output::Connect { connection, peer: to, .. }) = rig.routes.pop() else { panic!("no Connect") };
    assert_eq!(to, peer.parse().unwrap());
    connection
}

fn answer(rig: &mut Rig) -> Option<Answer> {
    rig.drain();
    rig.sent.pop().map(|(_, bytes)| Answer { bytes })
}

fn data_client(rig: &mut Rig, port: u16) -> TestClient {
    let mut client = TestClient::new(five_tuple(&format!("198.20.0.1:{port}"), Transport::Tcp), "alice", "pw");
    client.greet(rig);
    client
}

fn bind(client: &TestClient, connection: ConnectionId) -> Vec<u8> {
    client.request(CONNECTION_BIND, &[&ConnectionIdAttribute::new(connection.to_bits())])
}

/// Rule: tcp-allocate
#[test]
fn a_tcp_allocation_needs_a_stream_and_nothing_of_datagrams() {
    let (transport, even, token) = (tcp_transport(), EvenPort::new(false), ReservationToken::new(1));
    let (fragment, more) = (DontFragment::new(), AdditionalAddressFamily::new(turn_types::AddressFamily::IPV6));
    let cases: [(Transport, Vec<&dyn AttributeWrite>, u16); 7] = [
        (Transport::Udp, vec![&transport], 400),
        (Transport::Tcp, vec![&transport, &even], 400),
        (Transport::Tcp, vec![&transport, &token], 400),
        (Transport::Tcp, vec![&transport, &fragment], 400),
        (Transport::Tcp, vec![&transport, &more], 400),
        (Transport::Tcp, vec![&transport], 0),
        (Transport::Tls, vec![&transport], 0),
    ];
    for (index, (over, attributes, wanted)) in cases.into_iter().enumerate() {
        let mut rig = Rig::new();
        rig.server.options.tcp_relay = true;
        let mut user = TestClient::new(five_tuple(CLIENT, over), "alice", "pw");
        user.greet(&mut rig);
        let request = user.request(ALLOCATE, &attributes);
        assert_eq!(rig.ask(&user, request).code(), wanted, "case {index}");
    }
    let mut rig = Rig::new();
    let mut user = TestClient::new(tcp(), "alice", "pw");
    user.greet(&mut rig);
    let request = user.request(ALLOCATE, &[&tcp_transport()]);
    assert_eq!(rig.ask(&user, request).code(), 442, "it is off unless wanted");
    rig.sent.clear();
    rig.client(user.tuple, &connect(&user, PEER));
    assert!(rig.sent.is_empty(), "and its methods are unknown");
}

/// Rule: tcp-connect, tcp-bind, tcp-end
#[test]
fn a_connection_is_made_told_and_bound_once() {
    let mut rig = Rig::new();
    let user = relaying(&mut rig);
    let connection = connecting(&mut rig, &user, PEER);
    let twice = connect(&user, PEER);
    assert_eq!(rig.ask(&user, twice).code(), 446, "one connection a peer");
    rig.server.handle_connected(rig.now, connection, true);
    let told = answer(&mut rig).expect("an answer");
    assert_eq!(told.code(), 0);
    let id = told.message().attribute::<ConnectionIdAttribute>().unwrap().id();
    assert_eq!(id, connection.to_bits());

    let data = data_client(&mut rig, 4001);
    let request = bind(&data, connection);
    assert_eq!(rig.ask(&data, request).code(), 0);
    let joined = rig.routes.pop();
    assert!(
        matches!(joined, Some(Output::Join { connection: id, join }) if id == connection && join.client == data.tuple)
    );
    let other = data_client(&mut rig, 4002);
    let request = bind(&other, connection);
    assert_eq!(rig.ask(&other, request).code(), 400, "a connection is bound once");
    // What flows is counted, and does not end by itself.
    rig.server.handle_stream_usage(connection, crate::Usage::default());
    rig.advance_to(500.0);
    assert!(!rig.routes.iter().any(|output| matches!(output, Output::CloseStream { .. })));
    rig.advance_to(601.0);
    let closed = Output::CloseStream { connection, client: Some(data.tuple) };
    assert!(rig.routes.contains(&closed), "it ends with its allocation");
    assert_eq!((rig.sockets.len(), rig.server.connections.len()), (0, 0));
}

/// Rule: tcp-bind
#[test]
fn who_may_not_bind_a_connection_does_not() {
    let mut rig = Rig::new();
    let user = relaying(&mut rig);
    let connection = connecting(&mut rig, &user, PEER);
    let data = data_client(&mut rig, 4001);
    let request = bind(&data, connection);
    assert_eq!(rig.ask(&data, request).code(), 400, "the peer has not answered");
    rig.server.handle_connected(rig.now, connection, true);
    rig.drain();
    let mut bob = data_client(&mut rig, 4002);
    (bob.name, bob.password) = ("bob".into(), "pw2".into());
    let request = bind(&bob, connection);
    assert_eq!(rig.ask(&bob, request).code(), 441);
    bob.name = "alice".into();
    let request = bind(&bob, connection);
    assert_eq!(rig.ask(&bob, request).code(), 401);
    let unknown = ConnectionId::new(0, 4711);
    let request = bind(&data, unknown);
    assert_eq!(rig.ask(&data, request).code(), 400);
    let request = data.request(CONNECTION_BIND, &[]);
    assert_eq!(rig.ask(&data, request).code(), 400);
    let request = bind(&user, connection);
    assert_eq!(rig.ask(&user, request).code(), 400, "the control connection is none for data");
    let mut udp_client = TestClient::new(udp(), "alice", "pw");
    udp_client.greet(&mut rig);
    let request = bind(&udp_client, connection);
    assert_eq!(rig.ask(&udp_client, request).code(), 400);
    rig.sent.clear();
    rig.client(data.tuple, &bind(&data, ConnectionId::new(5, 1)));
    assert!(rig.sent.is_empty());
    assert!(matches!(rig.routes.pop(), Some(Output::Elsewhere { worker: 5, .. })), "another worker's connection");
    rig.advance_to(29.9);
    assert!(rig.server.connections.contains_key(&connection));
    rig.advance_to(30.1);
    assert!(rig.routes.contains(&Output::CloseStream { connection, client: None }), "nobody came for it");
    let request = bind(&data, connection);
    assert_eq!(rig.ask(&data, request).code(), 400);
}

/// Rule: tcp-connect, abuse-10
#[test]
fn a_refused_connection_is_told_no_sooner_than_a_lost_one() {
    for refused in [true, false] {
        let mut rig = Rig::new();
        let user = relaying(&mut rig);
        let connection = connecting(&mut rig, &user, PEER);
        if refused {
            rig.server.handle_connected(rig.now, connection, false);
        }
        rig.advance_to(29.9);
        assert!(rig.sent.is_empty(), "it would tell closed ports from filtered ones");
        rig.advance_to(30.1);
        let told = answer(&mut rig).expect("an answer");
        assert_eq!(told.code(), 447);
        assert!(told.message().validate_integrity(&user.credentials()).is_ok());
        assert!(rig.routes.contains(&Output::CloseStream { connection, client: None }));
        rig.server.handle_connected(rig.now, connection, true);
        assert!(answer(&mut rig).is_none(), "too late");
    }
}

/// Rule: tcp-connect
#[test]
fn connect_asks_the_policy_as_every_door_does() {
    let mut rig = Rig::new();
    let user = relaying(&mut rig);
    for (peer, wanted) in [
        ("10.0.0.1:80", 403),
        ("127.0.0.1:8080", 403),
        ("169.254.169.254:80", 403),
        ("203.0.113.5:8189", 403),
        ("[::ffff:10.0.0.1]:80", 403),
        ("[2a00::9]:7000", 443),
        ("198.20.0.9:0", 400),
    ] {
        let request = connect(&user, peer);
        assert_eq!(rig.ask(&user, request).code(), wanted, "{peer}");
    }
    let request = user.request(CONNECT, &[]);
    assert_eq!(rig.ask(&user, request).code(), 400);
    let mut datagrams = TestClient::new(five_tuple("198.20.0.3:1", Transport::Tcp), "alice", "pw");
    datagrams.greet(&mut rig);
    let request = connect(&datagrams, PEER);
    assert_eq!(rig.ask(&datagrams, request).code(), 437, "no allocation");
    let request = datagrams.allocate(&[]);
    assert_eq!(rig.ask(&datagrams, request).code(), 0);
    let request = connect(&datagrams, PEER);
    assert_eq!(rig.ask(&datagrams, request).code(), 437, "an allocation for datagrams");
    assert!(rig.server.connections.is_empty());
    connecting(&mut rig, &user, "203.0.113.5:50777");
}

#[test]
fn datagrams_and_channels_are_not_for_a_tcp_allocation() {
    let mut rig = Rig::new();
    let user = relaying(&mut rig);
    assert_eq!(rig.permit(&user, &[PEER]), 0);
    assert_eq!(rig.bind(&user, 0x4000, PEER), 403);
    assert_eq!(rig.client(user.tuple, &user.send(PEER, b"x")), Handled::Dropped(Drop::NoPermission));
}

/// Rule: tcp-attempt
#[test]
fn a_peer_that_connects_needs_a_permission() {
    let mut rig = Rig::new();
    let user = relaying(&mut rig);
    let id = rig.id(&user);
    let incoming = |rig: &mut Rig, from: &str| {
        let open = rig.open.clone();
        let context = Context { now: rig.now, open: &open };
        let taken = rig.server.handle_incoming(context, id, from.parse().unwrap());
        rig.drain();
        taken
    };
    assert_eq!(incoming(&mut rig, PEER), None);
    assert_eq!((rig.permit(&user, &["203.0.113.5:8189"]), rig.permit(&user, &["203.0.113.5:50777"])), (403, 0));
    assert_eq!(incoming(&mut rig, "203.0.113.5:1234"), None, "another program of this host");
    assert!(incoming(&mut rig, "203.0.113.5:50777").is_some(), "another allocation");
    assert_eq!(rig.permit(&user, &[PEER]), 0);
    rig.sent.clear();
    let connection = incoming(&mut rig, "198.20.0.9:999").expect("the permission is for the IP");
    rig.drain();
    let (to, bytes) = rig.sent.pop().expect("an indication");
    let message = Message::from_bytes(&bytes).unwrap();
    assert_eq!((to, message.method()), (user.tuple, CONNECTION_ATTEMPT));
    assert_eq!(message.attribute::<ConnectionIdAttribute>().unwrap().id(), connection.to_bits());
    let peer = message.attribute::<XorPeerAddress>().unwrap().addr(message.transaction_id());
    assert_eq!(peer, "198.20.0.9:999".parse().unwrap());
    let data = data_client(&mut rig, 4001);
    let request = bind(&data, connection);
    assert_eq!(rig.ask(&data, request).code(), 0);
    for port in 1000..1062 {
        assert!(incoming(&mut rig, &format!("198.20.0.9:{port}")).is_some());
    }
    assert_eq!(incoming(&mut rig, "198.20.0.9:1062"), None, "64 connections at once");
    rig.server.handle_stream_closed(connection);
    assert!(incoming(&mut rig, "198.20.0.9:1062").is_some());
}

#[test]
fn a_policy_that_denies_more_ends_connections() {
    let mut rig = Rig::new();
    let user = relaying(&mut rig);
    let connection = connecting(&mut rig, &user, PEER);
    rig.server.handle_connected(rig.now, connection, true);
    rig.drain();
    let data = data_client(&mut rig, 4001);
    let request = bind(&data, connection);
    assert_eq!(rig.ask(&data, request).code(), 0);
    rig.set_policy(&["198.20.0.9"]);
    assert!(rig.routes.contains(&Output::CloseStream { connection, client: Some(data.tuple) }));
    assert!(rig.server.connections.is_empty());
}

#[test]
fn an_empty_attribute_is_no_connection() {
    let mut rig = Rig::new();
    let user = relaying(&mut rig);
    let empty = RawAttribute::new(0x002A.into(), &[]);
    let request = user.request(CONNECTION_BIND, &[&empty]);
    assert_eq!(rig.ask(&user, request).code(), 400);
}
