//! Bytes between a client's connection and a peer's (RFC 6062 section 5.4): as much as the slower end takes, in both
//! directions for themselves, and as the limits let it. Nothing is dropped: who is slow is not read for, nor who is
//! beyond a limit.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::time::Instant;

use mio::net::TcpStream;
use turn::{ConnectionId, Direction, Join};

use super::super::steering::Steered;
use super::Worker;

/// Bytes that may wait for either end.
pub(super) const LIMIT: usize = 64 << 10;
/// Reads of one peer in a turn.
const READ_BUDGET: usize = 4;
/// Bytes after which another worker is told what was carried.
const REPORT: u64 = 64 << 10;

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
        let Some((client, _)) = stream.joined else { return };
        let moved = self.move_bytes(now, slot, client, scratch);
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let told = stream.peer_told && stream.client_told;
        // TLS may still have its good-bye to send.
        let over = told && self.connections.waiting(client) == 0;
        if moved.is_err() || over {
            return self.part(now, slot);
        }
        // Our own allocation is told at once: its end says what it carried.
        let carried = stream.usage.to_peers.bytes + stream.usage.to_client.bytes;
        if carried > REPORT || (carried > 0 && stream.home == self.index) {
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
    fn move_bytes(&mut self, now: Instant, slot: usize, client: usize, scratch: &mut [u8]) -> io::Result<()> {
        let mut held = false;
        for _ in 0..READ_BUDGET {
            let Some(stream) = self.streams.get_mut(slot) else { return Ok(()) };
            let room = LIMIT.saturating_sub(self.connections.waiting(client));
            if stream.peer_ended || !stream.readable || room == 0 {
                break;
            }
            held = !self.may_flow(now, slot, Direction::ToClient);
            if held {
                break;
            }
            let Some(stream) = self.streams.get_mut(slot) else { return Ok(()) };
            match stream.stream.read(&mut scratch[..room]) {
                Ok(0) => stream.peer_ended = true,
                Ok(length) => {
                    self.flowed(now, slot, Direction::ToClient, length);
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
        if more && !held && self.connections.waiting(client) < LIMIT {
            self.streams.mark(slot);
        }
        Ok(())
    }

    /// Whether the limits let more bytes be read now; if not, the stream is tried again later.
    fn may_flow(&mut self, now: Instant, slot: usize, direction: Direction) -> bool {
        let Some((_, meter)) = self.streams.get_mut(slot).and_then(|stream| stream.joined.as_ref()) else {
            return true;
        };
        let may = self.server.may_flow(now, direction, meter);
        if !may {
            self.streams.pause(slot, now);
        }
        may
    }

    /// Charges bytes and counts them.
    fn flowed(&mut self, now: Instant, slot: usize, direction: Direction, bytes: usize) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let flow = match direction {
            Direction::ToPeers => &mut stream.usage.to_peers,
            Direction::ToClient => &mut stream.usage.to_client,
        };
        flow.packets += 1;
        flow.bytes += bytes as u64;
        if let Some((_, meter)) = &stream.joined {
            self.server.handle_flow(now, direction, meter, bytes);
        }
    }

    /// Whether a client may be read for its peer now. If not, its connection is marked when it may.
    pub(super) fn peer_takes(&mut self, now: Instant, slot: usize) -> bool {
        let room = self.streams.get_mut(slot).is_none_or(|stream| stream.out.len() < LIMIT);
        room && self.may_flow(now, slot, Direction::ToPeers)
    }

    /// Bytes of a client for its peer.
    pub(super) fn carry_stream(&mut self, now: Instant, slot: usize, bytes: &[u8]) {
        self.flowed(now, slot, Direction::ToPeers, bytes.len());
        if let Some(stream) = self.streams.get_mut(slot) {
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
    pub(super) fn join(&mut self, now: Instant, id: ConnectionId, join: Join) {
        let Some(slot) = self.streams.slot_of(id) else { return self.server.handle_stream_closed(id) };
        let Some(hearing) = self.steering_of(join.client) else { return self.join_here(now, slot, join) };
        let Some(mut stream) = self.streams.remove(slot) else { return };
        let _ = self.poll.registry().deregister(&mut stream.stream);
        self.streams.lent.insert(id, hearing);
        let home = self.index;
        self.tell(hearing, Steered::Join { id, stream: stream.stream, home, join });
    }

    /// The same for a connection of another worker's allocation.
    pub(super) fn join_lent(&mut self, now: Instant, (id, stream, home): (ConnectionId, TcpStream, u8), join: Join) {
        match self.take_in(id, stream, home, false) {
            Ok(slot) => self.join_here(now, slot, join),
            Err(error) => {
                tracing::warn!(%error, "a peer's connection cannot be polled");
                self.tell(home, Steered::StreamClosed { id });
            }
        }
    }

    fn join_here(&mut self, now: Instant, slot: usize, Join { client, answer, meter }: Join) {
        let connection = self.connections.of(client);
        let joined = connection.and_then(|connection| Some((connection, self.connections.join(connection, slot)?)));
        let Some((connection, early)) = joined else { return self.part(now, slot) };
        // The answer goes before everything that the peer says.
        self.connections.push_control(connection, &answer);
        self.connections.set_allocated(client, true, now);
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.joined = Some((connection, meter));
        }
        if !early.is_empty() {
            self.carry_stream(now, slot, &early);
        }
        self.streams.mark(slot);
    }

    /// Ends a peer's connection, and its client's.
    pub(super) fn part(&mut self, now: Instant, slot: usize) {
        self.count_stream(slot);
        let Some(stream) = self.streams.remove(slot) else { return };
        if !stream.out.is_empty() {
            // The peer must not take what it has for all of it.
            let _ = socket2::SockRef::from(&stream.stream).set_linger(Some(std::time::Duration::ZERO));
        }
        if stream.home == self.index {
            self.server.handle_stream_closed(stream.id);
        } else {
            self.tell(stream.home, Steered::StreamClosed { id: stream.id });
        }
        if let Some((client, _)) = stream.joined {
            self.close(now, client);
        }
        self.execute(now);
    }

    /// Ends a peer's connection whose client's, which was in this slot, is gone.
    pub(super) fn part_from(&mut self, now: Instant, slot: usize, client: usize) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        if stream.joined.take_if(|(joined, _)| *joined == client).is_some() {
            self.part(now, slot);
        }
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
