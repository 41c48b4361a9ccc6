//! Coming and going.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{Offer, Permissions, Source};
use crate::context::Context;
use crate::demux::TransportId;
use crate::error::Error;
use crate::event::{Event, LeftWhy, Peer, Success};
use crate::id::{ParticipantId, TrackId};
use crate::room::Room;

/// What a subscriber said about a track.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscription {
    pub(crate) on: bool,
    pub(crate) height: Option<u32>,
    pub(crate) priority: i32,
}

impl Default for Subscription {
    fn default() -> Self {
        Self { on: true, height: None, priority: 0 }
    }
}

/// A participant as its room knows it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) permissions: Permissions,
    pub(crate) legs: Vec<TransportId>,
    /// In the order in which they were published.
    pub(crate) tracks: Vec<TrackId>,
    pub(crate) subscriptions: BTreeMap<TrackId, Subscription>,
    /// What a moderator muted stays muted when it is published again.
    pub(crate) muted_sources: BTreeSet<Source>,
}

impl Room {
    /// Lets a participant in.
    pub(crate) fn join(
        &mut self,
        id: ParticipantId,
        name: String,
        permissions: Permissions,
        offer: Option<Offer>,
        context: &mut Context,
    ) -> Result<Success, Error> {
        if !permissions.hidden {
            if self.settings.locked {
                return Err(Error::RoomLocked);
            }
            let visible = self.members.values().filter(|member| !member.permissions.hidden).count();
            if visible >= self.settings.max_participants as usize {
                return Err(Error::RoomFull { limit: self.settings.max_participants });
            }
        }
        let hidden = permissions.hidden;
        let (legs, tracks) = (Vec::new(), Vec::new());
        let member =
            Member { name, permissions, legs, tracks, subscriptions: BTreeMap::new(), muted_sources: BTreeSet::new() };
        self.members.insert(id, member);
        let taken = match offer.map(|offer| self.take_offer(id, &offer, context)).transpose() {
            Ok(taken) => taken.unwrap_or_default(),
            Err(error) => {
                self.members.remove(&id);
                return Err(error);
            }
        };
        if let Some(peer) = self.peer(id).filter(|_| !hidden) {
            self.tell_others(id, &Event::Peer(peer), context);
        }
        let answer = self.answer(taken.answer, context);
        let others = self.members.iter().filter(|(other, member)| **other != id && !member.permissions.hidden);
        let peers = others.filter_map(|(other, _)| self.peer(*other)).collect();
        Ok(Success::Joined { settings: self.settings.clone(), peers, answer, tracks: taken.tracks })
    }

    /// Puts a participant out. With `why` it is told so.
    pub(crate) fn leave(&mut self, id: ParticipantId, why: Option<LeftWhy>, context: &mut Context) {
        let Some(peer) = self.peer(id) else { return };
        let Some(member) = self.members.remove(&id) else { return };
        for track in member.tracks {
            self.tracks.remove(&track);
            for other in self.members.values_mut() {
                other.subscriptions.remove(&track);
            }
        }
        for leg in member.legs {
            self.close_leg(leg, context);
        }
        if let Some(why) = why {
            context.event(id, Event::Left(why));
        }
        if !member.permissions.hidden {
            self.tell_others(id, &Event::PeerGone(peer), context);
        }
        self.speakers.retain(|speaker| *speaker != id);
        self.assign(context);
    }

    /// A participant with its tracks.
    pub(crate) fn peer(&self, id: ParticipantId) -> Option<Peer> {
        let member = self.members.get(&id)?;
        let tracks = member.tracks.iter().filter_map(|track| self.tracks.get(track)).map(|track| track.event());
        Some(Peer { id, name: member.name.clone(), hidden: member.permissions.hidden, tracks: tracks.collect() })
    }

    /// Whether `by` may put `participant` out; without `by` it is the API.
    pub(crate) fn may_kick(&self, by: Option<ParticipantId>, participant: ParticipantId) -> Result<(), Error> {
        self.may_moderate(by)?;
        if self.members.contains_key(&participant) { Ok(()) } else { Err(Error::PeerNotFound(participant)) }
    }

    pub(crate) fn member(&self, id: ParticipantId) -> Result<&Member, Error> {
        self.members.get(&id).ok_or(Error::PeerNotFound(id))
    }
}
