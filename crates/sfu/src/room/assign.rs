//! Tracks onto slots, and layers: carries out what [`crate::slots`] and [`crate::simulcast`] decide.

use crate::command::Wish;
use crate::context::Context;
use crate::demux::TransportId;
use crate::error::Error;
use crate::event::{Event, Success, Why};
use crate::id::{ParticipantId, TrackId};
use crate::room::Room;
use crate::room::member::Member;
use crate::room::track::Track;
use crate::simulcast::choose;
use crate::slots::{Candidate, Place, assign};

impl Room {
    /// Takes a subscriber's wishes.
    pub(crate) fn subscribe(
        &mut self,
        id: ParticipantId,
        wishes: &[Wish],
        context: &mut Context,
    ) -> Result<Success, Error> {
        if let Some(unknown) = wishes.iter().find(|wish| !self.tracks.contains_key(&wish.track)) {
            return Err(Error::TrackNotFound(unknown.track));
        }
        let member = self.members.get_mut(&id).ok_or(Error::PeerNotFound(id))?;
        for wish in wishes {
            let subscription = member.subscriptions.entry(wish.track).or_default();
            subscription.on = wish.on.unwrap_or(subscription.on);
            subscription.height = wish.height.or(subscription.height);
            subscription.priority = wish.priority.unwrap_or(subscription.priority);
        }
        self.assign(context);
        Ok(Success::Done)
    }

    /// Maps every transport's slots anew and tells what changed.
    pub(crate) fn assign(&mut self, context: &mut Context) {
        self.assign_quietly(None, context);
    }

    /// The same, but `quiet` is told in its answer.
    pub(crate) fn assign_quietly(&mut self, quiet: Option<TransportId>, context: &mut Context) {
        let ids: Vec<TransportId> = self.legs.keys().copied().collect();
        for &id in &ids {
            self.assign_leg(id);
        }
        self.tracks.values_mut().for_each(|track| track.receivers.clear());
        for leg in self.legs.values() {
            for (index, slot) in leg.slots.iter().enumerate() {
                if let Some(track) = slot.track.and_then(|(track, _)| self.tracks.get_mut(&track)) {
                    track.receivers.push((leg.id, index));
                }
            }
        }
        for id in ids {
            self.tell_slots(id, quiet == Some(id), context);
        }
        let tracks: Vec<TrackId> = self.tracks.keys().copied().collect();
        for track in tracks {
            self.retarget(track, None, context);
        }
    }

    fn assign_leg(&mut self, id: TransportId) {
        let forwards = self.forwards();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let Some(member) = self.members.get(&leg.owner) else { return };
        let offered = |track: &&Track| {
            forwards
                && member.permissions.subscribe
                && track.participant != leg.owner
                && track.from.is_some()
                && leg.only.is_none_or(|only| only == track.participant)
        };
        let spoke = |track: &Track| {
            // A picture is as interesting as its publisher's voice.
            let voices = self.tracks.values().filter(|t| t.participant == track.participant);
            voices.filter_map(|t| t.voice.spoke()).max()
        };
        let tracks = self.tracks.values().filter(offered);
        let candidates: Vec<_> = tracks.map(|track| candidate(track, member, spoke(track))).collect();
        let place = |slot: &crate::room::leg::Slot| {
            let line = leg.lines.get(slot.line)?;
            Some(Place { audio: line.audio, formats: &line.formats, track: slot.track.map(|(track, _)| track) })
        };
        let places: Vec<_> = leg.slots.iter().filter_map(place).collect();
        let assigned = assign(&places, &candidates);
        for (slot, track) in leg.slots.iter_mut().zip(assigned) {
            let track = track.and_then(|track| self.tracks.get(&track));
            slot.set_track(track.map(|track| (track.id, track.participant)));
            let wanted = track.is_none_or(|track| member.subscriptions.get(&track.id).is_none_or(|s| s.on));
            slot.held = match track {
                Some(track) if track.silent() => Some(Why::Muted),
                Some(_) if !wanted => Some(Why::Unsubscribed),
                _ => None,
            };
            if slot.held.is_some() {
                slot.current = None;
            }
        }
    }

    fn tell_slots(&mut self, id: TransportId, quiet: bool, context: &mut Context) {
        let needed = self.needed(id);
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let slots: Vec<_> = leg.slots.iter_mut().filter_map(crate::room::leg::Slot::news).collect();
        if !slots.is_empty() && !quiet {
            context.event(leg.owner, Event::Slots { transport: leg.name.clone(), slots });
        }
        if let Some((audio, video)) = needed.filter(|needed| *needed != leg.needed) {
            leg.needed = (audio, video);
            context.event(leg.owner, Event::Need { transport: leg.name.clone(), audio, video });
        }
    }

    /// How many m-lines a recorder's transport must have, if it has fewer: last-N is not for recordings.
    fn needed(&self, id: TransportId) -> Option<(u32, u32)> {
        let leg = self.legs.get(&id)?;
        let only = leg.only?;
        let tracks = || self.tracks.values().filter(|t| t.participant == only && t.from.is_some());
        let audio = tracks().filter(|track| track.source.is_audio()).count();
        let video = tracks().count() - audio;
        let (has_audio, has_video) = (leg.slot_count(true), leg.slot_count(false));
        let short = self.forwards() && (audio > has_audio || video > has_video);
        short.then_some((audio.max(has_audio) as u32, video.max(has_video) as u32))
    }

    /// Chooses the layer for every receiver of a track. `restarted`: this one is another stream than before.
    pub(crate) fn retarget(&mut self, id: TrackId, restarted: Option<usize>, context: &mut Context) {
        let Some(track) = self.tracks.get_mut(&id) else { return };
        for &(receiver, index) in &track.receivers {
            let Some(leg) = self.legs.get_mut(&receiver) else { continue };
            let height = self.members.get(&leg.owner).and_then(|member| member.subscriptions.get(&id)?.height);
            let Some(slot) = leg.slots.get_mut(index) else { continue };
            if restarted.is_some() && slot.current == restarted {
                slot.current = None;
            }
            slot.target = choose(&track.layers, height, context.now);
        }
        self.want_key_frames(id, context);
    }

    /// Lets receivers begin that can, and wants the key frames that the others wait for, and no more.
    pub(crate) fn want_key_frames(&mut self, id: TrackId, context: &mut Context) {
        let Some(track) = self.tracks.get_mut(&id).filter(|track| !track.source.is_audio()) else { return };
        let (mut waiting, mut watched) = (Vec::new(), false);
        for &(receiver, index) in &track.receivers {
            let Some(leg) = self.legs.get_mut(&receiver).filter(|leg| leg.connected) else { continue };
            let Some(slot) = leg.slots.get(index) else { continue };
            watched |= slot.held.is_none();
            let Some(target) = slot.target.filter(|_| slot.waits()) else { continue };
            // Who sees nothing yet takes a key frame that has just been; who sees another layer would see time go back.
            let fresh = slot.current.is_none().then(|| track.layers.get(target)).flatten();
            let packets = fresh.map(|layer| layer.recent.since_key(context.now)).unwrap_or_default();
            let sent = leg.begin(index, target, &packets, context.now);
            if sent > 0 {
                context.counters.packets_out += sent;
                context.counters.bytes_out += packets.iter().map(|packet| packet.payload.len() as u64).sum::<u64>();
                context.touch(leg);
            } else {
                waiting.push(target);
            }
        }
        for (index, layer) in track.layers.iter_mut().enumerate() {
            if waiting.contains(&index) {
                layer.keys.want(context.now);
            } else if !watched {
                layer.keys.forget();
            }
        }
        self.ask_for_key_frames(id, context);
    }
}

fn candidate(track: &Track, member: &Member, spoke: Option<std::time::Instant>) -> Candidate {
    let subscription = member.subscriptions.get(&track.id).copied().unwrap_or_default();
    Candidate {
        track: track.id,
        audio: track.source.is_audio(),
        format: track.format,
        wanted: subscription.on,
        priority: subscription.priority,
        screen: matches!(track.source, crate::command::Source::Screen | crate::command::Source::ScreenAudio),
        muted: track.silent(),
        spoke,
    }
}
