//! One participant as the shell knows it: who it is, what it may do and where its frames go.

use std::sync::atomic::{AtomicU8, Ordering};

use sfu::ParticipantId;
use signalling::RoomName;
use signalling::token::Grants;

use super::limits::SocketLimit;
use super::outbox::Outbox;

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// Its `join` is with the worker.
    Joining = 0,
    /// It is in the room.
    In = 1,
    /// Its `join` was refused, or it left.
    Out = 2,
}

/// One participant, from its `join` on.
pub(crate) struct Session {
    /// Its id.
    pub(crate) participant: ParticipantId,
    /// Its room.
    pub(crate) room: RoomName,
    /// The room's SFU worker.
    pub(crate) worker: usize,
    /// Who it is.
    pub(crate) who: Who,
    /// Where its frames go.
    pub(crate) outbox: Outbox,
    /// How much may come through its data channel.
    pub(crate) channel_limit: SocketLimit,
    /// The `jti` of the API token that it was given; no session of any run of this server has the same.
    pub(crate) api_token_id: String,
    stage: AtomicU8,
}

/// Who a participant is and what it may do.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    /// The token's `sub`; `None`: a guest.
    pub(crate) identity: Option<String>,
    /// The token's `jti`, if it has one.
    pub(crate) token_id: Option<String>,
    /// The thumbprint of its device, if the token is bound.
    pub(crate) device: Option<String>,
    /// The name to show.
    pub(crate) name: String,
    /// What it may do.
    pub(crate) grants: Grants,
}

impl Session {
    pub(crate) fn new(participant: ParticipantId, room: RoomName, worker: usize, who: Who, outbox: Outbox) -> Self {
        Self {
            participant,
            room,
            worker,
            who,
            outbox,
            channel_limit: SocketLimit::new(),
            api_token_id: crate::secrets::random(),
            stage: AtomicU8::new(Stage::Joining as u8),
        }
    }

    /// How far it is.
    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Joining,
            1 => Stage::In,
            _ => Stage::Out,
        }
    }

    /// Goes on to `stage`; from [`Stage::Out`] there is no way back.
    pub(crate) fn advance(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
    }

    /// Whether others see it.
    pub(crate) fn is_visible(&self) -> bool {
        !self.who.grants.hidden
    }
}
