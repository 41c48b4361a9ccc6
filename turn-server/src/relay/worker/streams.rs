//! The connections of peers to this worker's TCP allocations (RFC 6062): made, accepted, and kept until their client comes
//! for them. Moving bytes is `pump`'s.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::Interest;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use service::log::Address;
use socket2::{Domain, Protocol, Socket, Type};
use turn::{AllocationId, ConnectionId, Meter, Usage};

use super::{LISTENER, STREAM, Worker, token};

/// Peers that may wait to be accepted at one relayed address.
const BACKLOG: i32 = 16;
/// Peers to accept at one relayed address in a turn.
const ACCEPT_BUDGET: usize = 16;
/// How long bytes wait that are beyond a limit.
const PAUSE: Duration = Duration::from_millis(10);

/// The connection of a peer.
pub(super) struct PeerStream {
    pub(super) id: ConnectionId,
    pub(super) stream: TcpStream,
    /// Which worker has the allocation.
    pub(super) home: u8,
    /// The client's connection that it is joined with, and whom their bytes are charged to.
    pub(super) joined: Option<(usize, Meter)>,
    /// The kernel has not said yet whether the peer took it.
    pub(super) connecting: bool,
    pub(super) readable: bool,
    /// What waits to be written to the peer.
    pub(super) out: VecDeque<u8>,
    /// Who has said that nothing more will come, and who has been told so.
    pub(super) peer_ended: bool,
    pub(super) client_ended: bool,
    pub(super) peer_told: bool,
    pub(super) client_told: bool,
    /// What it carried and nobody has counted yet.
    pub(super) usage: Usage,
    marked: bool,
    paused: bool,
}

/// A relayed address that peers connect to.
struct Listening {
    allocation: AllocationId,
    listener: TcpListener,
}

/// See the module.
#[derive(Default)]
pub(super) struct Streams {
    slots: Vec<Option<PeerStream>>,
    free: Vec<usize>,
    by_id: HashMap<ConnectionId, usize>,
    ready: VecDeque<usize>,
    /// Those that are beyond a limit, and when to try again.
    paused: VecDeque<(Instant, usize)>,
    listeners: HashMap<usize, Listening>,
    listeners_ready: VecDeque<usize>,
    /// Those that found no descriptor, and when to try again.
    listeners_paused: VecDeque<(Instant, usize)>,
    /// Connections of our allocations that another worker has, because it has the client's.
    pub(super) lent: HashMap<ConnectionId, u8>,
}

/// A socket for one end of connections at a relayed address: listening and connecting share the port.
fn open(local: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(local), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if local.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&local.into())?;
    Ok(socket)
}

/// Listens at a relayed address.
///
/// # Errors
/// What the system says; a port that another program has is `AddrInUse`.
pub(in super::super) fn listen(local: SocketAddr) -> io::Result<TcpListener> {
    // A socket that shares its port finds out nothing about other programs: one that does not looks first.
    drop(std::net::TcpListener::bind(local)?);
    let socket = open(local)?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

impl Streams {
    pub(super) fn any_ready(&self) -> bool {
        !self.ready.is_empty() || !self.listeners_ready.is_empty()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut PeerStream> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub(super) fn slot_of(&self, id: ConnectionId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn next_ready(&mut self) -> Option<usize> {
        let slot = self.ready.pop_front()?;
        if let Some(stream) = self.get_mut(slot) {
            stream.marked = false;
        }
        Some(slot)
    }

    pub(super) fn count_ready(&self) -> usize {
        self.ready.len()
    }

    /// There is something to do for a stream.
    pub(super) fn mark(&mut self, slot: usize) {
        if let Some(stream) = self.get_mut(slot)
            && !stream.marked
        {
            stream.marked = true;
            self.ready.push_back(slot);
        }
    }

    /// Nothing is read at either end for a while: what came is beyond a limit.
    pub(super) fn pause(&mut self, slot: usize, now: Instant) {
        if let Some(stream) = self.get_mut(slot)
            && !stream.paused
        {
            stream.paused = true;
            self.paused.push_back((now + PAUSE, slot));
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.paused.front().into_iter().chain(self.listeners_paused.front()).map(|(at, _)| *at).min()
    }

    /// A stream that has been paused for long enough; both its ends are to be tried.
    fn next_rested(&mut self, now: Instant) -> Option<usize> {
        self.paused.pop_front_if(|(at, _)| *at <= now).map(|(_, slot)| slot)
    }

    pub(super) fn mark_event(&mut self, slot: usize, event: &Event) {
        if let Some(stream) = self.get_mut(slot) {
            stream.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        }
        self.mark(slot);
    }

    pub(super) fn mark_listener(&mut self, place: usize) {
        if self.listeners.contains_key(&place) {
            self.listeners_ready.push_back(place);
        }
    }

    fn insert(&mut self, id: ConnectionId, stream: TcpStream, home: u8, connecting: bool) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.by_id.insert(id, slot);
        self.slots[slot] = Some(PeerStream {
            id,
            stream,
            home,
            joined: None,
            connecting,
            readable: true,
            out: VecDeque::new(),
            peer_ended: false,
            client_ended: false,
            peer_told: false,
            client_told: false,
            usage: Usage::default(),
            marked: false,
            paused: false,
        });
        slot
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<PeerStream> {
        let stream = self.slots.get_mut(slot)?.take()?;
        self.by_id.remove(&stream.id);
        self.free.push(slot);
        Some(stream)
    }
}

impl Worker {
    /// Polls the listener of a new TCP allocation.
    pub(super) fn open_listener(&mut self, allocation: AllocationId, mut listener: TcpListener) {
        let place = allocation.slot() as usize;
        if let Err(error) = self.poll.registry().register(&mut listener, token(LISTENER, place), Interest::READABLE) {
            tracing::warn!(%error, "a relayed listener cannot be polled");
        }
        self.streams.listeners.insert(place, Listening { allocation, listener });
        self.streams.mark_listener(place);
    }

    pub(super) fn close_listener(&mut self, allocation: AllocationId) {
        let place = allocation.slot() as usize;
        if self.streams.listeners.get(&place).is_some_and(|listening| listening.allocation == allocation) {
            self.streams.listeners.remove(&place);
        }
    }

    /// Begins a connection to a peer.
    pub(super) fn open_stream(&mut self, now: Instant, id: ConnectionId, local: SocketAddr, to: Option<SocketAddr>) {
        let Some(to) = to else { return self.server.handle_connected(now, id, false) };
        let begun = open(local).and_then(|socket| match socket.connect(&to.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
            _ => Ok(TcpStream::from_std(socket.into())),
        });
        match begun.and_then(|stream| self.take_in(id, stream, self.index, true)) {
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, peer = %Address(to), "no connection to a peer");
                self.server.handle_connected(now, id, false);
            }
        }
    }

    /// Polls the connection of a peer from now on.
    pub(super) fn take_in(
        &mut self,
        id: ConnectionId,
        mut stream: TcpStream,
        home: u8,
        connecting: bool,
    ) -> io::Result<usize> {
        // Whoever relays must not wait for more.
        let _ = stream.set_nodelay(true);
        let slot = self.streams.free.last().copied().unwrap_or(self.streams.slots.len());
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, token(STREAM, slot), interest)?;
        Ok(self.streams.insert(id, stream, home, connecting))
    }

    /// Tries those again that were beyond a limit.
    pub(super) fn resume_streams(&mut self, now: Instant) {
        while let Some((_, place)) = self.streams.listeners_paused.pop_front_if(|(at, _)| *at <= now) {
            self.streams.mark_listener(place);
        }
        while let Some(slot) = self.streams.next_rested(now) {
            let Some(stream) = self.streams.get_mut(slot) else { continue };
            stream.paused = false;
            if let Some((client, _)) = stream.joined {
                self.connections.mark_readable(client);
            }
            self.streams.mark(slot);
        }
    }

    /// Peers that connect to relayed addresses.
    pub(super) fn accept_peers(&mut self, now: Instant) {
        for _ in 0..self.streams.listeners_ready.len() {
            let Some(place) = self.streams.listeners_ready.pop_front() else { break };
            for round in 0..=ACCEPT_BUDGET {
                let Some(listening) = self.streams.listeners.get(&place) else { break };
                if round == ACCEPT_BUDGET {
                    self.streams.mark_listener(place);
                    break;
                }
                let allocation = listening.allocation;
                let (stream, from) = match listening.listener.accept() {
                    Ok(accepted) => accepted,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                    Err(_) => {
                        // No descriptors, most likely. Who waits makes no new event.
                        self.streams.listeners_paused.push_back((now + PAUSE, place));
                        break;
                    }
                };
                let context = turn::Context { now, open: &self.handover };
                if let Some(id) = self.server.handle_incoming(context, allocation, self.shared.known_as(from))
                    && self.take_in(id, stream, self.index, false).is_err()
                {
                    self.server.handle_stream_closed(id);
                }
                self.execute(now);
            }
        }
    }
}
