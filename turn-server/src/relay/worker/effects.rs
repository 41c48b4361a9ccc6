//! What the core wants done: answers, keys, sockets. One arm an output, no decisions.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mio::Interest;
use turn::{Context, FiveTuple, Output};

use super::relays::Reached;
use super::{RELAY, Socket, Worker, token};

impl Worker {
    /// Executes all outputs.
    pub(super) fn execute(&mut self, now: Instant) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Transmit { client, bytes } => self.answer(client, &bytes),
                Output::NeedKey { request, username, client } => {
                    let candidates = self.shared.credentials.load().candidates(&username, unix_now(), client);
                    let context = Context { now, open: &self.handover };
                    self.server.handle_key(context, request, &candidates);
                }
                Output::BindRelay { request, client, user, family, wish } => {
                    self.bind_relay(now, request, client, &user, family, wish);
                }
                Output::CloseRelay { allocation, client, lease, .. } => {
                    // What waits in the queue must leave from its own address, not from its successor's.
                    self.flush();
                    drop(self.relays.remove(allocation));
                    self.shared.release(&lease);
                    self.connections.set_allocated(client, false, now);
                    tracing::debug!(client = %client.client, port = lease.port, "allocation ended");
                }
                // No mirror of the routes runs beside us.
                Output::RouteInstalled(_) | Output::RouteRemoved(..) => {}
            }
        }
    }

    fn bind_relay(
        &mut self,
        now: Instant,
        request: turn::RequestId,
        client: FiveTuple,
        user: &turn::QuotaKey,
        family: turn::Family,
        wish: turn::PortWish,
    ) {
        let reached = self.reached(client);
        let outcome = self.shared.bind_relay(self.index, user, family, wish);
        let context = Context { now, open: &self.handover };
        let (mut socket, bound) = match (outcome, reached) {
            (Ok((socket, bound)), Some(reached)) => ((socket, reached), bound),
            (Ok((socket, bound)), None) => {
                // The connection is gone.
                drop(socket);
                return self.shared.release(&bound.lease);
            }
            (Err(unavailable), _) => {
                self.server.handle_bound(context, request, Err(unavailable));
                return;
            }
        };
        if bound.token.is_some() {
            self.reservations_at = self.shared.expire_reservations(now);
        }
        let (relayed, lease) = (bound.relayed, bound.lease.clone());
        let Some(id) = self.server.handle_bound(context, request, Ok(bound)) else {
            drop(socket);
            return self.shared.release(&lease);
        };
        let place = token(RELAY, id.slot() as usize);
        if let Err(error) = self.poll.registry().register(&mut socket.0, place, Interest::READABLE) {
            tracing::warn!(%error, "a relayed socket cannot be polled");
        }
        self.relays.insert(id, socket.0, socket.1);
        self.connections.set_allocated(client, true, now);
        tracing::debug!(client = %client.client, user = user.as_str(), %relayed, "allocation made");
    }

    fn answer(&mut self, client: FiveTuple, bytes: &[u8]) {
        match self.reached(client) {
            Some(Reached::Udp { socket, from_any }) => {
                let source = from_any.then(|| client.server.ip());
                self.queue.push(Socket::Client(socket), client.client, source, &[bytes]);
                self.flush_if_full();
            }
            Some(Reached::Tcp { connection }) => self.connections.push_control(connection, bytes),
            None => {}
        }
    }

    fn reached(&self, client: FiveTuple) -> Option<Reached> {
        if client.transport.is_stream() {
            return self.connections.of(client).map(|connection| Reached::Tcp { connection });
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
