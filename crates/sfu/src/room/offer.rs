//! Offers and answers.

use crate::clock::WallClock;
use crate::command::{Offer, Permissions};
use crate::context::Context;
use crate::demux::TransportId;
use crate::engine::{Mid, Refusal, Transport};
use crate::error::Error;
use crate::event::{Answer, Event, Success, Track as TrackEvent};
use crate::id::{ParticipantId, TrackId};
use crate::room::Room;
use crate::room::leg::Leg;

/// Audio and video m-lines of a browser's transport: 3 + 9 slots, which also carry what it publishes.
const MAX_LINES: usize = 12;
/// The same of a recorder's transport.
const MAX_RECORDER_LINES: usize = 24;
/// Transports of a participant.
const MAX_TRANSPORTS: usize = 4;
/// Transports of a recorder: one for each recorded participant.
const MAX_RECORDER_TRANSPORTS: usize = 1024;

/// What an offer changed; events and slots are still to come.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The transport and its SDP answer.
    pub(crate) answer: Option<(TransportId, String)>,
    /// Own tracks in the order of the intents.
    pub(crate) tracks: Vec<TrackId>,
    pub(crate) new: Vec<TrackId>,
    pub(crate) gone: Vec<TrackEvent>,
    pub(crate) muted: Vec<TrackId>,
}

impl Room {
    /// A further offer of a participant.
    pub(crate) fn offer(&mut self, id: ParticipantId, offer: Offer, context: &mut Context) -> Result<Success, Error> {
        let taken = self.take_offer(id, &offer, context)?;
        for gone in taken.gone {
            self.tell_others(id, &Event::TrackGone(gone), context);
        }
        let event = |room: &Self, track| room.tracks.get(track).map(crate::room::track::Track::event);
        for track in taken.new.iter().filter_map(|track| event(self, track)) {
            self.tell_others(id, &Event::Track(track), context);
        }
        for track in taken.muted.iter().filter_map(|track| event(self, track)) {
            self.tell_others(id, &Event::Mute(track), context);
        }
        let answer = self.answer(taken.answer, context);
        Ok(Success::Answered { answer, tracks: taken.tracks })
    }

    /// Negotiates and publishes. Nothing has changed if it fails, but for what the engine knows of an existing
    /// transport: its client may offer again with the same epoch.
    pub(crate) fn take_offer(
        &mut self,
        id: ParticipantId,
        offer: &Offer,
        context: &mut Context,
    ) -> Result<Taken, Error> {
        let permissions = &self.member(id)?.permissions;
        self.check_intents(permissions, offer)?;
        if offer.only.is_some() && !permissions.recorder {
            return Err(Error::Forbidden("only a recorder asks for one participant's tracks"));
        }
        let Some(sdp) = &offer.sdp else {
            return Ok(self.publish(id, None, &offer.tracks, context));
        };
        let limit = if permissions.recorder { MAX_RECORDER_LINES } else { MAX_LINES };
        let lines = Transport::preview(sdp, limit).map_err(refused)?;
        Self::check_lines(&lines, &offer.tracks)?;
        let known = self.expect_epoch(id, offer)?;
        let leg = match known {
            Some(leg) => leg,
            None => self.open_leg(id, offer, context)?,
        };
        match self.negotiate(leg, sdp, limit, context) {
            Ok(answer) => {
                let taken = self.publish(id, Some(leg), &offer.tracks, context);
                if let Some(leg) = self.legs.get_mut(&leg) {
                    leg.epoch = offer.epoch;
                }
                Ok(Taken { answer: Some((leg, answer)), ..taken })
            }
            Err(error) => {
                if known.is_none() {
                    self.end_leg(leg, context);
                }
                Err(error)
            }
        }
    }

    /// The transport that the offer is for; `None`: a new one. Epoch 1 always begins anew: the client has lost what
    /// it had.
    fn expect_epoch(&self, id: ParticipantId, offer: &Offer) -> Result<Option<TransportId>, Error> {
        let legs = self.member(id)?.legs.iter().filter_map(|leg| self.legs.get(leg));
        let known = legs.into_iter().find(|leg| leg.name == offer.transport);
        match known {
            _ if offer.epoch == 1 => Ok(None),
            Some(leg) if leg.epoch + 1 == offer.epoch => Ok(Some(leg.id)),
            _ => Err(Error::StaleEpoch { got: offer.epoch, expected: known.map_or(1, |leg| leg.epoch + 1) }),
        }
    }

    /// A new transport, in the place of one with the same name.
    fn open_leg(&mut self, id: ParticipantId, offer: &Offer, context: &mut Context) -> Result<TransportId, Error> {
        let member = self.members.get(&id).ok_or(Error::PeerNotFound(id))?;
        let old = member.legs.iter().copied().find(|leg| self.legs.get(leg).is_some_and(|l| l.name == offer.transport));
        if let Some(old) = old {
            self.close_leg(old, context);
            self.members.get_mut(&id).ok_or(Error::PeerNotFound(id))?.legs.retain(|leg| *leg != old);
        }
        let member = self.members.get_mut(&id).ok_or(Error::PeerNotFound(id))?;
        let limit = transport_limit(&member.permissions);
        if member.legs.len() >= limit {
            return Err(Error::SlotLimit { limit, what: "transports" });
        }
        let leg = context.new_transport();
        member.legs.push(leg);
        context.counters.transports_opened += 1;
        let transport = Transport::new(&context.certificate, context.now);
        self.legs.insert(
            leg,
            Leg {
                id: leg,
                owner: id,
                name: offer.transport.clone(),
                epoch: 0,
                only: offer.only,
                transport,
                lines: Vec::new(),
                slots: Vec::new(),
                published: Vec::new(),
                clock: WallClock::default(),
                connected: false,
                channel: false,
                ufrag: String::new(),
                touched: false,
                scheduled: None,
                needed: (0, 0),
            },
        );
        Ok(leg)
    }

    fn negotiate(&mut self, id: TransportId, sdp: &str, limit: usize, context: &mut Context) -> Result<String, Error> {
        let leg = self.legs.get_mut(&id).ok_or(Error::InvalidSdp("the transport is gone".into()))?;
        let accepted = leg.transport.accept_offer(sdp, limit, &context.candidates, context.now);
        let (answer, lines) = accepted.map_err(refused)?;
        leg.set_lines(lines);
        let ufrag = leg.transport.ufrag();
        if ufrag != leg.ufrag {
            context.demux.remove_ufrag(&leg.ufrag);
            context.demux.add_ufrag(ufrag.clone(), id);
            leg.ufrag = ufrag;
        }
        self.pump(id, None, context);
        Ok(answer)
    }

    /// Maps slots anew and completes an answer with them.
    pub(crate) fn answer(&mut self, answer: Option<(TransportId, String)>, context: &mut Context) -> Option<Answer> {
        self.assign_quietly(answer.as_ref().map(|(leg, _)| *leg), context);
        let (leg, sdp) = answer?;
        let leg = self.legs.get(&leg)?;
        let name = |(mid, track): &(Mid, TrackId)| (mid.to_string(), *track);
        Some(Answer {
            transport: leg.name.clone(),
            epoch: leg.epoch,
            sdp,
            slots: leg.slots.iter().map(crate::room::leg::Slot::event).collect(),
            published: leg.published.iter().map(name).collect(),
        })
    }
}

fn transport_limit(permissions: &Permissions) -> usize {
    if permissions.recorder { MAX_RECORDER_TRANSPORTS } else { MAX_TRANSPORTS }
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Sdp(why) => Error::InvalidSdp(why),
        Refusal::Codec(mid) => Error::CodecUnsupported { mid },
        Refusal::TooMany(limit) => Error::SlotLimit { limit, what: "m-lines" },
    }
}
