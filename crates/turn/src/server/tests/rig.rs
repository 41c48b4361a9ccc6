//! A server with its registrar and credentials, and clients that build requests.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use stun_types::attribute::{AttributeWrite, ErrorCode, Nonce, Realm, Username};
use stun_types::message::{
    IntegrityAlgorithm, LongTermKeyCredentials, Message, MessageClass, MessageIntegrityCredentials, MessageType,
    MessageWrite, MessageWriteExt, MessageWriteVec, Method, TransactionId,
};
use turn_types::attribute::{RequestedTransport, XorPeerAddress, XorRelayedAddress};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION};

use crate::server::*;
use crate::{Credentials, Key, Quotas, Registrar, RegistrarConfig, Revocations, Transport};

pub(super) const UNIX: u64 = 1_741_600_000;
pub(super) const CLIENT: &str = "198.20.0.1:4000";
pub(super) const PEER: &str = "198.20.0.9:7000";

/// Ports of ours that are open: the media port, and live relayed ports.
#[derive(Default, Clone)]
pub(super) struct Open(pub(super) Vec<u16>);

impl OpenPorts for Open {
    fn is_open(&self, address: SocketAddr) -> bool {
        self.0.contains(&address.port())
    }

    fn is_listening(&self, address: SocketAddr) -> bool {
        address.port() == 50_777
    }

    fn is_media(&self, address: SocketAddr) -> bool {
        address.port() == 8189
    }
}

pub(super) struct Rig {
    pub(super) server: Server,
    pub(super) registrar: Registrar,
    pub(super) credentials: Credentials,
    pub(super) revoked: Revocations,
    pub(super) now: Instant,
    pub(super) start: Instant,
    pub(super) open: Open,
    pub(super) sockets: BTreeSet<(AllocationId, SocketAddr)>,
    pub(super) sent: Vec<(FiveTuple, Vec<u8>)>,
    pub(super) routes: Vec<Output>,
    pub(super) reports: Vec<Report>,
}

pub(super) fn five_tuple(client: &str, transport: Transport) -> FiveTuple {
    FiveTuple { transport, client: client.parse().unwrap(), server: "203.0.113.5:3478".parse().unwrap() }
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with_quota(3)
    }

    pub(super) fn with_quota(per_user: u32) -> Self {
        Self::with_quotas(Quotas { per_user, ..Quotas::default() })
    }

    pub(super) fn with_quotas(quotas: Quotas) -> Self {
        let start = crate::some_instant();
        let config = ServerConfig {
            worker: 0,
            options: Options { mobility: true, ..Options::default() },
            realm: "tern".into(),
            nonces: Nonces::new(&[3; 32], start, Duration::from_secs(1800)),
            policy: Arc::new(policy(&[])),
            families: vec![Family::V4, Family::V6],
            alternate: None,
            unproven_replies: 100,
            limits: Limits::default(),
            trunk: Arc::new(Trunk::new(start, 6)),
            seed: [4; 32],
        };
        let ports = RegistrarConfig { ports_v4: 50_000..=50_099, ports_v6: 50_000..=50_099, quotas, seed: [5; 32] };
        Self {
            server: Server::new(config),
            registrar: Registrar::new(&ports),
            credentials: credentials(),
            revoked: Revocations::default(),
            now: start,
            start,
            open: Open(vec![8189]),
            sockets: BTreeSet::new(),
            sent: Vec::new(),
            routes: Vec::new(),
            reports: Vec::new(),
        }
    }

    pub(super) fn client(&mut self, tuple: FiveTuple, bytes: &[u8]) -> Handled {
        let open = self.open.clone();
        let handled = self.server.handle_client(Context { now: self.now, open: &open }, tuple, bytes);
        self.drain();
        handled
    }

    pub(super) fn peer(&mut self, id: AllocationId, from: &str, len: usize, way: Way) -> Result<crate::ToClient, Drop> {
        let open = self.open.clone();
        let context = Context { now: self.now, open: &open };
        self.server.handle_peer(context, id, from.parse().unwrap(), len, way)
    }

    /// Moves the time to `seconds` after the start, stopping wherever the server wants to be called.
    pub(super) fn advance_to(&mut self, seconds: f64) {
        let end = self.start + Duration::from_secs_f64(seconds);
        while let Some(at) = self.server.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.server.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    pub(super) fn set_policy(&mut self, deny: &[&str]) {
        self.change_policy(policy(deny));
    }

    pub(super) fn change_policy(&mut self, policy: Policy) {
        let open = self.open.clone();
        self.server.handle_policy(Context { now: self.now, open: &open }, Arc::new(policy));
        self.drain();
    }

    /// The shell: executes outputs at once.
    pub(super) fn drain(&mut self) {
        let open = self.open.clone();
        let context = Context { now: self.now, open: &open };
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Transmit { client, bytes } => self.sent.push((client, bytes)),
                Output::NeedKey { request, username, client } => {
                    let mut keys = self.credentials.candidates(&username, UNIX, client.client.ip());
                    self.revoked.apply(&mut keys);
                    self.server.handle_key(context, request, keys);
                }
                Output::BindRelay { request, client, user, family, additional, wish, .. } => {
                    let mut bind = |family| {
                        let grant = self.registrar.handle_wish(self.now, &user, client.client.ip(), family, wish)?;
                        Ok(BoundRelay {
                            relayed: relayed(grant.lease.family, grant.lease.port),
                            local: relayed(grant.lease.family, grant.lease.port),
                            lease: grant.lease,
                            token: grant.reserved.map(|reserved| reserved.token),
                        })
                    };
                    let bound = BoundRelays { first: bind(family), additional: additional.map(bind) };
                    let leases: Vec<BoundRelay> =
                        bound.first.iter().chain(bound.additional.iter().flatten()).cloned().collect();
                    match self.server.handle_bound(context, request, bound) {
                        Some(id) => {
                            assert!(leases.into_iter().all(|bound| self.sockets.insert((id, bound.local))));
                        }
                        None => leases.iter().for_each(|bound| self.registrar.handle_release(&bound.lease)),
                    }
                }
                Output::CloseRelay { allocation, local, lease, last, .. } => {
                    assert!(self.sockets.remove(&(allocation, local)));
                    assert_eq!(last, !self.sockets.iter().any(|(id, _)| *id == allocation));
                    self.registrar.handle_release(&lease);
                }
                Output::Report(report) => self.reports.push(report),
                Output::Join { connection, join } => {
                    self.sent.push((join.client, join.answer.clone()));
                    self.routes.push(Output::Join { connection, join });
                }
                route => self.routes.push(route),
            }
        }
    }

    /// Sends a request and gives the answer; none is a test failure.
    pub(super) fn ask(&mut self, user: &TestClient, request: Vec<u8>) -> Answer {
        self.sent.clear();
        self.client(user.tuple, &request);
        let (to, bytes) = self.sent.pop().expect("an answer");
        assert_eq!(to, user.tuple);
        assert!(self.sent.is_empty(), "one answer");
        Answer { bytes }
    }

    /// A client with a nonce and an allocation.
    pub(super) fn allocated(&mut self, tuple: FiveTuple, name: &'static str, password: &'static str) -> TestClient {
        let mut user = TestClient::new(tuple, name, password);
        user.greet(self);
        let request = user.allocate(&[]);
        assert_eq!(self.ask(&user, request).code(), 0);
        user
    }

    pub(super) fn id(&self, user: &TestClient) -> AllocationId {
        self.server.table.id_of(user.tuple).expect("an allocation")
    }

    /// A permission for one peer; gives the error code, 0 for success.
    pub(super) fn permit(&mut self, user: &TestClient, peers: &[&str]) -> u16 {
        let request = user.permission(peers);
        self.ask(user, request).code()
    }

    /// A channel; gives the error code, 0 for success.
    pub(super) fn bind(&mut self, user: &TestClient, number: u16, peer: &str) -> u16 {
        let request = user.bind(number, peer);
        self.ask(user, request).code()
    }
}

fn credentials() -> Credentials {
    let keys =
        [("alice", "pw"), ("bob", "pw2")].map(|(name, password)| (name, Key::of_password(name, "tern", password)));
    Credentials::new("tern", keys, [crate::Secret::new("first", "secret")])
}

pub(super) fn policy(deny: &[&str]) -> Policy {
    let deny: Vec<String> = deny.iter().map(|text| (*text).to_owned()).collect();
    // Benchmarking addresses play the internet; 203.0.113.5 is ours.
    Policy::new(["203.0.113.5".parse().unwrap()], &["198.18.0.0/15".into()], &deny).unwrap()
}

fn relayed(family: Family, port: u16) -> SocketAddr {
    let ip: IpAddr = if family == Family::V4 { [203, 0, 113, 5].into() } else { "2001:db8::5".parse().unwrap() };
    SocketAddr::new(ip, port)
}

pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
}

impl Answer {
    pub(super) fn message(&self) -> Message<'_> {
        Message::from_bytes(&self.bytes).unwrap()
    }

    /// The error code; 0 for success.
    pub(super) fn code(&self) -> u16 {
        let message = self.message();
        if message.class() == MessageClass::Success {
            return 0;
        }
        message.attribute::<ErrorCode>().unwrap().code()
    }

    pub(super) fn nonce(&self) -> String {
        self.message().attribute::<Nonce>().unwrap().nonce().to_owned()
    }

    pub(super) fn relayed(&self) -> SocketAddr {
        let message = self.message();
        message.attribute::<XorRelayedAddress>().unwrap().addr(message.transaction_id())
    }
}

pub(super) struct TestClient {
    pub(super) tuple: FiveTuple,
    pub(super) name: String,
    pub(super) password: String,
    pub(super) nonce: String,
}

impl TestClient {
    pub(super) fn new(tuple: FiveTuple, name: &str, password: &str) -> Self {
        Self { tuple, name: name.into(), password: password.into(), nonce: String::new() }
    }

    /// Gets a nonce.
    pub(super) fn greet(&mut self, rig: &mut Rig) {
        let bare = Message::builder_request(ALLOCATE, MessageWriteVec::new()).finish();
        let answer = rig.ask(self, bare);
        assert_eq!(answer.code(), 401);
        self.nonce = answer.nonce();
    }

    pub(super) fn credentials(&self) -> MessageIntegrityCredentials {
        LongTermKeyCredentials::new(self.name.clone(), self.password.clone(), "tern".into()).into()
    }

    /// An authenticated request with these attributes.
    pub(super) fn request(&self, method: Method, attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
        self.request_with(TransactionId::generate(), method, attributes)
    }

    pub(super) fn request_with(
        &self,
        transaction: TransactionId,
        method: Method,
        attributes: &[&dyn AttributeWrite],
    ) -> Vec<u8> {
        let kind = MessageType::from_class_method(MessageClass::Request, method);
        let mut write = Message::builder(kind, transaction, MessageWriteVec::new());
        for attribute in attributes {
            write.add_attribute(*attribute).unwrap();
        }
        write.add_attribute(&Username::new(&self.name).unwrap()).unwrap();
        write.add_attribute(&Realm::new("tern").unwrap()).unwrap();
        write.add_attribute(&Nonce::new(&self.nonce).unwrap()).unwrap();
        write.add_message_integrity(&self.credentials(), IntegrityAlgorithm::Sha1).unwrap();
        write.finish()
    }

    pub(super) fn allocate(&self, more: &[&dyn AttributeWrite]) -> Vec<u8> {
        let transport = RequestedTransport::new(RequestedTransport::UDP);
        let mut attributes: Vec<&dyn AttributeWrite> = vec![&transport];
        attributes.extend(more);
        self.request(ALLOCATE, &attributes)
    }

    pub(super) fn permission(&self, peers: &[&str]) -> Vec<u8> {
        let transaction = TransactionId::generate();
        let peers: Vec<_> = peers.iter().map(|peer| XorPeerAddress::new(peer.parse().unwrap(), transaction)).collect();
        let attributes: Vec<_> = peers.iter().map(|peer| peer as &dyn AttributeWrite).collect();
        self.request_with(transaction, CREATE_PERMISSION, &attributes)
    }

    pub(super) fn bind(&self, number: u16, peer: &str) -> Vec<u8> {
        let transaction = TransactionId::generate();
        let peer = XorPeerAddress::new(peer.parse().unwrap(), transaction);
        let number = turn_types::attribute::ChannelNumber::new(number);
        self.request_with(transaction, CHANNEL_BIND, &[&number, &peer])
    }

    pub(super) fn send(&self, peer: &str, data: &[u8]) -> Vec<u8> {
        self.indication(peer, &[&turn_types::attribute::Data::new(data)])
    }

    /// A Send indication with these attributes beside the peer.
    pub(super) fn indication(&self, peer: &str, attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
        let mut write = Message::builder_indication(turn_types::message::SEND, MessageWriteVec::new());
        let peer = XorPeerAddress::new(peer.parse().unwrap(), write.transaction_id());
        write.add_attribute(&peer).unwrap();
        attributes.iter().for_each(|attribute| write.add_attribute(*attribute).unwrap());
        write.finish()
    }
}

pub(super) fn udp() -> FiveTuple {
    five_tuple(CLIENT, Transport::Udp)
}

pub(super) fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes(), &(payload.len() as u16).to_be_bytes(), payload].concat()
}
