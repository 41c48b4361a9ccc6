//! Data between participants, and the signalling of mesh legs.

use std::sync::Arc;

use crate::context::Context;
use crate::error::Error;
use crate::event::{Event, Success};
use crate::id::ParticipantId;
use crate::room::Room;

/// Something to be passed on.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) data: Arc<str>,
    /// See [`crate::Command::Message`].
    pub(crate) unreliable: Option<Arc<str>>,
}

impl Room {
    /// Passes a message on to some participants, or to everybody else.
    pub(crate) fn message(
        &mut self,
        from: ParticipantId,
        to: &[ParticipantId],
        message: &Message,
        context: &mut Context,
    ) -> Result<Success, Error> {
        if !self.member(from)?.permissions.data {
            return Err(Error::Forbidden("send data"));
        }
        for &receiver in to {
            self.member(receiver)?;
        }
        let others = || self.members.keys().copied().filter(|id| *id != from).collect();
        let receivers: Vec<ParticipantId> = if to.is_empty() { others() } else { to.to_vec() };
        for receiver in receivers {
            let by_channel = message.unreliable.as_ref().is_some_and(|text| self.send_text(receiver, text, context));
            if !by_channel {
                let Message { topic, data, .. } = message;
                context.event(receiver, Event::Message { from, topic: topic.clone(), data: data.clone() });
            }
        }
        Ok(Success::Done)
    }

    /// Tries the data channel; `false`: there is none. A full one drops, that is what unreliable means.
    fn send_text(&mut self, to: ParticipantId, text: &str, context: &mut Context) -> bool {
        let legs = self.members.get(&to).map(|member| member.legs.as_slice()).unwrap_or_default();
        let open = legs.iter().copied().find(|leg| self.legs.get(leg).is_some_and(|leg| leg.channel && leg.connected));
        let Some(leg) = open.and_then(|leg| self.legs.get_mut(&leg)) else { return false };
        if !leg.transport.send_text(text, context.now) {
            context.counters.messages_dropped += 1;
        }
        context.touch(leg);
        true
    }

    /// Passes a mesh leg's signalling on.
    pub(crate) fn signal(
        &mut self,
        from: ParticipantId,
        to: ParticipantId,
        body: Arc<str>,
        context: &mut Context,
    ) -> Result<Success, Error> {
        self.member(to)?;
        context.event(to, Event::Signal { from, body });
        Ok(Success::Done)
    }
}
