//! What all rooms of a worker share: the outputs, the tables that find a transport, the identifiers, the limits.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use crate::demux::{Demux, TransportId};
use crate::engine::{Certificate, Protocol};
use crate::event::Event;
use crate::id::{ParticipantId, TrackId};
use crate::room::Leg;
use crate::worker::{Config, Counters, Output};

/// Handed to a room with every call.
pub(crate) struct Context {
    pub(crate) now: Instant,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) demux: Demux,
    pub(crate) counters: Counters,
    pub(crate) certificate: Certificate,
    pub(crate) candidates: Vec<(Protocol, SocketAddr)>,
    /// Transports with packets to flush or outputs to take.
    pub(crate) touched: Vec<TransportId>,
    /// Transports that came and went since the worker last looked.
    pub(crate) born: Vec<TransportId>,
    pub(crate) died: Vec<TransportId>,
    timers: BinaryHeap<Reverse<(Instant, TransportId)>>,
    next_transport: u64,
    next_track: u64,
    track_step: u64,
}

impl Context {
    pub(crate) fn new(config: Config, certificate: Certificate, now: Instant) -> Self {
        Self {
            now,
            outputs: VecDeque::new(),
            demux: Demux::default(),
            counters: Counters::default(),
            certificate,
            candidates: config.candidates,
            touched: Vec::new(),
            born: Vec::new(),
            died: Vec::new(),
            timers: BinaryHeap::new(),
            next_transport: 0,
            next_track: u64::from(config.worker) + 1,
            track_step: u64::from(config.workers.max(1)),
        }
    }

    pub(crate) fn event(&mut self, participant: ParticipantId, event: Event) {
        self.outputs.push_back(Output::Event { participant, event });
    }

    pub(crate) fn new_track(&mut self) -> TrackId {
        let id = TrackId(self.next_track);
        self.next_track += self.track_step;
        id
    }

    pub(crate) fn new_transport(&mut self) -> TransportId {
        self.next_transport += 1;
        let id = TransportId(self.next_transport);
        self.born.push(id);
        id
    }

    /// Has a transport's packets sent and its outputs taken, soon; not now, since its outputs may be why we are here.
    pub(crate) fn touch(&mut self, leg: &mut Leg) {
        if !leg.touched {
            leg.touched = true;
            self.touched.push(leg.id);
        }
    }

    /// Wakes a transport at `at`; an earlier wish of it stays.
    pub(crate) fn schedule(&mut self, at: Instant, transport: TransportId) {
        self.timers.push(Reverse((at, transport)));
    }

    /// The next transport that is due.
    pub(crate) fn due(&mut self) -> Option<(Instant, TransportId)> {
        let Reverse((at, _)) = *self.timers.peek()?;
        if at > self.now {
            return None;
        }
        self.timers.pop().map(|Reverse(timer)| timer)
    }

    /// When the next transport is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }
}
