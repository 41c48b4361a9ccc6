//! The relay's core: what a stranger can send, what a user can send, and the frames of a stream.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stun_types::attribute::{
    Attribute as _, AttributeStaticType as _, AttributeType, Fingerprint, MessageIntegrity, MessageIntegritySha256,
    Nonce, RawAttribute, Realm, Username,
};
use stun_types::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageType, MessageWrite, MessageWriteExt,
    MessageWriteVec, TransactionId,
};
use turn::dtls_hello::{ClientHello, Cookies, is_dtls};
use turn::{
    AllocationId, BoundRelay, BoundRelays, Context, Credentials, Family, FiveTuple, Handled, Key, Limits, Nonces,
    OpenPorts, Options, Output, Policy, Quotas, Rates, Registrar, RegistrarConfig, Secret, Server, ServerConfig,
    Transport, Trunk, Way,
};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CONNECT, CREATE_PERMISSION, REFRESH};

use crate::input::{Input, some_instant};

/// Only the media port is open.
struct MediaPort;

impl OpenPorts for MediaPort {
    fn is_open(&self, address: SocketAddr) -> bool {
        self.is_media(address)
    }

    fn is_media(&self, address: SocketAddr) -> bool {
        address.port() == 8189
    }
}

/// A server with its registrar, and two clients.
struct Rig {
    server: Server,
    registrar: Registrar,
    credentials: Credentials,
    now: Instant,
    sockets: BTreeSet<(AllocationId, SocketAddr)>,
    nonce: Option<String>,
}

fn own_ip(family: Family) -> std::net::IpAddr {
    if family == Family::V4 { [203, 0, 113, 5].into() } else { [0x2001, 0xdb8, 0, 0, 0, 0, 0, 5].into() }
}

fn client(number: u8) -> FiveTuple {
    let transport = if number & 2 == 0 { Transport::Udp } else { Transport::Tcp };
    let port = 4000 + u16::from(number & 1);
    FiveTuple { transport, client: ([198, 20, 0, 1], port).into(), server: ([203, 0, 113, 5], 3478).into() }
}

impl Rig {
    fn new() -> Self {
        let now = some_instant();
        let policy =
            Policy::new([own_ip(Family::V4)], &["198.18.0.0/15".into()], &[]).expect("the ranges are well-formed");
        let rates = Rates { bytes: 2000, packets: 20 };
        let limits = Limits { allocation: rates, user: rates, total: rates, new_peers: 1 };
        let options = Options {
            anonymity: true,
            mobility: true,
            tcp_relay: true,
            rfc5766_channels: true,
            strict_expiry: true,
            ..Options::default()
        };
        let config = ServerConfig {
            worker: 0,
            options,
            realm: "tern".into(),
            nonces: Nonces::new(&[3; 32], now, Duration::from_secs(1800)),
            policy: Arc::new(policy),
            families: vec![Family::V4, Family::V6],
            alternate: None,
            unproven_replies: 100,
            limits,
            trunk: Arc::new(Trunk::new(now, 6)),
            seed: [4; 32],
        };
        let quotas = Quotas { per_user: 3, ..Quotas::default() };
        let ports = RegistrarConfig { ports_v4: 50_000..=50_019, ports_v6: 50_000..=50_019, quotas, seed: [5; 32] };
        Self {
            server: Server::new(config),
            registrar: Registrar::new(&ports),
            credentials: Credentials::new(
                "tern",
                [("alice", Key::of_password("alice", "tern", "pw"))],
                [Secret::new("first", "secret")],
            ),
            now,
            sockets: BTreeSet::new(),
            nonce: None,
        }
    }

    fn handle_client(&mut self, from: FiveTuple, bytes: &[u8]) {
        let handled = self.server.handle_client(Context { now: self.now, open: &MediaPort }, from, bytes);
        if let Handled::Relay(to_peer) = handled {
            assert!(bytes.get(to_peer.payload.clone()).is_some(), "the payload lies in the packet");
            assert!(self.sockets.iter().any(|(id, _)| *id == to_peer.allocation), "an allocation that lives");
            let own = to_peer.peer.ip() == own_ip(Family::V4);
            assert!(!own || to_peer.own, "a peer of this host never gets a packet by the network");
        }
        self.drain();
    }

    /// The shell: executes outputs at once.
    fn drain(&mut self) {
        let context = Context { now: self.now, open: &MediaPort };
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Transmit { bytes, .. } => {
                    let message = Message::from_bytes(&bytes).expect("what we send is a STUN message");
                    if let Ok(nonce) = message.attribute::<Nonce>() {
                        self.nonce = Some(nonce.nonce().to_owned());
                    }
                }
                Output::NeedKey { request, username, client } => {
                    let keys = self.credentials.candidates(&username, 1_700_000_000, client.client.ip());
                    self.server.handle_key(context, request, keys);
                }
                Output::BindRelay { request, client, user, family, additional, wish, .. } => {
                    let mut bind = |family| {
                        let grant = self.registrar.handle_wish(self.now, &user, client.client.ip(), family, wish)?;
                        let address = SocketAddr::new(own_ip(grant.lease.family), grant.lease.port);
                        let token = grant.reserved.map(|reserved| reserved.token);
                        Ok(BoundRelay { relayed: address, local: address, lease: grant.lease, token })
                    };
                    let bound = BoundRelays { first: bind(family), additional: additional.map(bind) };
                    let kept: Vec<_> = bound.first.iter().chain(bound.additional.iter().flatten()).cloned().collect();
                    match self.server.handle_bound(context, request, bound) {
                        Some(id) => assert!(kept.iter().all(|bound| self.sockets.insert((id, bound.local)))),
                        None => kept.iter().for_each(|bound| self.registrar.handle_release(&bound.lease)),
                    }
                }
                Output::CloseRelay { allocation, local, lease, .. } => {
                    assert!(self.sockets.remove(&(allocation, local)), "what closes was open");
                    self.registrar.handle_release(&lease);
                }
                Output::Connect { connection, .. } => {
                    self.server.handle_connected(self.now, connection, connection.to_bits() % 2 == 0);
                }
                Output::Join { .. } | Output::CloseStream { .. } => {}
                Output::Elsewhere { .. } | Output::Moved { .. } | Output::Released { .. } => {}
                Output::RouteInstalled(_) | Output::RouteRemoved(..) | Output::Report(_) => {}
            }
        }
    }

    fn advance(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(at) = self.server.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.server.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn handle_peers(&mut self, from: SocketAddr, len: usize) {
        let context = Context { now: self.now, open: &MediaPort };
        for (id, _) in &self.sockets {
            for way in [Way::Network, Way::Handover] {
                // Either answer is fine; what it may not do is panic.
                let _ = self.server.handle_peer(context, *id, from, len, way);
            }
        }
    }

    /// In the end every socket closes and every port comes back.
    fn finish(mut self) {
        for number in 0..4 {
            self.server.handle_disconnected(client(number));
            self.drain();
        }
        self.advance(2 * 3600);
        assert!(self.sockets.is_empty(), "a socket stays open: {:?}", self.sockets);
    }
}

/// Datagrams of strangers, with time passing between them.
pub fn turn_datagram(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut rig = Rig::new();
    while let Some(kind) = input.byte() {
        let Some(chunk) = input.chunk() else { break };
        rig.handle_client(client(kind), chunk);
        rig.advance(u64::from(kind >> 2));
    }
    rig.finish();
}

/// Requests of a user who knows the password: any attributes, correctly signed. Between them data and time.
pub fn turn_request(bytes: &[u8]) {
    let mut input = Input(bytes);
    let mut rig = Rig::new();
    let bare = MessageType::from_class_method(MessageClass::Request, ALLOCATE);
    rig.handle_client(client(0), &Message::builder(bare, TransactionId::from(1), MessageWriteVec::new()).finish());
    let mut transaction = 2;
    while let Some(kind) = input.byte() {
        let from = client(kind >> 4);
        match kind & 0x0F {
            method @ 0..=9 => {
                let method = [ALLOCATE, REFRESH, CREATE_PERMISSION, CHANNEL_BIND, CONNECT][usize::from(method % 5)];
                let attributes = attributes(&mut input);
                let nonce = rig.nonce.clone().expect("the first request was challenged");
                rig.handle_client(from, &signed(method, transaction, &attributes, &nonce));
                transaction += 1;
            }
            10..=12 => rig.handle_client(from, input.chunk().unwrap_or_default()),
            13 => {
                let peer = SocketAddr::from(([198, 19, 0, 9], input.number().unwrap_or(7000)));
                rig.handle_peers(peer, usize::from(kind) * 90);
            }
            _ => {
                let seconds = input.number().unwrap_or(1);
                rig.advance(u64::from(seconds));
            }
        }
    }
    rig.finish();
}

/// Up to four attributes: type, length, value.
fn attributes<'a>(input: &mut Input<'a>) -> Vec<RawAttribute<'a>> {
    let count = input.byte().unwrap_or_default() & 3;
    let mut read = || Some(RawAttribute::new(AttributeType::new(input.number()?), input.chunk()?));
    (0..=count).map_while(|_| read()).collect()
}

fn signed(
    method: stun_types::message::Method,
    transaction: u128,
    attributes: &[RawAttribute<'_>],
    nonce: &str,
) -> Vec<u8> {
    let kind = MessageType::from_class_method(MessageClass::Request, method);
    let mut write = Message::builder(kind, TransactionId::from(transaction), MessageWriteVec::new());
    for attribute in attributes {
        // The codec panics when one adds integrity or a fingerprint by hand; a request of those types goes without.
        let by_hand = [MessageIntegrity::TYPE, MessageIntegritySha256::TYPE, Fingerprint::TYPE];
        if !by_hand.contains(&attribute.get_type()) {
            let _ = write.add_attribute(attribute);
        }
    }
    let credentials = LongTermKeyCredentials::new("alice".to_owned(), "pw".to_owned(), "tern".into());
    let _ = write.add_attribute(&Username::new("alice").expect("a short name"));
    let _ = write.add_attribute(&Realm::new("tern").expect("a short realm"));
    let _ = write.add_attribute(&Nonce::new(nonce).expect("a nonce of ours"));
    let _ = write.add_message_integrity(&credentials.into(), IntegrityAlgorithm::Sha1);
    write.finish()
}

/// A stream cut into frames: progress, and nothing beyond what came.
pub fn turn_stream(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some(frame)) = turn::framing::first_frame(rest, 2048) {
        assert!(frame.len <= frame.consumed && frame.consumed > 0);
        let Some(after) = rest.get(frame.consumed..) else { break };
        rest = after;
    }
}

/// What a proxy says of a client, whole and in pieces: a beginning never says something else than the whole.
pub fn proxy_header(bytes: &[u8]) {
    let whole = turn::proxy::first_header(bytes);
    if let Ok(Some(header)) = whole {
        assert!(header.len <= bytes.len() && header.len <= turn::proxy::MAX_HEADER);
        assert_eq!(turn::proxy::first_header(&bytes[..header.len]), whole, "what follows does not matter");
    }
    for end in 0..bytes.len().min(64) {
        let early = turn::proxy::first_header(&bytes[..end]);
        assert!(early == Ok(None) || early == whole);
    }
}

/// What may begin a DTLS association: a cookie lies in the datagram, and nobody's is good but our own.
pub fn dtls_hello(bytes: &[u8]) {
    let Some(hello) = ClientHello::parse(bytes) else { return };
    assert!(bytes.get(hello.cookie.clone()).is_some() && is_dtls(bytes));
    let (now, client) = (some_instant(), SocketAddr::from(([198, 20, 0, 1], 4000)));
    let cookies = Cookies::new(&[6; 32], now);
    assert_eq!(cookies.redeem(now, client, &hello, bytes), None);
    let answer = cookies.challenge(now, client, &hello);
    assert!(answer.len() < bytes.len(), "no answer is longer than what it answers");
    // With room for it, the cookie that was sent comes back.
    if hello.cookie.len() == 32 {
        let mut again = bytes.to_vec();
        again[hello.cookie.clone()].copy_from_slice(&answer[28..]);
        assert!(cookies.redeem(now, client, &hello, &again).is_some());
    }
}
