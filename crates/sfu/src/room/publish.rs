//! Tracks come and go with the intents of an offer.

use crate::command::{Intent, Mode, Offer, Permissions, Source};
use crate::context::Context;
use crate::demux::TransportId;
use crate::engine::{Line, Mid};
use crate::error::Error;
use crate::id::{ParticipantId, TrackId};
use crate::room::Room;
use crate::room::leg::Leg;
use crate::room::offer::Taken;
use crate::room::track::Track;
use crate::speaker::Voice;

/// Tracks of one participant.
const MAX_TRACKS: usize = 16;

impl Room {
    /// What can be refused without looking at the SDP.
    pub(crate) fn check_intents(&self, permissions: &Permissions, offer: &Offer) -> Result<(), Error> {
        if offer.tracks.len() > MAX_TRACKS {
            return Err(Error::SlotLimit { limit: MAX_TRACKS, what: "tracks" });
        }
        for (index, intent) in offer.tracks.iter().enumerate() {
            if !permissions.publish.contains(&intent.source) {
                return Err(Error::Forbidden("publish this source"));
            }
            if permissions.hidden {
                return Err(Error::Forbidden("publish while hidden"));
            }
            let bad = |why| Err(Error::BadKind { mid: intent.mid.clone(), why });
            if intent.mid.is_empty() {
                if self.settings.mode == Mode::Sfu {
                    return bad("no m-line carries the track");
                }
            } else if offer.sdp.is_none() {
                return bad("nothing was offered");
            } else if offer.tracks[..index].iter().any(|i| i.mid == intent.mid) {
                return bad("two tracks on one m-line");
            }
            // A participant has one of each source: two cameras would be mixed in one file.
            if offer.tracks[..index].iter().any(|i| i.source == intent.source) {
                return bad("the source is there twice");
            }
        }
        Ok(())
    }

    /// Whether every intent has an m-line of its kind that the client sends on.
    pub(crate) fn check_lines(lines: &[Line], intents: &[Intent]) -> Result<(), Error> {
        for intent in intents.iter().filter(|intent| !intent.mid.is_empty()) {
            let mid = Mid::from(intent.mid.as_str());
            let line = lines.iter().find(|line| line.mid == mid).ok_or("it is not in the offer");
            if let Err(why) = line.and_then(|line| Leg::carries(line, intent.source)) {
                return Err(Error::BadKind { mid: intent.mid.clone(), why });
            }
        }
        Ok(())
    }

    /// Makes a participant's tracks on a transport (or on none) equal to the intents.
    pub(crate) fn publish(
        &mut self,
        id: ParticipantId,
        leg: Option<TransportId>,
        intents: &[Intent],
        context: &mut Context,
    ) -> Taken {
        let mut taken = Taken::default();
        let before: Vec<TrackId> = self.members.get(&id).map(|member| member.tracks.clone()).unwrap_or_default();
        for intent in intents {
            let from = leg.filter(|_| !intent.mid.is_empty()).map(|leg| (leg, Mid::from(intent.mid.as_str())));
            let known = before.iter().copied().find(|track| {
                let free = !taken.tracks.contains(track);
                let fits = |t: &Track| t.source == intent.source && (t.from == from || t.from.is_none());
                free && self.tracks.get(track).is_some_and(fits)
            });
            let track = match known.and_then(|track| self.tracks.get_mut(&track)) {
                Some(track) => {
                    if std::mem::replace(&mut track.muted, intent.muted) != intent.muted {
                        taken.muted.push(track.id);
                    }
                    if track.from != from {
                        track.from = from;
                        track.restart();
                    }
                    track.id
                }
                None => {
                    let track = self.new_track(id, intent.source, intent.muted, from, context);
                    taken.new.push(track);
                    track
                }
            };
            taken.tracks.push(track);
        }
        let ended = |room: &Self, track: &TrackId| {
            let here = |t: &Track| t.from.is_none() || t.from.map(|(leg, _)| leg) == leg;
            !taken.tracks.contains(track) && room.tracks.get(track).is_some_and(here)
        };
        let ended: Vec<TrackId> = before.iter().copied().filter(|track| ended(self, track)).collect();
        taken.gone = ended.into_iter().filter_map(|track| self.unpublish(track)).map(|track| track.event()).collect();
        if let Some(leg) = leg.and_then(|leg| self.legs.get_mut(&leg)) {
            let of = |track: &TrackId| Some((self.tracks.get(track)?.from?.1, *track));
            leg.published = taken.tracks.iter().filter_map(of).collect();
        }
        taken
    }

    fn new_track(
        &mut self,
        participant: ParticipantId,
        source: Source,
        muted: bool,
        from: Option<(TransportId, Mid)>,
        context: &mut Context,
    ) -> TrackId {
        let id = context.new_track();
        let mut muted_by_moderator = false;
        if let Some(member) = self.members.get_mut(&participant) {
            member.tracks.push(id);
            muted_by_moderator = member.muted_sources.contains(&source);
        }
        let (layers, receivers) = (Vec::new(), Vec::new());
        let track = Track {
            id,
            participant,
            source,
            from,
            muted,
            muted_by_moderator,
            format: None,
            layers,
            voice: Voice::default(),
            receivers,
        };
        self.tracks.insert(id, track);
        id
    }

    /// Ends a track.
    pub(crate) fn unpublish(&mut self, id: TrackId) -> Option<Track> {
        let track = self.tracks.remove(&id)?;
        if let Some(member) = self.members.get_mut(&track.participant) {
            member.tracks.retain(|known| *known != id);
        }
        for member in self.members.values_mut() {
            member.subscriptions.remove(&id);
        }
        if let Some(leg) = track.from.and_then(|(leg, _)| self.legs.get_mut(&leg)) {
            leg.published.retain(|(_, known)| *known != id);
        }
        Some(track)
    }
}
