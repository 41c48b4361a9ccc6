//! Bytes between a client's connection and a peer's (RFC 6062 section 5.4): as much as the slower end takes, in both
//! directions for themselves. Nothing is dropped: who is slow is not read for.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::time::Instant;

use mio::net::TcpStream;
use turn::{ConnectionId, FiveTuple};

use super::super::steering::Steered;
use super::Worker;

/// Bytes that may wait for either end.
const LIMIT: usize = 64 << 10;
/// Reads of one peer in a turn.
const READ_BUDGET: usize = 4;
/// Bytes after which another worker is told what was carried.
const REPORT: u64 = 1 << 20;

impl Worker {
    /// What came and went at the connections of peers.
    pub(super) fn pump_streams(&mut self, now: Instant, scratch: &mut [u8]) {
        for _ in 0..self.streams.count_ready() {
            let Some(slot) = self.streams.next_ready() else { break };
            self.pump(now, slot, scratch);
        }
    }

    fn pump(&mut self, now: Instant, slot: usize, scratch: &mut [u8]) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        if stream.connecting {
            return self.finish_connecting(now, slot);
        }
        let Some(client) = stream.client else { return };
        let moved = self.move_bytes(slot, client, scratch);
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let told = stream.peer_told && stream.client_told;
        // TLS may still have its good-bye to send.
        let over = told && self.connections.waiting(client) == 0;
        if moved.is_err() || over {
            return self.part(now, slot);
        }
        if stream.usage.to_peers.bytes + stream.usage.to_client.bytes > REPORT {
            self.count_stream(slot);
        }
    }

    fn finish_connecting(&mut self, now: Instant, slot: usize) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let id = stream.id;
        let failed = stream.stream.take_error().is_ok_and(|error| error.is_some());
        match stream.stream.peer_addr() {
            Ok(_) if !failed => {
                stream.connecting = false;
                self.server.handle_connected(now, id, true);
            }
            // The kernel still tries.
            Err(error) if error.kind() == io::ErrorKind::NotConnected && !failed => return,
            _ => {
                self.streams.remove(slot);
                self.server.handle_connected(now, id, false);
            }
        }
        self.execute(now);
    }

    /// Both directions, as far as the ends let it.
    fn move_bytes(&mut self, slot: usize, client: usize, scratch: &mut [u8]) -> io::Result<()> {
        for _ in 0..READ_BUDGET {
            let Some(stream) = self.streams.get_mut(slot) else { return Ok(()) };
            let room = LIMIT.saturating_sub(self.connections.waiting(client));
            if stream.peer_ended || !stream.readable || room == 0 {
                break;
            }
            match stream.stream.read(&mut scratch[..room]) {
                Ok(0) => stream.peer_ended = true,
                Ok(length) => {
                    stream.usage.to_client.packets += 1;
                    stream.usage.to_client.bytes += length as u64;
                    self.connections.push_control(client, &scratch[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let Some(stream) = self.streams.get_mut(slot) else { return Ok(()) };
        let was_full = stream.out.len() >= LIMIT;
        while !stream.out.is_empty() {
            let (first, _) = stream.out.as_slices();
            match stream.stream.write(first) {
                Ok(written) => drop(stream.out.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if stream.client_ended && stream.out.is_empty() && !stream.peer_told {
            stream.peer_told = true;
            stream.stream.shutdown(Shutdown::Write)?;
        }
        let (more, peer_ended, client_told) =
            (stream.readable && !stream.peer_ended, stream.peer_ended, stream.client_told);
        if was_full && stream.out.len() < LIMIT {
            self.connections.mark_readable(client);
        }
        if peer_ended && !client_told && self.connections.waiting(client) == 0 {
            self.connections.end_writing(client);
            if let Some(stream) = self.streams.get_mut(slot) {
                stream.client_told = true;
            }
        }
        if more && self.connections.waiting(client) < LIMIT {
            self.streams.mark(slot);
        }
        Ok(())
    }

    /// Whether a client may be read for its peer now.
    pub(super) fn peer_has_room(&mut self, slot: usize) -> bool {
        self.streams.get_mut(slot).is_none_or(|stream| stream.out.len() < LIMIT)
    }

    /// Bytes of a client for its peer.
    pub(super) fn carry_stream(&mut self, slot: usize, bytes: &[u8]) {
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.usage.to_peers.packets += 1;
            stream.usage.to_peers.bytes += bytes.len() as u64;
            stream.out.extend(bytes);
        }
        self.streams.mark(slot);
    }

    /// A client will send nothing more.
    pub(super) fn client_ended(&mut self, slot: usize) {
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.client_ended = true;
        }
        self.streams.mark(slot);
    }

    /// Joins a peer's connection of ours with its client's, here or at the worker that has it.
    pub(super) fn join(&mut self, now: Instant, id: ConnectionId, client: FiveTuple, answer: Vec<u8>) {
        let Some(slot) = self.streams.slot_of(id) else { return self.server.handle_stream_closed(id) };
        let Some(hearing) = self.steering_of(client) else { return self.join_here(now, slot, client, &answer) };
        let Some(mut stream) = self.streams.remove(slot) else { return };
        let _ = self.poll.registry().deregister(&mut stream.stream);
        self.streams.lent.insert(id, hearing);
        let home = self.index;
        self.tell(hearing, Steered::Join { client, id, stream: stream.stream, home, answer });
    }

    /// The same for a connection of another worker's allocation.
    pub(super) fn join_lent(
        &mut self,
        now: Instant,
        (id, stream, home): (ConnectionId, TcpStream, u8),
        client: FiveTuple,
        answer: &[u8],
    ) {
        match self.take_in(id, stream, home, false) {
            Ok(slot) => self.join_here(now, slot, client, answer),
            Err(error) => {
                tracing::warn!(%error, "a peer's connection cannot be polled");
                self.tell(home, Steered::StreamClosed { id });
            }
        }
    }

    fn join_here(&mut self, now: Instant, slot: usize, client: FiveTuple, answer: &[u8]) {
        let Some(connection) = self.connections.of(client) else { return self.part(now, slot) };
        // The answer goes before everything that the peer says.
        self.connections.push_control(connection, answer);
        self.connections.join(connection, slot);
        self.connections.set_allocated(client, true, now);
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.client = Some(connection);
        }
        self.streams.mark(slot);
    }

    /// Ends a peer's connection, and its client's.
    pub(super) fn part(&mut self, now: Instant, slot: usize) {
        self.count_stream(slot);
        let Some(stream) = self.streams.remove(slot) else { return };
        if stream.home == self.index {
            self.server.handle_stream_closed(stream.id);
        } else {
            self.tell(stream.home, Steered::StreamClosed { id: stream.id });
        }
        if let Some(client) = stream.client {
            self.close(now, client);
        }
        self.execute(now);
    }

    /// Ends a connection at the core's wish, wherever it is.
    pub(super) fn close_stream(&mut self, now: Instant, id: ConnectionId) {
        match self.streams.lent.remove(&id) {
            Some(worker) => self.tell(worker, Steered::CloseStream { id }),
            None => {
                if let Some(slot) = self.streams.slot_of(id) {
                    self.part(now, slot);
                }
            }
        }
    }

    /// Tells the core what a connection carried.
    fn count_stream(&mut self, slot: usize) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let (id, home, usage) = (stream.id, stream.home, std::mem::take(&mut stream.usage));
        if home == self.index {
            self.server.handle_stream_usage(id, usage);
        } else {
            self.tell(home, Steered::StreamUsage { id, usage });
        }
    }
}
