//! Why the core refuses a command. The shell maps each to one code of the wire (`signalling::Code`).

use crate::id::{ParticipantId, TrackId};

/// A refusal, with what finds its cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The room is not (or no longer) on this worker.
    #[error("no such room")]
    RoomNotFound,
    /// The room has its limit of visible participants.
    #[error("the room has its {limit} participants")]
    RoomFull {
        /// The limit.
        limit: u32,
    },
    /// A moderator locked the room.
    #[error("the room is locked")]
    RoomLocked,
    /// The participant is not in a room of this worker.
    #[error("{0} is not in this room")]
    PeerNotFound(ParticipantId),
    /// The id is taken.
    #[error("{0} is in this room already")]
    AlreadyInRoom(ParticipantId),
    /// The track does not exist or is not the caller's to change.
    #[error("no track {0} here")]
    TrackNotFound(TrackId),
    /// A source on an m-line of the other kind, or two on one.
    #[error("m-line {mid}: {why}")]
    BadKind {
        /// The m-line.
        mid: String,
        /// What does not fit.
        why: &'static str,
    },
    /// The permissions of the participant do not cover this.
    #[error("not allowed: {0}")]
    Forbidden(&'static str),
    /// No codec of an m-line can be forwarded.
    #[error("m-line {mid} offers no codec that is forwarded here")]
    CodecUnsupported {
        /// The m-line.
        mid: String,
    },
    /// The offer cannot be parsed or answered.
    #[error("the SDP cannot be answered: {0}")]
    InvalidSdp(String),
    /// An answer for a later offer was given already.
    #[error("epoch {got} where {expected} was due")]
    StaleEpoch {
        /// In the offer.
        got: u64,
        /// What would have been right.
        expected: u64,
    },
    /// More m-lines or transports than one participant may have.
    #[error("at most {limit} {what}")]
    SlotLimit {
        /// How many.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// The unreliable way is not open to this receiver.
    #[error("the data channel is not open")]
    ChannelClosed,
}
