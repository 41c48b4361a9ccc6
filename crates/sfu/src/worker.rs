//! The core of one worker thread: its rooms, and the way of every datagram to one of them and back.
//!
//! ```text
//! handle_command ─┐                          ┌─ Reply, Event, Text ─► shell ─► WebSocket
//! handle_datagram ┼─► Worker ─ poll_output ──┤
//! handle_timeout ─┘                          └─ Transmit ─► socket
//! ```
//! Packets for receivers are collected while datagrams come in and are encrypted when `poll_output` is first asked after
//! them: a batch of datagrams costs each receiver one round through its engine.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::command::Command;
use crate::context::Context;
use crate::demux::TransportId;
use crate::engine::{Certificate, Path, Protocol};
use crate::error::Error;
use crate::event::{Event, LeftWhy, Success};
use crate::id::{ParticipantId, RequestId, RoomId};
use crate::room::Room;

/// How often rooms look at key frame requests, speakers and layers.
const TICK: Duration = Duration::from_millis(50);

/// What a worker is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Put into every answer, best first.
    pub candidates: Vec<(Protocol, SocketAddr)>,
    /// Which worker this is, from 0.
    pub worker: u8,
    /// How many there are.
    pub workers: u8,
}

/// What came of something.
#[derive(Debug)]
pub enum Output {
    /// A datagram for the network.
    Transmit {
        /// From where, to whom, how.
        path: Path,
        /// What.
        bytes: Vec<u8>,
    },
    /// The one reply to a command.
    Reply {
        /// Which command.
        request: RequestId,
        /// What it achieved, or why it was refused.
        result: Result<Success, Error>,
    },
    /// Something that a participant must hear of.
    Event {
        /// Who.
        participant: ParticipantId,
        /// What.
        event: Event,
    },
    /// A text that a participant sent over its data channel: a rooms/1 frame, not read here.
    Text {
        /// Who.
        participant: ParticipantId,
        /// The text; at most as long as SCTP lets it be.
        text: String,
    },
}

/// What was done and what went wrong, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams for nobody: unknown user name or address pair.
    pub unrouted: u64,
    /// Media packets from publishers.
    pub packets_in: u64,
    /// Media packets to receivers, without retransmissions.
    pub packets_out: u64,
    /// Payload bytes to receivers.
    pub bytes_out: u64,
    /// Packets dropped because their track is muted, or is none.
    pub packets_dropped: u64,
    /// Key frames asked of publishers.
    pub key_frame_requests: u64,
    /// Transports opened.
    pub transports_opened: u64,
    /// Transports that finished ICE and DTLS.
    pub transports_connected: u64,
    /// Transports whose engine gave up.
    pub transports_failed: u64,
    /// Engine panics; each cost one transport.
    pub panics: u64,
    /// Unreliable messages dropped because a channel was full.
    pub messages_dropped: u64,
}

/// What there is now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Rooms.
    pub rooms: usize,
    /// Participants, hidden ones too.
    pub participants: usize,
    /// Transports.
    pub transports: usize,
    /// Tracks.
    pub tracks: usize,
    /// Entries of the table that finds a transport.
    pub routes: usize,
}

/// The core.
pub struct Worker {
    context: Context,
    rooms: BTreeMap<RoomId, Room>,
    participants: BTreeMap<ParticipantId, RoomId>,
    transports: BTreeMap<TransportId, RoomId>,
    tick: Option<Instant>,
}

impl Worker {
    /// A worker without rooms; `None`: no certificate can be made (the crypto library refuses).
    pub fn new(config: Config, now: Instant) -> Option<Self> {
        Some(Self {
            context: Context::new(config, Certificate::generate()?, now),
            rooms: BTreeMap::new(),
            participants: BTreeMap::new(),
            transports: BTreeMap::new(),
            tick: None,
        })
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.context.counters
    }

    /// What there is now.
    pub fn load(&self) -> Load {
        Load {
            rooms: self.rooms.len(),
            participants: self.participants.len(),
            transports: self.transports.len(),
            tracks: self.rooms.values().map(Room::track_count).sum(),
            routes: self.context.demux.len(),
        }
    }

    /// Takes a command; its reply and events are outputs.
    pub fn handle_command(&mut self, command: Command, now: Instant) {
        self.advance(now);
        if let Some((request, result)) = self.command(command) {
            self.context.outputs.push_back(Output::Reply { request, result });
        }
        self.settle();
        let busy = self.rooms.values().any(|room| room.track_count() > 0);
        self.tick = if busy { self.tick.or(Some(now + TICK)) } else { None };
    }

    /// Takes a datagram from the network.
    pub fn handle_datagram(&mut self, path: Path, bytes: &[u8], now: Instant) {
        self.advance(now);
        let Some(transport) = self.context.demux.route(path, bytes, now) else {
            self.context.counters.unrouted += 1;
            return;
        };
        if let Some(room) = self.transports.get(&transport).and_then(|room| self.rooms.get_mut(room)) {
            room.handle_datagram(transport, path, bytes, &mut self.context);
        }
        self.settle();
    }

    /// Time has passed; due at [`Worker::poll_timeout`], harmless earlier.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        while let Some((at, transport)) = self.context.due() {
            if let Some(room) = self.transports.get(&transport).and_then(|room| self.rooms.get_mut(room)) {
                room.handle_timeout(transport, at, &mut self.context);
            }
        }
        if self.tick.is_some_and(|tick| tick <= now) {
            self.tick = Some(now + TICK);
            self.rooms.values_mut().for_each(|room| room.handle_tick(&mut self.context));
        }
        self.settle();
    }

    /// When [`Worker::handle_timeout`] is due; `None`: nothing goes on.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.context.next_due(), self.tick].into_iter().flatten().min()
    }

    /// Closes every room: everybody is told, every transport says goodbye.
    pub fn close(&mut self, now: Instant) {
        self.advance(now);
        let rooms: Vec<RoomId> = self.rooms.keys().copied().collect();
        rooms.into_iter().for_each(|room| self.close_room(room));
        self.settle();
    }

    /// The next output, if there is one.
    pub fn poll_output(&mut self) -> Option<Output> {
        if self.context.outputs.is_empty() {
            self.flush();
        }
        self.context.outputs.pop_front()
    }

    fn advance(&mut self, now: Instant) {
        self.context.now = self.context.now.max(now);
    }

    /// Sends what was queued for receivers.
    fn flush(&mut self) {
        for transport in std::mem::take(&mut self.context.touched) {
            if let Some(room) = self.transports.get(&transport).and_then(|room| self.rooms.get_mut(room)) {
                room.flush(transport, &mut self.context);
            }
        }
        self.settle();
    }

    /// Follows transports that ended by themselves.
    fn settle(&mut self) {
        for transport in std::mem::take(&mut self.context.died) {
            self.transports.remove(&transport);
            self.context.demux.remove(transport);
        }
    }

    fn command(&mut self, command: Command) -> Option<(RequestId, Result<Success, Error>)> {
        match command {
            Command::OpenRoom { room, settings } => {
                self.rooms.entry(room).or_insert_with(|| Room::new(settings));
                None
            }
            Command::UpdateRoom { room, settings } => {
                if let Some(room) = self.rooms.get_mut(&room) {
                    room.update(settings, &mut self.context);
                }
                None
            }
            Command::CloseRoom { room } => {
                self.close_room(room);
                None
            }
            Command::Join { request, room, participant, name, permissions, offer } => {
                let result = if self.participants.contains_key(&participant) {
                    Err(Error::AlreadyInRoom(participant))
                } else {
                    self.in_room(room, |room, context| room.join(participant, name, permissions, offer, context))
                };
                if result.is_ok() {
                    self.participants.insert(participant, room);
                }
                Some((request, result))
            }
            Command::Leave { participant } => {
                self.leave(participant, None);
                None
            }
            Command::Kick { request, by, room, participant } => {
                let result = self.in_room(room, |room, _| room.may_kick(by, participant));
                if result.is_ok() {
                    self.leave(participant, Some(LeftWhy::Kicked));
                }
                Some((request, result.map(|()| Success::Done)))
            }
            Command::ModerateMute { request, by, room, track, muted } => {
                Some((request, self.in_room(room, |room, context| room.moderate_mute(by, track, muted, context))))
            }
            Command::Snapshot { request, room } => Some((request, self.in_room(room, |room, _| Ok(room.snapshot())))),
            other => self.of_participant(other),
        }
    }

    /// Commands that name who asks.
    fn of_participant(&mut self, command: Command) -> Option<(RequestId, Result<Success, Error>)> {
        Some(match command {
            Command::Offer { request, participant: p, offer } => {
                (request, self.with(p, |room, context| room.offer(p, offer, context)))
            }
            Command::Subscribe { request, participant: p, wishes } => {
                (request, self.with(p, |room, context| room.subscribe(p, &wishes, context)))
            }
            Command::Mute { request, participant: p, track, muted } => {
                (request, self.with(p, |room, context| room.mute(p, track, muted, context)))
            }
            Command::Message { request, from, to, topic, data, unreliable } => {
                let message = crate::room::Message { topic, data, unreliable };
                (request, self.with(from, |room, context| room.message(from, &to, &message, context)))
            }
            Command::Signal { request, from, to, body } => {
                (request, self.with(from, |room, context| room.signal(from, to, body, context)))
            }
            _ => return None,
        })
    }

    fn with<R>(
        &mut self,
        participant: ParticipantId,
        run: impl FnOnce(&mut Room, &mut Context) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let room = *self.participants.get(&participant).ok_or(Error::PeerNotFound(participant))?;
        self.in_room(room, run)
    }

    fn in_room<R>(
        &mut self,
        id: RoomId,
        run: impl FnOnce(&mut Room, &mut Context) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let room = self.rooms.get_mut(&id).ok_or(Error::RoomNotFound)?;
        let result = run(room, &mut self.context);
        for transport in std::mem::take(&mut self.context.born) {
            self.transports.insert(transport, id);
        }
        result
    }

    fn leave(&mut self, participant: ParticipantId, why: Option<LeftWhy>) {
        let Some(room) = self.participants.remove(&participant) else { return };
        if let Some(room) = self.rooms.get_mut(&room) {
            room.leave(participant, why, &mut self.context);
        }
    }

    fn close_room(&mut self, id: RoomId) {
        let Some(mut room) = self.rooms.remove(&id) else { return };
        for participant in room.participants() {
            self.participants.remove(&participant);
            room.leave(participant, Some(LeftWhy::RoomClosed), &mut self.context);
        }
    }
}
