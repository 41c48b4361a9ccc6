//! Mutes, by the publisher and by moderators. Both drop packets as they come in; a moderator's also outlives the track.

use crate::context::Context;
use crate::error::Error;
use crate::event::{Event, Success};
use crate::id::{ParticipantId, TrackId};
use crate::room::Room;

impl Room {
    /// A publisher mutes or unmutes its own track.
    pub(crate) fn mute(
        &mut self,
        id: ParticipantId,
        track: TrackId,
        muted: bool,
        context: &mut Context,
    ) -> Result<Success, Error> {
        let own = self.tracks.get_mut(&track).filter(|t| t.participant == id).ok_or(Error::TrackNotFound(track))?;
        if std::mem::replace(&mut own.muted, muted) != muted {
            own.interrupt();
            let event = Event::Mute(own.event());
            self.tell_others(id, &event, context);
            self.assign(context);
        }
        Ok(Success::Done)
    }

    /// A moderator (or the API) mutes or frees somebody's track.
    pub(crate) fn moderate_mute(
        &mut self,
        by: Option<ParticipantId>,
        track: TrackId,
        muted: bool,
        context: &mut Context,
    ) -> Result<Success, Error> {
        self.may_moderate(by)?;
        let found = self.tracks.get_mut(&track).ok_or(Error::TrackNotFound(track))?;
        if std::mem::replace(&mut found.muted_by_moderator, muted) != muted {
            found.interrupt();
            let event = Event::Mute(found.event());
            if let Some(member) = self.members.get_mut(&found.participant) {
                if muted {
                    member.muted_sources.insert(found.source);
                } else {
                    member.muted_sources.remove(&found.source);
                }
            }
            for &participant in self.members.keys() {
                context.event(participant, event.clone());
            }
            self.assign(context);
        }
        Ok(Success::Done)
    }

    /// Whether `by` is a moderator here; without `by` it is the API.
    pub(crate) fn may_moderate(&self, by: Option<ParticipantId>) -> Result<(), Error> {
        match by {
            Some(by) if !self.member(by)?.permissions.moderate => Err(Error::Forbidden("moderate")),
            _ => Ok(()),
        }
    }
}
