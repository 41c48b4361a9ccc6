//! One worker's server: takes packets, decides who handles them, keeps the tables. The parts: `authenticate` (who asks),
//! `allocate`, `refresh` and `permit` (the requests of RFC 8656), `relay` (the data path), `pending` (requests that wait
//! for the shell), `table` (allocations and their timers).

mod allocate;
mod authenticate;
mod binding;
mod connect;
mod icmp;
mod mobility;
mod pending;
mod permit;
mod refresh;
mod relay;
mod table;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use rand::SeedableRng;
use rand::rngs::StdRng;
use stun_types::attribute::Attribute as _;
use stun_types::message::{BINDING, Message};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CONNECT, CONNECTION_BIND, CREATE_PERMISSION, REFRESH};

use crate::address::{Family, FiveTuple, PeerAddress};
use crate::allocation::{Allocation, AllocationId, Snapshot};
use crate::auth::{Credentials, Origin, UserName};
use crate::integrity::Signature;
use crate::limit::{Gate, Limits, Trunk};
use crate::nonce::Nonces;
use crate::policy::{OpenPorts, Policy};
use crate::quota::QuotaKey;
use crate::registrar::{Lease, PortWish, Unavailable};
use crate::reply::{self, Refusal};
use crate::report::Report;
use crate::route::{Handled, Route};
use crate::source_budget::SourceBudget;
use crate::stats::{Drop, Stats};
use crate::stream::{ConnectionId, Join};
use crate::wire::{self, Class, Content};
pub use binding::Alternate;
pub use icmp::IcmpError;
use pending::Pending;
use table::Table;

/// The largest request that is looked at: user name, realm and nonce of full length, and 256 peers, need 8 KB.
const MAX_REQUEST: usize = 8192;

/// What a server may do, or must not; can change while it runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Tell users that they may be named by their hash (RFC 8489 section 9.2.1): only where every name is known beforehand.
    pub anonymity: bool,
    /// Without REQUESTED-ADDRESS-FAMILY, relay in the family that the client reaches us with; else in IPv4.
    pub keep_family: bool,
    /// Let allocations follow their clients (RFC 8016).
    pub mobility: bool,
    /// Relay TCP (RFC 6062).
    pub tcp_relay: bool,
    /// Accept channel numbers above 0x4FFF, as RFC 5766 had them.
    pub rfc5766_channels: bool,
    /// Expired credentials end more than the making of allocations: refreshing them, permissions, channels.
    pub strict_expiry: bool,
    /// Keys are asked for only where the nonce is good, because asking is dear: 438 then comes before 401.
    pub ask_only_our_own_sources: bool,
}

/// What a server is made with.
#[derive(Clone)]
pub struct ServerConfig {
    /// What it may do at first.
    pub options: Options,
    /// Which worker this is, of those that share the registrar.
    pub worker: u8,
    /// Told to clients; keys are made for it.
    pub realm: String,
    /// Shared by all workers.
    pub nonces: Nonces,
    /// Who may be reached.
    pub policy: Arc<Policy>,
    /// Families that relayed addresses can have.
    pub families: Vec<Family>,
    /// Discover the behaviour of NATs (RFC 5780) between these two addresses.
    pub alternate: Option<Alternate>,
    /// Answers a second to a /24 or /64 of datagram sources that have not shown a password; 0: no limit.
    pub unproven_replies: u32,
    /// How much may be carried.
    pub limits: Limits,
    /// What all workers carry: they share one.
    pub trunk: Arc<Trunk>,
    /// Seed of transaction ids.
    pub seed: [u8; 32],
}

/// What the shell knows and the server does not keep.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The time.
    pub now: Instant,
    /// Which ports of our own addresses are open now.
    pub open: &'a dyn OpenPorts,
}

/// Names a question to the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

/// What the shell has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send bytes to a client.
    Transmit {
        /// Receives.
        client: FiveTuple,
        /// One STUN message.
        bytes: Vec<u8>,
    },
    /// Find the keys of a user; answer with [`Server::handle_key`].
    NeedKey {
        /// The question.
        request: RequestId,
        /// The name.
        username: UserName,
        /// Who asks.
        client: FiveTuple,
    },
    /// Get a port from the registrar and bind it; answer with [`Server::handle_bound`].
    BindRelay {
        /// The question.
        request: RequestId,
        /// For whom.
        client: FiveTuple,
        /// Who pays.
        user: QuotaKey,
        /// Of the relayed address.
        family: Family,
        /// What is relayed there.
        protocol: Relaying,
        /// A second relayed address of this family, if one can be had.
        additional: Option<Family>,
        /// Which port.
        wish: PortWish,
    },
    /// Close a socket of an allocation and give its port back.
    CloseRelay {
        /// Gone, or one of its two relayed addresses is.
        allocation: AllocationId,
        /// Whether the allocation ends with it.
        last: bool,
        /// Whose it was.
        client: FiveTuple,
        /// Where its socket was bound.
        local: SocketAddr,
        /// For the registrar.
        lease: Lease,
    },
    /// This request is another worker's, which has the client's allocation: hand it over as it is.
    Elsewhere {
        /// Its index.
        worker: u8,
        /// Who sent it.
        client: FiveTuple,
        /// The request.
        bytes: Vec<u8>,
    },
    /// A client is reached on another 5-tuple from now on.
    Moved {
        /// Its allocation.
        allocation: AllocationId,
        /// The old 5-tuple.
        from: FiveTuple,
        /// The new one.
        to: FiveTuple,
    },
    /// A 5-tuple of a mobile client belongs to no allocation any more.
    Released {
        /// The 5-tuple.
        client: FiveTuple,
    },
    /// Connect to a peer from a relayed address; answer with [`Server::handle_connected`].
    Connect {
        /// Whose.
        allocation: AllocationId,
        /// The connection's name.
        connection: ConnectionId,
        /// Where from: the address that the allocation's listener is bound to.
        local: SocketAddr,
        /// Where to.
        peer: SocketAddr,
        /// It is an address of ours, of which only relayed ones may be reached.
        own: bool,
    },
    /// From now on everything that this client sends goes to the peer of a connection, and back.
    Join {
        /// The peer's connection.
        connection: ConnectionId,
        /// The client's, and what goes with it.
        join: Join,
    },
    /// Close the connection of a peer, and the client's that it is joined with.
    CloseStream {
        /// The peer's.
        connection: ConnectionId,
        /// The client's.
        client: Option<FiveTuple>,
    },
    /// A channel was bound, or it or its permission was refreshed.
    RouteInstalled(Route),
    /// A channel is gone.
    RouteRemoved(AllocationId, u16),
    /// For the log.
    Report(Report),
}

/// What an allocation relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relaying {
    /// Datagrams.
    Udp,
    /// Connections (RFC 6062): the relayed socket listens.
    Tcp,
}

/// What became of [`Output::BindRelay`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundRelays {
    /// Of the family that was asked for.
    pub first: Result<BoundRelay, Unavailable>,
    /// Of the additional family, if one was asked for.
    pub additional: Option<Result<BoundRelay, Unavailable>>,
}

/// A relayed socket that the shell bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundRelay {
    /// What peers and the client are told: the external address if there is one.
    pub relayed: SocketAddr,
    /// Where it is bound.
    pub local: SocketAddr,
    /// The port's.
    pub lease: Lease,
    /// RESERVATION-TOKEN of the port that was reserved beside it.
    pub token: Option<u64>,
}

/// Which way a packet for a relayed address came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Through the relayed socket.
    Network,
    /// Handed over inside the process, from an address of ours.
    Handover,
}

/// Who sent a request, once that is proven.
pub(crate) struct User {
    pub(crate) name: String,
    /// For the answer.
    pub(crate) signature: Signature,
    /// Known where the keys were asked for; an allocation's own user needs none.
    pub(crate) quota: Option<QuotaKey>,
    pub(crate) origin: Origin,
    /// When the credentials end.
    pub(crate) expires: Option<Instant>,
}

/// See the module.
pub struct Server {
    worker: u8,
    realm: String,
    nonces: Nonces,
    policy: Arc<Policy>,
    options: Options,
    families: Vec<Family>,
    alternate: Option<Alternate>,
    table: Table,
    /// Peer connections (RFC 6062), each with its allocation.
    connections: HashMap<ConnectionId, AllocationId>,
    next_connection: u32,
    pending: Pending,
    budget: SourceBudget,
    gate: Gate,
    outputs: VecDeque<Output>,
    stats: Stats,
    rng: StdRng,
}

impl Server {
    /// No allocations.
    pub fn new(config: ServerConfig) -> Self {
        Self {
            worker: config.worker,
            options: config.options,
            realm: config.realm,
            nonces: config.nonces,
            policy: config.policy,
            families: config.families,
            alternate: config.alternate,
            table: Table::default(),
            connections: HashMap::new(),
            next_connection: 0,
            pending: Pending::default(),
            budget: SourceBudget::new(config.unproven_replies),
            gate: Gate { limits: config.limits, trunk: config.trunk },
            outputs: VecDeque::new(),
            stats: Stats::default(),
            rng: StdRng::from_seed(config.seed),
        }
    }

    /// Takes what a client sent: a datagram, or a frame of its stream.
    pub fn handle_client(&mut self, context: Context<'_>, client: FiveTuple, bytes: &[u8]) -> Handled {
        let content = wire::classify(bytes);
        if self.options.mobility && content.as_ref().is_some_and(Content::is_data) {
            self.hear(client);
        }
        match content {
            Some(Content::Channel { number, payload }) => self.relay_channel(context, client, number, payload),
            Some(Content::Stun { class: Class::Indication, method: wire::SEND }) => {
                self.relay_send(context, client, bytes)
            }
            Some(Content::Stun { class: Class::Request, .. }) if bytes.len() <= MAX_REQUEST => {
                self.handle_request(context, client, bytes)
            }
            Some(Content::Stun { class: Class::Request, .. }) => self.dropped(Drop::TooLarge),
            // RFC 8489 section 6.3: what begins no transaction is never answered.
            Some(Content::Stun { .. }) => self.dropped(Drop::NotARequest),
            None => self.dropped(Drop::Malformed),
        }
    }

    fn handle_request(&mut self, context: Context<'_>, client: FiveTuple, bytes: &[u8]) -> Handled {
        if self.is_loop(client) {
            return self.dropped(Drop::Loop);
        }
        let Ok(request) = Message::from_bytes(bytes) else { return self.dropped(Drop::Malformed) };
        match request.method() {
            BINDING => self.binding(context, client, &request),
            ALLOCATE | REFRESH | CREATE_PERMISSION | CHANNEL_BIND => self.authenticate(context, client, &request),
            CONNECT | CONNECTION_BIND if self.options.tcp_relay => self.authenticate(context, client, &request),
            // RFC 8489 section 6.3: a method that is not known is not answered.
            _ => self.dropped(Drop::NotARequest),
        }
    }

    /// Whether an answer would come back to this server: forged as from a listener of ours, so that two talk forever; or
    /// through a tunnel that ends here, where packets grow each time they go round (RFC 8656 section 21.4).
    fn is_loop(&self, client: FiveTuple) -> bool {
        let from = PeerAddress::new(client.client);
        let from_listener = from.port() == client.server.port() && self.policy.is_own(from.ip());
        from_listener || from.embedded_ipv4().is_some_and(|inside| self.policy.is_own(inside.into()))
    }

    /// Does what an authenticated request asks for.
    fn dispatch(&mut self, context: Context<'_>, client: FiveTuple, request: &Message<'_>, user: User) {
        let signature = user.signature;
        if self.options.mobility && !request.has_attribute(mobility::MOBILITY_TICKET) {
            self.hear(client);
        }
        let unknown = unknown_attributes(request);
        let outcome = if !unknown.is_empty() {
            Err(Refusal::Unknown(unknown))
        } else {
            match request.method() {
                ALLOCATE => self.allocate(context, client, request, user),
                REFRESH => self.refresh(context, client, request, &user),
                CREATE_PERMISSION => self.create_permission(context, client, request, &user),
                CONNECT => self.connect(context, client, request, &user),
                CONNECTION_BIND => self.connection_bind(client, request, &user),
                _ => self.channel_bind(context, client, request, &user),
            }
        };
        match outcome {
            Ok(Some(bytes)) => self.transmit(client, bytes),
            // Answered when the shell has.
            Ok(None) => {}
            Err(refusal) => self.refuse(client, request, &refusal, Some(&signature)),
        }
    }

    /// What to do next; call until it gives `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Server::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.table.next_timer(), self.pending.next_timer()].into_iter().flatten().min()
    }

    /// The time has come: ends what is over.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.pending.expire(now);
        while let Some(id) = self.table.pop_due(now) {
            self.expire(now, id);
        }
    }

    /// A client's connection is gone: its allocation ends (RFC 8656 section 5).
    pub fn handle_disconnected(&mut self, client: FiveTuple) {
        self.pending.forget(client);
        if let Some(id) = self.table.id_of(client)
            && !self.survives(id, client)
        {
            self.end(id);
        }
    }

    /// Whether a 5-tuple has an allocation, or an allocation is about to move there.
    pub fn knows(&self, client: FiveTuple) -> bool {
        self.table.id_of(client).is_some()
    }

    /// Ends an allocation at the operator's wish; `false`: there is none.
    pub fn handle_end(&mut self, id: AllocationId) -> bool {
        self.table.get(id).is_some() && {
            self.end(id);
            true
        }
    }

    /// Changes what the server may do, from the next request on: what is there stays.
    pub fn handle_options(&mut self, options: Options) {
        self.options = options;
    }

    /// Changes the peer policy and applies it to what is installed: nothing denied survives.
    pub fn handle_policy(&mut self, context: Context<'_>, policy: Arc<Policy>) {
        self.policy = policy;
        self.apply_policy(context);
    }

    /// Users and secrets have changed: where expiry is strict, ends the allocations of credentials that are no longer good.
    pub fn handle_credentials(&mut self, credentials: &Credentials) {
        if self.options.strict_expiry {
            self.end_where(|allocation| !credentials.covers(&allocation.username, &allocation.key, &allocation.origin));
        }
    }

    /// Ends all allocations of a user (a quota key); says how many.
    pub fn handle_end_user(&mut self, user: &str) -> usize {
        self.end_where(|allocation| allocation.first.lease.user.as_str() == user)
    }

    fn end_where(&mut self, is_over: impl Fn(&Allocation) -> bool) -> usize {
        let ids: Vec<_> = self.table.iter().filter(|allocation| is_over(allocation)).map(|found| found.id).collect();
        ids.iter().for_each(|id| self.end(*id));
        ids.len()
    }

    /// Changes how many answers a part of the network gets that has not shown a password.
    pub fn handle_unproven_replies(&mut self, rate: u32) {
        self.budget.set_rate(rate);
    }

    /// Changes how much may be carried, from now on.
    pub fn handle_limits(&mut self, limits: Limits) {
        self.gate.limits = limits;
    }

    /// Counters, with the present numbers of allocations, permissions and channels.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        self.table.count(&mut stats);
        stats
    }

    /// All allocations, for people.
    pub fn snapshots(&self, now: Instant) -> Vec<Snapshot> {
        self.table.iter().map(|allocation| allocation.snapshot(now)).collect()
    }

    fn transmit(&mut self, client: FiveTuple, bytes: Vec<u8>) {
        self.outputs.push_back(Output::Transmit { client, bytes });
    }

    fn refuse(&mut self, client: FiveTuple, request: &Message<'_>, refusal: &Refusal, signature: Option<&Signature>) {
        self.stats.error(refusal.code());
        self.transmit(client, reply::error(request, refusal, signature));
    }

    /// Whether a request gets an answer that has not shown a password. A handshake proves a source, and a password does.
    fn may_answer(&mut self, now: Instant, client: FiveTuple) -> bool {
        let proven = client.transport.proves_source() || self.table.id_of(client).is_some();
        proven || self.budget.take(now, client.client.ip())
    }

    /// Whether a datagram that is no request of ours, from a source that may be forged, may be answered by the shell: out
    /// of the same budget as requests without a password. It is counted as dropped if not.
    pub fn may_answer_stranger(&mut self, now: Instant, source: IpAddr) -> bool {
        let may = self.budget.take(now, source);
        if !may {
            self.stats.drop(Drop::RateLimited);
        }
        may
    }

    fn dropped(&mut self, reason: Drop) -> Handled {
        Handled::Dropped(self.stats.drop(reason))
    }
}

/// The comprehension-required attributes that this server does not understand (RFC 8489 section 6.3.1).
fn unknown_attributes(request: &Message<'_>) -> Vec<stun_types::attribute::AttributeType> {
    /// MAPPED-ADDRESS to XOR-MAPPED-ADDRESS as RFC 8489 and RFC 8656 name them, and CONNECTION-ID of RFC 6062.
    const KNOWN: [u16; 21] = [
        0x0001, 0x0006, 0x0008, 0x0009, 0x000A, 0x000C, 0x000D, 0x0012, 0x0013, 0x0014, 0x0015, 0x0016, 0x0017, 0x0018,
        0x0019, 0x001A, 0x001C, 0x001D, 0x001E, 0x0022, 0x002A,
    ];
    const MAPPED: u16 = 0x0020;
    let kinds = request.iter_attributes().map(|(_, attribute)| attribute.get_type());
    let strange = |kind: &stun_types::attribute::AttributeType| {
        kind.comprehension_required() && kind.value() != MAPPED && !KNOWN.contains(&kind.value())
    };
    kinds.filter(strange).collect()
}

#[cfg(test)]
mod tests;
