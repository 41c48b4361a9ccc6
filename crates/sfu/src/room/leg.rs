//! A transport of a participant as the room sees it: its slots, its published m-lines, its publisher's clock.

use std::time::{Duration, Instant};

use crate::clock::WallClock;
use crate::command::Source;
use crate::demux::TransportId;
use crate::engine::{Line, Mid, Packet, Transport};
use crate::event::{Slot as SlotEvent, Why};
use crate::id::{ParticipantId, TrackId};
use crate::rewrite::Rewriter;
use crate::simulcast::Layer;

/// How long after a beginning a request for a key frame means that it was missed.
const BEGINNING: Duration = Duration::from_millis(500);

/// A transport.
pub(crate) struct Leg {
    pub(crate) id: TransportId,
    pub(crate) owner: ParticipantId,
    /// The client's name for it.
    pub(crate) name: String,
    pub(crate) epoch: u64,
    pub(crate) only: Option<ParticipantId>,
    pub(crate) transport: Transport,
    pub(crate) lines: Vec<Line>,
    pub(crate) slots: Vec<Slot>,
    /// Which track arrives on which m-line.
    pub(crate) published: Vec<(Mid, TrackId)>,
    pub(crate) clock: WallClock,
    pub(crate) connected: bool,
    pub(crate) channel: bool,
    pub(crate) ufrag: String,
    /// Listed in [`crate::context::Context::touched`].
    pub(crate) touched: bool,
    /// The earliest wake-up in the timers.
    pub(crate) scheduled: Option<Instant>,
    /// What [`crate::Event::Need`] last said.
    pub(crate) needed: (u32, u32),
}

/// A receiving m-line.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) mid: Mid,
    pub(crate) line: usize,
    pub(crate) track: Option<(TrackId, ParticipantId)>,
    pub(crate) held: Option<Why>,
    /// The layer that should flow, and the one that does.
    pub(crate) target: Option<usize>,
    pub(crate) current: Option<usize>,
    /// When what flows began to, and whether that beginning was given again.
    began: Option<Instant>,
    replayed: bool,
    /// What the client was told last.
    told: Option<SlotEvent>,
    rewriter: Rewriter,
}

impl Slot {
    pub(crate) fn new(mid: Mid, line: usize) -> Self {
        let rewriter = Rewriter::default();
        Self {
            mid,
            line,
            track: None,
            held: None,
            target: None,
            current: None,
            began: None,
            replayed: false,
            told: None,
            rewriter,
        }
    }

    pub(crate) fn event(&self) -> SlotEvent {
        SlotEvent { mid: self.mid.to_string(), track: self.track, held: self.held.filter(|_| self.track.is_some()) }
    }

    /// What must be told, if it differs from what was; then it counts as told.
    pub(crate) fn news(&mut self) -> Option<SlotEvent> {
        let event = self.event();
        let blank = self.told.is_none() && event.track.is_none();
        if blank || self.told.as_ref() == Some(&event) {
            return None;
        }
        self.told = Some(event.clone());
        Some(event)
    }

    /// Whether the receiver can do nothing before a key frame of the target layer.
    pub(crate) fn waits(&self) -> bool {
        self.track.is_some() && self.held.is_none() && self.target.is_some() && self.current != self.target
    }

    /// Shows another track, or none.
    pub(crate) fn set_track(&mut self, track: Option<(TrackId, ParticipantId)>) {
        if self.track != track {
            self.track = track;
            (self.target, self.current) = (None, None);
        }
    }
}

impl Leg {
    /// Sends a packet of `layer` of the slot's track to the receiver, if that layer flows or may begin to. Returns how
    /// many packets were sent: with the first one of a key frame go those of it that came before.
    pub(crate) fn forward(&mut self, slot: usize, layer: (usize, &Layer), packet: &Packet, now: Instant) -> u64 {
        let Some(at) = self.slots.get_mut(slot) else { return 0 };
        if at.held.is_some() || !self.connected {
            return 0;
        }
        let (index, layer) = layer;
        if at.current == Some(index) {
            return u64::from(self.send(slot, packet));
        }
        let can_begin = self.lines.get(at.line).is_some_and(|line| line.audio) || packet.picture.starts_key;
        if at.target != Some(index) || !can_begin {
            return 0;
        }
        self.begin(slot, index, &[packet], now) + self.send_all(slot, &layer.recent.after(packet.sequence))
    }

    /// Begins with a layer at the first of these packets.
    pub(crate) fn begin(&mut self, slot: usize, layer: usize, packets: &[&Packet], now: Instant) -> u64 {
        let (Some(at), Some(first)) = (self.slots.get_mut(slot), packets.first()) else { return 0 };
        at.rewriter.switch(first);
        at.current = Some(layer);
        (at.began, at.replayed) = (Some(now), false);
        self.send_all(slot, packets)
    }

    /// Gives a receiver that missed its beginning (it was not ready to decrypt, say) the same once more. 0: it began
    /// long ago or had its second chance; then only a new key frame helps, old pictures would be seen twice. A recorder
    /// would write them twice, each time.
    pub(crate) fn replay(&mut self, slot: usize, layers: &[Layer], now: Instant) -> u64 {
        let records = self.only.is_some();
        let Some(at) = self.slots.get_mut(slot) else { return 0 };
        let early = at.began.is_some_and(|began| now.saturating_duration_since(began) < BEGINNING);
        let chance = early && !records && !at.replayed && at.held.is_none();
        let Some(layer) = at.current.filter(|_| chance) else { return 0 };
        let packets = layers.get(layer).map(|layer| layer.recent.since_key(now)).unwrap_or_default();
        let sent = self.begin(slot, layer, &packets, now);
        if let Some(at) = self.slots.get_mut(slot) {
            at.replayed = true;
        }
        sent
    }

    fn send_all(&mut self, slot: usize, packets: &[&Packet]) -> u64 {
        packets.iter().map(|packet| u64::from(self.send(slot, packet))).sum()
    }

    fn send(&mut self, slot: usize, packet: &Packet) -> bool {
        let Some(slot) = self.slots.get_mut(slot) else { return false };
        let Some(rewrite) = slot.rewriter.rewrite(packet) else { return false };
        self.transport.send(slot.mid, packet, &rewrite)
    }

    /// Takes the lines of a new answer; slots keep what is on them.
    pub(crate) fn set_lines(&mut self, lines: Vec<Line>) {
        let mut old = std::mem::take(&mut self.slots);
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.slot) {
            let slot = match old.iter().position(|slot| slot.mid == line.mid) {
                Some(known) => Slot { line: index, ..old.swap_remove(known) },
                None => Slot::new(line.mid, index),
            };
            self.slots.push(slot);
        }
        self.lines = lines;
    }

    /// Receiving m-lines of a kind.
    pub(crate) fn slot_count(&self, audio: bool) -> usize {
        self.slots.iter().filter(|slot| self.lines.get(slot.line).is_some_and(|line| line.audio == audio)).count()
    }

    /// Whether a source of this kind belongs on a line.
    pub(crate) fn carries(line: &Line, source: Source) -> Result<(), &'static str> {
        match (line.audio == source.is_audio(), line.ingress) {
            (false, _) => Err("the source is of the other kind"),
            (_, false) => Err("the client sends nothing on it"),
            _ => Ok(()),
        }
    }
}
