//! A room: who is in it, what they publish, which settings hold. Its parts: [`member`] comes and goes, [`publish`] offers
//! and publishes, [`router`] moves packets, [`assign`] maps tracks onto slots, [`moderation`] mutes, [`message`] relays.

mod assign;
mod leg;
mod member;
mod message;
mod moderation;
mod offer;
mod publish;
mod router;
mod track;

use std::collections::BTreeMap;
use std::time::Instant;

use crate::command::{Mode, RoomSettings};
use crate::context::Context;
use crate::demux::TransportId;
use crate::event::{Event, Success};
use crate::id::{ParticipantId, TrackId};
pub(crate) use crate::room::leg::Leg;
use crate::room::member::Member;
pub(crate) use crate::room::message::Message;
use crate::room::track::Track;

/// The room.
pub(crate) struct Room {
    settings: RoomSettings,
    members: BTreeMap<ParticipantId, Member>,
    tracks: BTreeMap<TrackId, Track>,
    legs: BTreeMap<TransportId, Leg>,
    speakers: Vec<ParticipantId>,
    /// When speakers and layers are looked at next.
    look: Option<Instant>,
}

impl Room {
    pub(crate) fn new(settings: RoomSettings) -> Self {
        Self {
            settings,
            members: BTreeMap::new(),
            tracks: BTreeMap::new(),
            legs: BTreeMap::new(),
            speakers: Vec::new(),
            look: None,
        }
    }

    pub(crate) fn track_count(&self) -> usize {
        self.tracks.len()
    }

    pub(crate) fn participants(&self) -> Vec<ParticipantId> {
        self.members.keys().copied().collect()
    }

    /// New settings; who is in stays in.
    pub(crate) fn update(&mut self, settings: RoomSettings, context: &mut Context) {
        let to_mesh = self.settings.mode == Mode::Sfu && settings.mode == Mode::Mesh;
        self.settings = settings.clone();
        for &participant in self.members.keys() {
            context.event(participant, Event::Room(settings.clone()));
        }
        if to_mesh {
            self.tracks.values_mut().for_each(Track::restart);
        }
        self.assign(context);
    }

    pub(crate) fn snapshot(&self) -> Success {
        let peers = self.members.keys().filter_map(|&id| self.peer(id)).collect();
        Success::Snapshot { settings: self.settings.clone(), peers }
    }

    /// Tells everybody but `except`.
    fn tell_others(&self, except: ParticipantId, event: &Event, context: &mut Context) {
        for &participant in self.members.keys().filter(|&&id| id != except) {
            context.event(participant, event.clone());
        }
    }

    /// Whether media passes here.
    fn forwards(&self) -> bool {
        self.settings.mode == Mode::Sfu
    }
}
