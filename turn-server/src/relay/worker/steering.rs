//! Clients that this worker hears and another serves, and the other way round: for as long as it has their allocation
//! (RFC 8016 across workers), or for the one answer to whoever comes for a connection (RFC 6062).

use std::collections::HashMap;
use std::time::Instant;

use crossbeam_channel::Receiver;
use turn::{Context, FiveTuple, Transport};

use super::super::steering::{Steered, Ways};
use super::{STEERING_BUDGET, Worker};

/// See the module.
pub(in super::super) struct Steering {
    ways: Ways,
    inbox: Receiver<Steered>,
    /// Heard here, served by that worker.
    away: HashMap<FiveTuple, u8>,
    /// Served here, heard by that worker.
    guests: HashMap<FiveTuple, u8>,
}

impl Steering {
    pub(in super::super) fn new(ways: Ways, inbox: Receiver<Steered>) -> Self {
        Self { ways, inbox, away: HashMap::new(), guests: HashMap::new() }
    }

    /// Whether no message waits.
    pub(super) fn is_empty(&self) -> bool {
        self.inbox.is_empty()
    }

    /// The worker that hears a client which is served here.
    pub(super) fn hearing(&self, client: FiveTuple) -> Option<u8> {
        if self.guests.is_empty() { None } else { self.guests.get(&client).copied() }
    }

    /// The worker that serves a client which is heard here.
    fn serving(&self, client: FiveTuple) -> Option<u8> {
        if self.away.is_empty() { None } else { self.away.get(&client).copied() }
    }

    /// Hands a packet to the worker that hears its client.
    pub(super) fn to_client(&self, hearing: u8, client: FiveTuple, parts: &[&[u8]], media: bool) -> bool {
        self.ways.tell(hearing, Steered::ToClient { client, bytes: parts.concat(), media })
    }
}

impl Worker {
    /// Hands a packet to the worker that serves its client; `false`: that is this one.
    pub(super) fn steer(&mut self, client: FiveTuple, bytes: &[u8]) -> bool {
        let Some(serving) = self.steering.serving(client) else { return false };
        self.hand_to(serving, client, bytes.to_vec());
        true
    }

    /// Hands a packet of a client that is heard here to another worker.
    pub(super) fn hand_to(&mut self, serving: u8, client: FiveTuple, bytes: Vec<u8>) {
        let message = Steered::FromClient { client, bytes, hearing: self.index };
        if !self.steering.ways.tell(serving, message) {
            self.stats.handover_dropped += 1;
        }
    }

    /// Tells a worker something that must not be lost.
    pub(super) fn tell(&self, worker: u8, message: Steered) {
        self.steering.ways.tell(worker, message);
    }

    /// The worker that hears a client which is served here.
    pub(super) fn steering_of(&self, client: FiveTuple) -> Option<u8> {
        self.steering.hearing(client)
    }

    /// A client's connection is gone; `true`: that is the business of the worker that serves it.
    pub(super) fn disconnected_elsewhere(&mut self, client: FiveTuple) -> bool {
        let serving = self.steering.away.remove(&client);
        serving.is_some_and(|serving| self.steering.ways.tell(serving, Steered::Gone { client }))
    }

    /// A 5-tuple has no allocation here any more.
    pub(super) fn release(&mut self, client: FiveTuple) {
        if let Some(hearing) = self.steering.guests.remove(&client) {
            self.steering.ways.tell(hearing, Steered::Release { client });
        }
    }

    /// Does what other workers want.
    pub(super) fn take_steered(&mut self, now: Instant) {
        for _ in 0..STEERING_BUDGET {
            let Ok(message) = self.steering.inbox.try_recv() else { break };
            match message {
                Steered::FromClient { client, bytes, hearing } => self.serve_guest(now, client, &bytes, hearing),
                Steered::ToClient { client, bytes, media } => self.write_to_heard(now, client, &bytes, media),
                Steered::Claim { client, serving } => {
                    if client.transport != Transport::Udp && !self.hears(client) {
                        self.steering.ways.tell(serving, Steered::Gone { client });
                        continue;
                    }
                    self.steering.away.insert(client, serving);
                    self.set_allocated(client, true, now);
                }
                Steered::Release { client } => {
                    self.steering.away.remove(&client);
                    self.set_allocated(client, false, now);
                }
                Steered::Join { id, stream, home, join } => self.join_lent(now, (id, stream, home), join),
                Steered::CloseStream { id } => {
                    if let Some(slot) = self.streams.slot_of(id) {
                        self.part(now, slot);
                    }
                }
                Steered::StreamClosed { id } => {
                    self.streams.lent.remove(&id);
                    self.server.handle_stream_closed(id);
                }
                Steered::StreamUsage { id, usage } => self.server.handle_stream_usage(id, usage),
                Steered::Gone { client } => {
                    self.steering.guests.remove(&client);
                    self.server.handle_disconnected(client);
                    self.execute(now);
                }
            }
        }
    }

    fn serve_guest(&mut self, now: Instant, client: FiveTuple, bytes: &[u8], hearing: u8) {
        let known = self.steering.guests.insert(client, hearing).is_some();
        let handled = self.server.handle_client(Context { now, open: &self.handover }, client, bytes);
        // Before the answer goes the same way: with it, the client begins to send.
        let mut claimed = known;
        self.claim(client, hearing, &mut claimed);
        self.act(now, handled, bytes);
        // A client that gave one allocation back and asked for another has that only now.
        self.claim(client, hearing, &mut claimed);
        // Whoever showed no good ticket, or came for a connection only, got an answer and is no guest.
        if !self.server.knows(client) {
            if known {
                self.release(client);
            } else {
                self.steering.guests.remove(&client);
            }
        }
    }

    /// Tells the worker that hears a client that this one serves it, if it does and that is news.
    fn claim(&mut self, client: FiveTuple, hearing: u8, claimed: &mut bool) {
        if !*claimed && self.server.knows(client) {
            self.steering.guests.insert(client, hearing);
            self.steering.ways.tell(hearing, Steered::Claim { client, serving: self.index });
            *claimed = true;
        }
    }

    /// Whether a client that is no bare datagram's still has its connection or session here.
    fn hears(&self, client: FiveTuple) -> bool {
        self.connections.of(client).is_some() || self.sessions.of(client).is_some()
    }

    fn write_to_heard(&mut self, now: Instant, client: FiveTuple, bytes: &[u8], media: bool) {
        match self.connections.of(client).filter(|_| media) {
            Some(connection) => self.stats.tcp_dropped += self.connections.push_media(connection, &[bytes], now),
            None => self.answer(now, client, bytes),
        }
    }
}
