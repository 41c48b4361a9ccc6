//! A published track as the room sees it: its state, its encodings, who receives it.

use std::time::Instant;

use crate::command::Source;
use crate::demux::TransportId;
use crate::engine::{Format, Mid, Packet};
use crate::event::Track as TrackEvent;
use crate::id::{ParticipantId, TrackId};
use crate::simulcast::Layer;
use crate::speaker::Voice;

/// Encodings of one track; more are not announced by any browser.
const MAX_LAYERS: usize = 4;

/// A track.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) id: TrackId,
    pub(crate) participant: ParticipantId,
    pub(crate) source: Source,
    /// Where it arrives; `None`: it travels between the participants (mesh).
    pub(crate) from: Option<(TransportId, Mid)>,
    /// Its publisher said so.
    pub(crate) muted: bool,
    /// A moderator said so.
    pub(crate) muted_by_moderator: bool,
    pub(crate) format: Option<Format>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) voice: Voice,
    /// The slots that it is mapped to.
    pub(crate) receivers: Vec<(TransportId, usize)>,
}

impl Track {
    /// Whether nothing is to be seen or heard on it.
    pub(crate) fn silent(&self) -> bool {
        self.muted || self.muted_by_moderator
    }

    pub(crate) fn event(&self) -> TrackEvent {
        TrackEvent {
            id: self.id,
            participant: self.participant,
            source: self.source,
            muted: self.silent(),
            muted_by_moderator: self.muted_by_moderator,
            codec: self.format.map(Format::name),
        }
    }

    /// The encoding that a packet belongs to, and whether its source is another one than before. `None`: one too many.
    pub(crate) fn layer(&mut self, packet: &Packet, now: Instant) -> Option<(usize, bool)> {
        if let Some(index) = self.layers.iter().position(|layer| layer.rid == packet.rid) {
            let changed = self.layers[index].handle_packet(packet, now);
            return Some((index, changed));
        }
        if self.layers.len() >= MAX_LAYERS {
            return None;
        }
        let mut layer = Layer::new(packet, now);
        layer.handle_packet(packet, now);
        self.layers.push(layer);
        Some((self.layers.len() - 1, false))
    }

    /// Nothing passes for a while: what comes after it does not continue what was before.
    pub(crate) fn interrupt(&mut self) {
        self.voice.silence();
        self.layers.iter_mut().for_each(|layer| layer.recent.clear());
    }

    /// Forgets what it heard and saw; receivers begin anew.
    pub(crate) fn restart(&mut self) {
        self.layers.clear();
        self.voice.silence();
    }
}
