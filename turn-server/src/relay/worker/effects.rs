//! What the core wants done: answers, keys, sockets. One arm an output, no decisions.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mio::Interest;
use service::log::Address;
use turn::{
    AllocationId, BoundRelays, Context, Family, FiveTuple, Output, Relaying, RequestId, Transport, Unavailable,
    UserName,
};

use super::super::hook::Question;
use super::relays::{Reached, place};
use super::{RELAY, Socket, Worker, token};

impl Worker {
    /// Executes all outputs.
    pub(super) fn execute(&mut self, now: Instant) {
        // What an output leads to may be more outputs: they are done here, and not by one call inside another.
        if std::mem::replace(&mut self.executing, true) {
            return;
        }
        // An answer that comes after must still find its way.
        let mut released = Vec::new();
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Transmit { client, bytes } => self.answer(now, client, &bytes),
                Output::NeedKey { request, username, client } => self.find_key(now, request, username, client),
                Output::BindRelay { request, client, user, family, protocol: Relaying::Tcp, .. } => {
                    self.bind_listener(now, request, client, &user, family);
                }
                Output::BindRelay { request, client, user, family, additional, wish, .. } => {
                    let families = (family, additional);
                    self.bind_relays(now, request, client, &user, families, wish);
                }
                Output::CloseRelay { allocation, client, lease, last, .. } => {
                    // What waits in the queue must leave from its own address, not from its successor's.
                    self.flush();
                    drop(self.relays.remove(allocation, lease.family));
                    self.close_listener(allocation);
                    self.shared.release(&lease);
                    // Of a client that was gone, the 5-tuple may have another allocation.
                    if last && !self.server.knows(client) {
                        self.set_allocated(client, false, now);
                    }
                    tracing::debug!(client = %Address(client.client), port = lease.port, "relayed address closed");
                }
                Output::Elsewhere { worker, client, bytes } => self.hand_to(worker, client, bytes),
                Output::Moved { allocation, from, to } => self.follow(now, allocation, from, to),
                Output::Released { client } => released.push(client),
                Output::Connect { connection, local, peer, own, .. } => {
                    self.open_stream(now, connection, local, self.shared.reachable(peer, own));
                }
                Output::Join { connection, join } => self.join(now, connection, join),
                Output::CloseStream { connection, .. } => self.close_stream(now, connection),
                Output::Report(report) => self.reports.write(now, &report),
                // No mirror of the routes runs beside us.
                Output::RouteInstalled(_) | Output::RouteRemoved(..) => {}
            }
        }
        self.executing = false;
        for client in released {
            // It may have a new allocation by now.
            if !self.server.knows(client) {
                self.release(client);
            }
        }
    }

    fn find_key(&mut self, now: Instant, request: RequestId, username: UserName, client: FiveTuple) {
        let credentials = self.shared.credentials.load();
        let decides = credentials.decides(&username);
        if let (UserName::Plain(username), false, Some(hook)) = (&username, decides, &*self.shared.hook.load()) {
            let question = Question { worker: self.index, request, username: username.clone(), client };
            if !hook.ask(question) {
                self.server.handle_no_key(request);
            }
            return;
        }
        let mut candidates = credentials.candidates(&username, unix_now(), client.client.ip());
        self.shared.revocations().apply(&mut candidates);
        self.server.handle_key(Context { now, open: &self.handover }, request, candidates);
    }

    fn bind_relays(
        &mut self,
        now: Instant,
        request: turn::RequestId,
        client: FiveTuple,
        user: &turn::QuotaKey,
        (family, additional): (Family, Option<Family>),
        wish: turn::PortWish,
    ) {
        let mut sockets = Vec::new();
        let mut bind = |family| {
            let (socket, bound) = self.shared.bind_relay(self.index, user, client.client.ip(), family, wish)?;
            sockets.push((socket, bound.clone()));
            Ok(bound)
        };
        let first = bind(family);
        // A user who may have no more gets no second address either.
        let refused = first.as_ref().is_err_and(|why| *why != Unavailable::Capacity);
        let additional = additional.filter(|_| !refused).map(bind);
        if sockets.iter().any(|(_, bound)| bound.token.is_some()) {
            self.reservations_at = self.shared.expire_reservations(now);
        }
        let context = Context { now, open: &self.handover };
        let reached = self.reached(client);
        let id = self.server.handle_bound(context, request, BoundRelays { first, additional });
        let Some((id, reached)) = id.zip(reached) else {
            // Refused, or the connection is gone.
            if let Some(id) = id {
                self.server.handle_end(id);
            }
            for (socket, bound) in sockets {
                drop(socket);
                if id.is_none() {
                    self.shared.release(&bound.lease);
                }
            }
            return;
        };
        for (mut socket, bound) in sockets {
            let place = token(RELAY, place(id, bound.lease.family) as usize);
            if let Err(error) = self.poll.registry().register(&mut socket, place, Interest::READABLE) {
                tracing::warn!(%error, "a relayed socket cannot be polled");
            }
            tracing::debug!(client = %Address(client.client), user = user.as_str(), relayed = %bound.relayed, "allocation made");
            self.relays.insert(id, socket, reached);
        }
        self.set_allocated(client, true, now);
    }

    fn bind_listener(
        &mut self,
        now: Instant,
        request: RequestId,
        client: FiveTuple,
        user: &turn::QuotaKey,
        family: Family,
    ) {
        let outcome = self.shared.bind_listener(user, client.client.ip(), family);
        let context = Context { now, open: &self.handover };
        let (listener, first) = match outcome {
            Ok((listener, bound)) => (Some((listener, bound.lease.clone())), Ok(bound)),
            Err(why) => (None, Err(why)),
        };
        let id = self.server.handle_bound(context, request, BoundRelays { first, additional: None });
        match (listener, id) {
            (Some((listener, _)), Some(id)) => {
                self.open_listener(id, listener);
                self.connections.set_allocated(client, true, now);
                tracing::debug!(client = %Address(client.client), user = user.as_str(), "TCP allocation made");
            }
            (Some((listener, lease)), None) => {
                drop(listener);
                self.shared.release(&lease);
            }
            (None, _) => {}
        }
    }

    /// A client is reached on another 5-tuple now.
    fn follow(&mut self, now: Instant, allocation: AllocationId, from: FiveTuple, to: FiveTuple) {
        if let Some(reached) = self.reached(to) {
            self.relays.set_reached(allocation, reached);
        }
        if !self.server.knows(from) {
            self.set_allocated(from, false, now);
        }
        self.set_allocated(to, true, now);
        tracing::debug!(from = %Address(from.client), to = %Address(to.client), "allocation moved");
    }

    pub(super) fn set_allocated(&mut self, client: FiveTuple, allocated: bool, now: Instant) {
        match client.transport {
            Transport::Udp => {}
            Transport::Tcp | Transport::Tls => self.connections.set_allocated(client, allocated, now),
            Transport::Dtls => self.sessions.set_allocated(client, allocated, now),
        }
    }

    pub(super) fn answer(&mut self, now: Instant, client: FiveTuple, bytes: &[u8]) {
        if let Some(hearing) = self.steering.hearing(client) {
            self.steering.to_client(hearing, client, &[bytes], false);
            return;
        }
        match self.reached(client) {
            Some(Reached::Udp { socket, from_any }) => {
                let source = from_any.then(|| client.server.ip());
                self.queue.push(Socket::Client(socket), client.client, source, &[bytes]);
                self.flush_if_full();
            }
            Some(Reached::Tcp { connection }) => self.connections.push_control(connection, bytes),
            Some(Reached::Dtls { session }) => self.send_sealed(now, session, &[bytes]),
            Some(Reached::Guest { .. }) | None => {}
        }
    }

    fn reached(&self, client: FiveTuple) -> Option<Reached> {
        // A datagram can leave from any worker; a connection is one worker's.
        if let Some(hearing) = self.steering.hearing(client).filter(|_| client.transport != Transport::Udp) {
            return Some(Reached::Guest { hearing });
        }
        match client.transport {
            Transport::Udp => {}
            Transport::Tcp | Transport::Tls => {
                return self.connections.of(client).map(|connection| Reached::Tcp { connection });
            }
            Transport::Dtls => return self.sessions.of(client).map(|session| Reached::Dtls { session }),
        }
        let serves = |bound: std::net::SocketAddr| {
            let any = bound.ip().is_unspecified() && bound.is_ipv4() == client.server.is_ipv4();
            bound.port() == client.server.port() && (any || bound.ip() == client.server.ip())
        };
        let socket = self.clients.iter().position(|socket| serves(socket.listener.address))?;
        let from_any = self.clients[socket].listener.address.ip().is_unspecified();
        Some(Reached::Udp { socket, from_any })
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
