//! One relay thread: polls, and serves what is ready in a fixed order, a bounded amount of each in a turn.
//!
//! The order: orders from the process, packets handed over, what other workers heard, datagrams from clients, datagrams from peers, streams of
//! clients, time, and last everything that is to be sent. What was not finished keeps the next poll from sleeping.

mod carry;
mod connection;
mod connections;
mod effects;
mod idle;
mod outbox;
mod pump;
mod relays;
mod reports;
mod sessions;
mod steering;
mod streams;
mod tls_stream;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::Receiver;
use mio::{Events, Interest, Token};
use service::udp::{RecvBatch, SendQueue};
use turn::dtls_hello::is_dtls;
use turn::{Context, FiveTuple, Server, Transport};

use super::command::{Command, RelayStats, Rules};
use super::listen::{Listener, WorkerSockets};
use super::shared::Shared;
use crate::handover::{Handover, LaneEnd};
use connections::Connections;
use relays::Relays;
use reports::Reports;
use sessions::{Arrival, Sessions};
pub(super) use steering::Steering;
use streams::Streams;
pub(super) use streams::listen;

/// The lane's token. The others carry a kind in their top bits and an index below.
pub(super) const WAKER: Token = Token(usize::MAX);
const KIND: usize = 60;
const UDP: usize = 0;
const TCP: usize = 1;
const CONNECTION: usize = 2;
const RELAY: usize = 3;
const STREAM: usize = 4;
const LISTENER: usize = 5;

/// Shares of a turn: enough to amortise a poll, few enough that nobody waits long for the others.
const LANE_BUDGET: usize = 1024;
const CLIENT_BATCHES: usize = 8;
const ERROR_BUDGET: usize = 16;
const STEERING_BUDGET: usize = 1024;
/// Payload that may wait before it is sent in the middle of a turn: it must stay in the processor's cache.
const QUEUE_LIMIT: usize = 256 << 10;

/// Names a socket in the send queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Socket {
    Client(usize),
    Relay(u32),
}

/// Somebody in this process with a lane.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Neighbour {
    Relay(usize),
    Media(usize),
}

/// A client socket, and whether it may still hold something.
struct Client {
    listener: Listener,
    udp_ready: bool,
    tcp_ready: bool,
}

/// See the module.
pub(super) struct Worker {
    index: u8,
    server: Server,
    shared: Arc<Shared>,
    handover: Handover,
    poll: mio::Poll,
    lane_end: LaneEnd,
    inbox: Receiver<Command>,
    clients: Vec<Client>,
    connections: Connections,
    sessions: Sessions,
    relays: Relays,
    streams: Streams,
    steering: Steering,
    queue: SendQueue<Socket>,
    /// Neighbours that got packets in this turn and sleep perhaps.
    to_wake: Vec<Neighbour>,
    /// When a reservation may end.
    reservations_at: Option<Instant>,
    /// When a listener that ran out of descriptors is tried again.
    accept_at: Option<Instant>,
    reports: Reports,
    stats: RelayStats,
    /// Outputs are being executed.
    executing: bool,
}

impl Worker {
    pub(super) fn new(
        index: u8,
        server: Server,
        sockets: WorkerSockets,
        inbox: Receiver<Command>,
        shared: Arc<Shared>,
        steering: Steering,
        handover: Handover,
    ) -> Self {
        let clients = sockets.listeners.into_iter();
        Self {
            index,
            server,
            shared,
            handover,
            poll: sockets.poll,
            lane_end: sockets.lane_end,
            inbox,
            clients: clients
                .map(|listener| Client { udp_ready: true, tcp_ready: listener.tcp.is_some(), listener })
                .collect(),
            connections: Connections::default(),
            sessions: Sessions::default(),
            relays: Relays::default(),
            streams: Streams::default(),
            steering,
            queue: SendQueue::default(),
            to_wake: Vec::new(),
            reservations_at: None,
            accept_at: None,
            reports: Reports::default(),
            stats: RelayStats::default(),
            executing: false,
        }
    }

    /// Serves until it is told to stop.
    pub(super) fn run(mut self) {
        if let Err(error) = self.register() {
            tracing::error!(%error, worker = self.index, "relay worker cannot poll its sockets");
            return;
        }
        let mut events = Events::with_capacity(1024);
        let mut batch = RecvBatch::default();
        let mut scratch = vec![0; connection::SCRATCH];
        loop {
            let wait = self.wait();
            if let Err(error) = self.poll.poll(&mut events, wait)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, worker = self.index, "relay worker cannot poll");
                return;
            }
            let now = Instant::now();
            events.iter().for_each(|event| self.mark(event));
            if !self.obey(now) {
                return;
            }
            self.take_handed_over(now);
            self.take_steered(now);
            self.read_clients(now, &mut batch);
            self.read_peers(now, &mut batch);
            self.accept(now);
            self.read_streams(now, &mut scratch);
            self.accept_peers(now);
            self.pump_streams(now, &mut scratch);
            self.keep_time(now);
            self.send(now);
        }
    }

    fn register(&mut self) -> io::Result<()> {
        for (index, client) in self.clients.iter_mut().enumerate() {
            let registry = self.poll.registry();
            registry.register(&mut client.listener.udp, token(UDP, index), Interest::READABLE)?;
            if let Some(tcp) = &mut client.listener.tcp {
                registry.register(tcp, token(TCP, index), Interest::READABLE)?;
            }
        }
        Ok(())
    }

    /// How long to sleep: not at all while something is unfinished.
    fn wait(&self) -> Option<std::time::Duration> {
        let clients_ready = self.clients.iter().any(|client| client.udp_ready);
        let accept_ready = self.accept_at.is_none() && self.clients.iter().any(|client| client.tcp_ready);
        let unfinished = clients_ready
            || accept_ready
            || self.relays.any_ready()
            || self.streams.any_ready()
            || self.connections.any_ready();
        if unfinished || !self.lane_end.is_empty() || !self.steering.is_empty() {
            return Some(std::time::Duration::ZERO);
        }
        let streams = self.streams.next_deadline();
        let clients = [self.connections.next_deadline(), self.sessions.next_deadline(), self.accept_at, streams];
        let times = [self.server.poll_timeout(), self.reservations_at].into_iter().chain(clients);
        let next = times.flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    fn mark(&mut self, event: &mio::event::Event) {
        let index = event.token().0 & ((1 << KIND) - 1);
        match event.token().0 >> KIND {
            _ if event.token() == WAKER => {}
            UDP => self.clients[index].udp_ready = true,
            TCP => self.clients[index].tcp_ready = true,
            CONNECTION => self.connections.mark(index, event),
            STREAM => self.streams.mark_event(index, event),
            LISTENER => self.streams.mark_listener(index),
            _ if event.is_error() => self.relays.mark_failed(index),
            _ => self.relays.mark(index),
        }
    }

    /// Does what the process wants; `false`: stop.
    fn obey(&mut self, now: Instant) -> bool {
        while let Ok(command) = self.inbox.try_recv() {
            // Who does not wait for the answer any more does not need it.
            match command {
                Command::Stats(reply) => drop(reply.try_send(self.report())),
                Command::Snapshots(reply) => drop(reply.try_send(self.server.snapshots(now))),
                Command::End(id, reply) => drop(reply.try_send(self.server.handle_end(id))),
                Command::EndUser(user, reply) => drop(reply.try_send(self.server.handle_end_user(&user))),
                Command::Rules(rules, reply) => {
                    self.change_rules(now, rules);
                    let _ = reply.try_send(());
                }
                Command::Key(request, Some(keys)) => {
                    self.server.handle_key(Context { now, open: &self.handover }, request, *keys);
                }
                Command::Key(request, None) => self.server.handle_no_key(request),
                Command::Stop => {
                    self.send(now);
                    return false;
                }
            }
            self.execute(now);
        }
        true
    }

    fn change_rules(&mut self, now: Instant, rules: Rules) {
        self.server.handle_limits(rules.limits);
        self.server.handle_unproven_replies(rules.unproven_replies);
        self.server.handle_options(rules.options);
        self.server.handle_credentials(&rules.credentials);
        self.server.handle_policy(Context { now, open: &self.handover }, rules.policy);
    }

    fn report(&self) -> RelayStats {
        RelayStats {
            core: self.server.stats(),
            connections: self.connections.len() as u64,
            sessions: self.sessions.len() as u64,
            ports_used: self.shared.ports_used().into(),
            revocations: self.shared.revocations().len() as u64,
            ..self.stats.clone()
        }
    }

    fn read_clients(&mut self, now: Instant, batch: &mut RecvBatch) {
        let dtls = self.shared.encryption.load().as_ref().is_some_and(|encryption| encryption.dtls.is_some());
        for index in 0..self.clients.len() {
            for _ in 0..CLIENT_BATCHES {
                let client = &mut self.clients[index];
                if !client.udp_ready {
                    break;
                }
                let filled = client.listener.udp.recv(batch).unwrap_or(0);
                client.udp_ready = filled == RecvBatch::SIZE;
                let bound = client.listener.address;
                for datagram in batch.datagrams() {
                    let ip = datagram.local.unwrap_or(bound.ip());
                    let server = SocketAddr::new(ip, bound.port());
                    let tuple = FiveTuple { transport: Transport::Udp, client: datagram.from, server };
                    if dtls && is_dtls(datagram.bytes) {
                        let tuple = FiveTuple { transport: Transport::Dtls, ..tuple };
                        let source = bound.ip().is_unspecified().then_some(ip);
                        self.take_dtls(now, Arrival { tuple, socket: index, source }, datagram.bytes);
                    } else {
                        self.serve_client(now, tuple, datagram.bytes);
                    }
                }
            }
        }
    }

    fn read_peers(&mut self, now: Instant, batch: &mut RecvBatch) {
        for _ in 0..self.relays.count_ready() {
            let Some(slot) = self.relays.next_ready() else { break };
            let Some(relay) = self.relays.get(slot) else { continue };
            let received = relay.socket.recv(batch);
            // An error of the network stands before what arrived: it is taken from its queue, and the socket read again.
            let failed = received.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock);
            if failed || received.is_ok_and(|filled| filled == RecvBatch::SIZE) {
                self.relays.mark(slot as usize);
            }
            if self.relays.take_failed(slot) || failed {
                self.take_errors(now, slot);
            }
            for datagram in batch.datagrams() {
                self.stats.received_from_peers += 1;
                self.carry_to_client(now, slot, datagram.from, datagram.bytes, turn::Way::Network);
            }
        }
    }

    fn keep_time(&mut self, now: Instant) {
        if self.server.poll_timeout().is_some_and(|at| at <= now) {
            self.server.handle_timeout(now);
            self.execute(now);
        }
        if self.reservations_at.is_some_and(|at| at <= now) {
            self.reservations_at = self.shared.expire_reservations(now);
        }
        self.resume_streams(now);
        self.end_silent_connections(now);
        self.keep_sessions(now);
    }

    /// Sends what waits, and wakes who got packets.
    fn send(&mut self, now: Instant) {
        // Streams that break may leave something for others.
        self.write_streams(now);
        self.flush();
        for neighbour in self.to_wake.drain(..) {
            match neighbour {
                Neighbour::Relay(index) => self.handover.relay[index].wake(),
                Neighbour::Media(index) => self.handover.media[index].1.wake(),
            }
        }
    }

    fn flush(&mut self) {
        if self.queue.is_empty() {
            return;
        }
        let (clients, relays) = (&self.clients, &self.relays);
        let sent = self.queue.flush(|socket, transmit| match socket {
            Socket::Client(index) => clients[index].listener.udp.try_send(transmit),
            Socket::Relay(place) => relays.get(place).map_or(Ok(()), |relay| {
                // The first error may be about a packet of long ago: asking for it has cleared it.
                let send = || relay.socket.try_send(transmit);
                send().or_else(|error| if error.kind() == io::ErrorKind::WouldBlock { Err(error) } else { send() })
            }),
        });
        self.stats.send_dropped += sent.dropped;
    }

    /// Keeps the queue small enough for the cache.
    fn flush_if_full(&mut self) {
        if self.queue.len_bytes() > QUEUE_LIMIT {
            self.flush();
        }
    }
}

fn token(kind: usize, index: usize) -> Token {
    Token(kind << KIND | index)
}
