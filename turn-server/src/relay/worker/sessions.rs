//! The DTLS sessions of a worker: opened only by a cookie that came back, within limits; ended when over, or silent
//! without an allocation.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use turn::FiveTuple;
use turn::dtls_hello::ClientHello;

use super::idle::{Deadline, Watch, Watches};
use super::{Socket, Worker};
use crate::relay::dtls::{Action, RECORD, Room, Session};

/// Sessions of one worker.
const MAX: usize = 8192;

/// A session, and what the worker knows of it.
struct Entry {
    session: Session,
    tuple: FiveTuple,
    /// The client socket that it is reached through, and the address that its packets come from.
    socket: usize,
    source: Option<IpAddr>,
    /// Of the hello that began it.
    random: [u8; 32],
    watch: Watch,
    /// When it is in the list of timers.
    timer: Option<Instant>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Sessions {
    slots: Vec<Option<Box<Entry>>>,
    free: Vec<usize>,
    by_tuple: HashMap<FiveTuple, usize>,
    watches: Watches,
    timers: BTreeSet<Deadline>,
    /// For one exchange each; an exchange may come within another one's.
    rooms: Vec<Room>,
    payload: Vec<u8>,
}

/// Where a datagram came in.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    pub(super) tuple: FiveTuple,
    pub(super) socket: usize,
    pub(super) source: Option<IpAddr>,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.by_tuple.len()
    }

    pub(super) fn of(&self, tuple: FiveTuple) -> Option<usize> {
        self.by_tuple.get(&tuple).copied()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|timer| timer.at);
        [self.watches.next_deadline(), timer].into_iter().flatten().min()
    }

    fn get_mut(&mut self, slot: usize) -> Option<&mut Entry> {
        self.slots.get_mut(slot)?.as_deref_mut()
    }

    /// The session that a deadline is for.
    fn meant(&mut self, deadline: Deadline) -> Option<&mut Entry> {
        self.get_mut(deadline.slot).filter(|entry| entry.watch.serial == deadline.serial)
    }

    /// The client got an allocation, or lost it.
    pub(super) fn set_allocated(&mut self, tuple: FiveTuple, allocated: bool, now: Instant) {
        let Some(slot) = self.of(tuple) else { return };
        if let Some(entry) = &mut self.slots[slot] {
            self.watches.set_allocated(&mut entry.watch, slot, tuple.client, allocated, now);
        }
    }

    /// A session that was silent for too long without an allocation.
    fn next_silent(&mut self, now: Instant) -> Option<usize> {
        while let Some(deadline) = self.watches.pop_due(now) {
            let place = self.slots.get_mut(deadline.slot).and_then(Option::as_deref_mut);
            let Some(entry) = place.filter(|entry| entry.watch.serial == deadline.serial) else { continue };
            let lives = entry.watch.allocated;
            if self.watches.is_silent(deadline, &mut entry.watch, lives, now) {
                return Some(deadline.slot);
            }
        }
        None
    }

    fn has_room(&self, client: SocketAddr) -> bool {
        self.len() < MAX && self.watches.have_room(client)
    }

    fn insert(&mut self, arrival: Arrival, session: Session, random: [u8; 32], now: Instant) -> usize {
        let Arrival { tuple, socket, source } = arrival;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let watch = self.watches.begin(slot, tuple.client, now);
        let entry = Entry { session, tuple, socket, source, random, watch, timer: None };
        self.slots[slot] = Some(Box::new(entry));
        self.by_tuple.insert(tuple, slot);
        slot
    }

    fn remove(&mut self, slot: usize) -> Option<Box<Entry>> {
        let entry = self.slots.get_mut(slot)?.take()?;
        self.by_tuple.remove(&entry.tuple);
        self.free.push(slot);
        self.watches.end(&entry.watch, entry.tuple.client);
        if let Some(at) = entry.timer {
            self.timers.remove(&Deadline { at, slot, serial: entry.watch.serial });
        }
        Some(entry)
    }

    /// The engine wants to be called then, or earlier: an earlier timer that is set already finds out.
    fn schedule(&mut self, slot: usize, at: Instant) {
        let Some(entry) = self.get_mut(slot).filter(|entry| entry.timer.is_none_or(|before| at < before)) else {
            return;
        };
        let (before, serial) = (entry.timer.replace(at), entry.watch.serial);
        if let Some(before) = before {
            self.timers.remove(&Deadline { at: before, slot, serial });
        }
        self.timers.insert(Deadline { at, slot, serial });
    }
}

impl Worker {
    /// A datagram that is DTLS by its first byte.
    pub(super) fn take_dtls(&mut self, now: Instant, arrival: Arrival, datagram: &[u8]) {
        let known = self.sessions.of(arrival.tuple);
        let hello = ClientHello::parse(datagram);
        match (known, hello) {
            (Some(slot), None) => self.drive(now, slot, Action::Receive(datagram)),
            (Some(slot), Some(hello)) => {
                if self.sessions.get_mut(slot).is_some_and(|entry| entry.random == hello.random) {
                    self.drive(now, slot, Action::Receive(datagram));
                } else {
                    // RFC 6347 section 4.2.8: a client that lost its state may begin anew, if it is at that address.
                    self.greet(now, arrival, &hello, datagram);
                }
            }
            (None, Some(hello)) => self.greet(now, arrival, &hello, datagram),
            (None, None) => self.stats.dtls_dropped += 1,
        }
    }

    /// Answers a first hello without keeping anything, and opens a session for a second one.
    fn greet(&mut self, now: Instant, arrival: Arrival, hello: &ClientHello, datagram: &[u8]) {
        let client = arrival.tuple.client;
        let cookies = &self.shared.cookies;
        let redeemed = cookies.redeem(now, client, hello, datagram).filter(|_| !hello.is_outdated);
        let Some(cookie) = redeemed else {
            if self.server.may_answer_stranger(now, client.ip()) {
                let (challenge, refusal) = (cookies.challenge(now, client, hello), hello.refusal());
                let answer = if hello.is_outdated { &refusal[..] } else { &challenge };
                self.queue.push(Socket::Client(arrival.socket), client, arrival.source, &[answer]);
                self.flush_if_full();
            }
            return;
        };
        if let Some(before) = self.sessions.of(arrival.tuple) {
            self.forget_session(now, before);
        }
        let encryption = self.shared.encryption.load();
        let identity = encryption.as_ref().and_then(|encryption| encryption.dtls.as_ref());
        let identity = identity.filter(|_| self.sessions.has_room(client));
        let queue = &mut self.queue;
        let transmit = |packet: &[u8]| queue.push(Socket::Client(arrival.socket), client, arrival.source, &[packet]);
        let opened = identity.and_then(|identity| Session::open(identity, now, hello, cookie, datagram, transmit));
        match opened {
            Some((session, tick)) => {
                let slot = self.sessions.insert(arrival, session, hello.random, now);
                self.sessions.schedule(slot, tick);
                self.flush_if_full();
            }
            None => self.stats.sessions_refused += 1,
        }
    }

    /// Lets a session do something, and does what comes of it.
    fn drive(&mut self, now: Instant, slot: usize, action: Action<'_>) {
        let mut room = self.sessions.rooms.pop().unwrap_or_default();
        let Some(entry) = self.sessions.slots.get_mut(slot).and_then(Option::as_deref_mut) else { return };
        let (tuple, serial, socket) = (entry.tuple, entry.watch.serial, Socket::Client(entry.socket));
        let (queue, source) = (&mut self.queue, entry.source);
        let transmit = |packet: &[u8]| queue.push(socket, tuple.client, source, &[packet]);
        let next = entry.session.exchange(now, action, &mut room, transmit);
        if !room.ends.is_empty() {
            entry.watch.last_heard = now;
        }
        if let Some(at) = next {
            self.sessions.schedule(slot, at);
        }
        self.flush_if_full();
        let Room { data, ends, .. } = &room;
        let starts = std::iter::once(0).chain(ends.iter().copied());
        for (start, end) in starts.zip(ends.iter().copied()) {
            self.serve_client(now, tuple, &data[start..end]);
        }
        room.data.clear();
        room.ends.clear();
        self.sessions.rooms.push(room);
        if next.is_none() && self.sessions.get_mut(slot).is_some_and(|entry| entry.watch.serial == serial) {
            self.forget_session(now, slot);
        }
    }

    /// Sends a message, the concatenation of `parts`, to the client of a session.
    pub(super) fn send_sealed(&mut self, now: Instant, slot: usize, parts: &[&[u8]]) {
        let mut payload = std::mem::take(&mut self.sessions.payload);
        payload.clear();
        parts.iter().for_each(|part| payload.extend_from_slice(part));
        if payload.len() <= RECORD {
            self.drive(now, slot, Action::Send(&payload));
        } else {
            self.stats.send_dropped += 1;
        }
        self.sessions.payload = payload;
    }

    fn forget_session(&mut self, now: Instant, slot: usize) {
        if let Some(entry) = self.sessions.remove(slot) {
            if !self.disconnected_elsewhere(entry.tuple) {
                self.server.handle_disconnected(entry.tuple);
            }
            self.execute(now);
        }
    }

    /// Gives engines their time, and ends sessions that neither speak nor have an allocation.
    pub(super) fn keep_sessions(&mut self, now: Instant) {
        while let Some(timer) = self.sessions.timers.first().copied().filter(|timer| timer.at <= now) {
            self.sessions.timers.remove(&timer);
            if let Some(entry) = self.sessions.meant(timer) {
                entry.timer = None;
                self.drive(now, timer.slot, Action::Tick);
            }
        }
        while let Some(slot) = self.sessions.next_silent(now) {
            self.stats.sessions_refused += 1;
            self.drive(now, slot, Action::Close);
        }
    }
}
