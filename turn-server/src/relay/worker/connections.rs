//! The TCP connections of a worker, with and without TLS: accepted within limits, read in turns, closed when silent
//! without an allocation.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::event::Event;
use mio::net::TcpStream;
use service::log::Address;
use turn::{FiveTuple, Transport};

use super::connection::{Connection, ReadOutcome};
use super::idle::{Deadline, Deadlines, OPENING, Watches};
use super::{CONNECTION, Worker, token};

/// Connections of one worker.
const MAX: usize = 16_384;
/// Connections to accept in a turn, and reads of one connection in a turn.
const ACCEPT_BUDGET: usize = 64;
const READ_BUDGET: usize = 4;
/// Unsent bytes that the kernel may hold for a connection before it says that it is full.
const KERNEL_QUEUE: u32 = 32 << 10;
/// How long to wait for descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Default)]
pub(super) struct Connections {
    slots: Vec<Option<Connection>>,
    free: Vec<usize>,
    by_tuple: HashMap<FiveTuple, usize>,
    watches: Watches,
    /// When one that has just been opened must have come to its first message.
    openings: Deadlines,
    readable: VecDeque<usize>,
    dirty: Vec<usize>,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.by_tuple.len()
    }

    pub(super) fn of(&self, tuple: FiveTuple) -> Option<usize> {
        self.by_tuple.get(&tuple).copied()
    }

    fn get_mut(&mut self, slot: usize) -> Option<&mut Connection> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub(super) fn any_ready(&self) -> bool {
        !self.readable.is_empty() || !self.dirty.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.watches.next_deadline(), self.openings.next()].into_iter().flatten().min()
    }

    /// The stream may be read or written again.
    pub(super) fn mark(&mut self, slot: usize, event: &Event) {
        if event.is_readable() || event.is_error() || event.is_read_closed() {
            self.mark_readable(slot);
        }
        if event.is_writable() {
            self.mark_dirty(slot);
        }
    }

    pub(super) fn mark_readable(&mut self, slot: usize) {
        if let Some(Some(connection)) = self.slots.get_mut(slot)
            && !connection.readable
        {
            connection.readable = true;
            self.readable.push_back(slot);
        }
    }

    fn mark_dirty(&mut self, slot: usize) {
        if let Some(Some(connection)) = self.slots.get_mut(slot)
            && !connection.dirty
            && connection.has_output()
        {
            connection.dirty = true;
            self.dirty.push(slot);
        }
    }

    /// Queues a frame of media; gives how many had to be dropped.
    pub(super) fn push_media(&mut self, slot: usize, parts: &[&[u8]], now: Instant) -> u64 {
        let dropped = self.get_mut(slot).map_or(0, |connection| connection.outbox.push_media(parts, now));
        self.mark_dirty(slot);
        dropped
    }

    /// Queues an answer.
    pub(super) fn push_control(&mut self, slot: usize, bytes: &[u8]) {
        if let Some(connection) = self.get_mut(slot) {
            connection.outbox.push_answer(bytes);
        }
        self.mark_dirty(slot);
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting(&mut self, slot: usize) -> usize {
        self.get_mut(slot).map_or(0, |connection| connection.waiting())
    }

    /// From now on a connection carries bytes to a peer; gives those that came already. `None`: it does so for another one, or
    /// has an allocation.
    pub(super) fn join(&mut self, slot: usize, peer: usize) -> Option<Vec<u8>> {
        let free = |connection: &&mut Connection| connection.joined.is_none() && !connection.watch.allocated;
        let connection = self.get_mut(slot).filter(free)?;
        connection.joined = Some(peer);
        Some(connection.take_rest())
    }

    /// Nothing more will be written to a client.
    pub(super) fn end_writing(&mut self, slot: usize) {
        if let Some(connection) = self.get_mut(slot) {
            connection.end_writing();
        }
    }

    /// The client got an allocation, or lost it.
    pub(super) fn set_allocated(&mut self, tuple: FiveTuple, allocated: bool, now: Instant) {
        let Some(slot) = self.of(tuple) else { return };
        if let Some(connection) = &mut self.slots[slot] {
            self.watches.set_allocated(&mut connection.watch, slot, tuple.client, allocated, now);
        }
    }

    /// The client turned out to be another than its stream's addresses say, or to use another transport. `false`: there
    /// is no room for that client.
    fn rename(&mut self, slot: usize, tuple: FiveTuple) -> bool {
        let Some(connection) = self.get_mut(slot) else { return true };
        let before = std::mem::replace(&mut connection.tuple, tuple);
        self.by_tuple.remove(&before);
        self.by_tuple.insert(tuple, slot);
        self.watches.rename(before.client, tuple.client)
    }

    /// The connection that a deadline is for.
    fn meant(&mut self, deadline: Deadline) -> Option<&mut Connection> {
        self.get_mut(deadline.slot).filter(|connection| connection.watch.serial == deadline.serial)
    }

    /// A connection that was silent for too long without an allocation.
    fn next_silent(&mut self, now: Instant) -> Option<usize> {
        while let Some(deadline) = self.watches.pop_due(now) {
            let place = self.slots.get_mut(deadline.slot).and_then(Option::as_mut);
            let Some(connection) = place.filter(|connection| connection.watch.serial == deadline.serial) else {
                continue;
            };
            // What is joined with a peer's may carry bytes one way for as long as that takes.
            let lives = connection.watch.allocated || connection.joined.is_some();
            if self.watches.is_silent(deadline, &mut connection.watch, lives, now) {
                return Some(deadline.slot);
            }
        }
        None
    }

    fn has_room(&self, client: SocketAddr) -> bool {
        self.len() < MAX && self.watches.have_room(client)
    }

    fn free_slot(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        })
    }

    fn insert(&mut self, slot: usize, stream: TcpStream, tuple: FiveTuple, proxied: bool, now: Instant) {
        let watch = self.watches.begin(slot, tuple.client, now);
        let serial = watch.serial;
        self.slots[slot] = Some(Connection::new(stream, tuple, proxied, watch));
        self.by_tuple.insert(tuple, slot);
        self.openings.push(Deadline { at: now + OPENING, slot, serial });
        self.readable.push_back(slot);
    }

    fn remove(&mut self, slot: usize) -> Option<Connection> {
        let connection = self.slots.get_mut(slot)?.take()?;
        self.by_tuple.remove(&connection.tuple);
        self.free.push(slot);
        self.watches.end(&connection.watch, connection.tuple.client);
        Some(connection)
    }
}

impl Worker {
    pub(super) fn accept(&mut self, now: Instant) {
        if self.accept_at.is_some_and(|at| at > now) {
            return;
        }
        self.accept_at = None;
        for index in 0..self.clients.len() {
            for _ in 0..ACCEPT_BUDGET {
                let client = &self.clients[index];
                let Some(tcp) = client.listener.tcp.as_ref().filter(|_| client.tcp_ready) else { break };
                match tcp.accept() {
                    Ok((stream, client)) => self.welcome(now, stream, client),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.clients[index].tcp_ready = false,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        // No descriptors, most likely: the listener stays readable and is tried again.
                        tracing::warn!(%error, "cannot accept a connection");
                        self.accept_at = Some(now + ACCEPT_PAUSE);
                        return;
                    }
                }
            }
        }
    }

    fn welcome(&mut self, now: Instant, mut stream: TcpStream, client: SocketAddr) {
        let server = stream.local_addr().ok().filter(|_| self.connections.has_room(client));
        let Some(server) = server else {
            self.stats.connections_refused += 1;
            return;
        };
        // Small frames must not wait for more of them.
        let _ = stream.set_nodelay(true);
        // What waits in the kernel cannot be dropped for something newer: keep it short.
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(KERNEL_QUEUE);
        let slot = self.connections.free_slot();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut stream, token(CONNECTION, slot), interest).is_err() {
            self.connections.free.push(slot);
            return;
        }
        let tuple = FiveTuple { transport: Transport::Tcp, client, server };
        // The kernel gives a 4-tuple again when its connection is gone, whether that was noticed here or not.
        if let Some(older) = self.connections.of(tuple) {
            self.close(now, older);
        }
        let proxied = self.shared.proxies.load().contains(client.ip());
        self.connections.insert(slot, stream, tuple, proxied, now);
    }

    pub(super) fn read_streams(&mut self, now: Instant, scratch: &mut [u8]) {
        for _ in 0..self.connections.readable.len() {
            let Some(slot) = self.connections.readable.pop_front() else { break };
            if let Some(connection) = self.connections.get_mut(slot) {
                connection.readable = false;
                self.read_stream(now, slot, scratch);
            }
        }
    }

    fn read_stream(&mut self, now: Instant, slot: usize, scratch: &mut [u8]) {
        let encryption = self.shared.encryption.load();
        let tls = encryption.as_ref().map(|encryption| &encryption.tls);
        for _ in 0..READ_BUDGET {
            let Some(connection) = self.connections.get_mut(slot) else { return };
            let opening = connection.is_opening();
            let joined = connection.joined;
            if joined.is_some_and(|peer| !self.peer_takes(now, peer)) {
                // Read again when the peer has taken what waits, and the limits let it.
                return;
            }
            let Some(connection) = self.connections.get_mut(slot) else { return };
            // As much as may wait for a peer, at most.
            let room = if joined.is_some() { scratch.len().min(super::pump::LIMIT) } else { scratch.len() };
            let outcome = connection.read(&mut scratch[..room], tls);
            // A handshake is answered although no message has come.
            self.connections.mark_dirty(slot);
            let good = match outcome {
                ReadOutcome::Filled(length) => match joined {
                    Some(peer) => {
                        self.carry_stream(now, peer, &scratch[..length]);
                        true
                    }
                    None => self.take_frames(now, slot, &scratch[..length]),
                },
                ReadOutcome::Renamed(tuple) => {
                    // Nobody has two connections from one address to one: an older one is a proxy's that has gone.
                    if let Some(older) = self.connections.of(tuple).filter(|older| *older != slot) {
                        self.close(now, older);
                    }
                    self.connections.rename(slot, tuple)
                }
                ReadOutcome::Later => true,
                ReadOutcome::Nothing => return,
                ReadOutcome::Closed if let Some(peer) = joined => return self.client_ended(peer),
                ReadOutcome::Broken if let Some(peer) = joined => return self.part(now, peer),
                ReadOutcome::Closed | ReadOutcome::Broken => {
                    self.stats.connections_refused += u64::from(opening);
                    return self.close(now, slot);
                }
            };
            if !good {
                self.stats.connections_refused += 1;
                return self.close(now, slot);
            }
        }
        // More may wait, and others too.
        self.connections.mark_readable(slot);
    }

    /// Serves all whole frames; `false`: this is no client of ours.
    fn take_frames(&mut self, now: Instant, slot: usize, bytes: &[u8]) -> bool {
        let mut at = 0;
        loop {
            let Some(connection) = self.connections.get_mut(slot) else { return true };
            if let Some(peer) = connection.joined {
                self.carry_stream(now, peer, &bytes[at..]);
                return true;
            }
            match connection.first_frame(&bytes[at..]) {
                Ok(Some(frame)) => {
                    connection.watch.last_heard = now;
                    let tuple = connection.tuple;
                    self.serve_client(now, tuple, &bytes[at..at + frame.len]);
                    at += frame.consumed;
                }
                Ok(None) => {
                    connection.keep(&bytes[at..]);
                    return !connection.outbox.is_stuck();
                }
                Err(error) => {
                    tracing::debug!(client = %Address(connection.tuple.client), %error, "connection closed");
                    return false;
                }
            }
        }
    }

    pub(super) fn close(&mut self, now: Instant, slot: usize) {
        if let Some(connection) = self.connections.remove(slot) {
            if let Some(peer) = connection.joined {
                // Before somebody else has this slot.
                self.part_from(now, peer, slot);
            }
            if !self.disconnected_elsewhere(connection.tuple) {
                self.server.handle_disconnected(connection.tuple);
            }
            connection.farewell();
            self.execute(now);
        }
    }

    pub(super) fn write_streams(&mut self, now: Instant) {
        let dirty = std::mem::take(&mut self.connections.dirty);
        let mut broken = Vec::new();
        for slot in &dirty {
            if let Some(connection) = self.connections.get_mut(*slot) {
                connection.dirty = false;
                match (connection.write().is_err(), connection.joined) {
                    // Nobody takes what the peer says any more, whatever may still be read.
                    (true, Some(peer)) => broken.push(peer),
                    // A broken stream shows itself at the next read.
                    (true, None) => self.connections.mark_readable(*slot),
                    // There may be room for more of the peer.
                    (false, Some(peer)) => self.streams.mark(peer),
                    (false, None) => {}
                }
            }
        }
        // What is marked meanwhile is for the next turn.
        let mut emptied = dirty;
        emptied.clear();
        emptied.append(&mut self.connections.dirty);
        self.connections.dirty = emptied;
        broken.into_iter().for_each(|peer| self.part(now, peer));
    }

    /// Closes connections that neither speak nor have an allocation: open sockets are what a flood is after.
    pub(super) fn end_silent_connections(&mut self, now: Instant) {
        while let Some(deadline) = self.connections.openings.pop_due(now) {
            if self.connections.meant(deadline).is_some_and(|connection| connection.is_opening()) {
                self.stats.connections_refused += 1;
                self.close(now, deadline.slot);
            }
        }
        while let Some(slot) = self.connections.next_silent(now) {
            self.stats.connections_refused += 1;
            self.close(now, slot);
        }
    }
}
