//! What the server says: replies (one a request) and events (numbered).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::code::{Code, Refusal};
use crate::id::{ParticipantId, PcId, TrackId};
use crate::message::parts::{Description, IceServer, Mode, Peer, RoomInfo, Slot, Track};
use crate::token::Grants;

/// The reply to one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplyFrame {
    /// The request's id.
    pub id: u64,
    /// Yes or no.
    #[serde(flatten)]
    pub reply: Reply,
}

/// Yes or no.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Reply {
    /// Done. What else is in it depends on the request.
    Ok(Box<Success>),
    /// Not done.
    Err(Failure),
}

/// What `ok` carries; absent parts do not belong to the request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Success {
    /// To `join` (and to `resume` as a snapshot).
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub welcome: Option<Welcome>,
    /// To `join` with an offer and to `offer`.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// To `join` and `offer`: the own tracks, in the order of the request's `tracks`. Mesh tracks have no m-line in an
    /// answer to be found by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own: Vec<TrackId>,
}

/// The answer to an offer, complete with all candidates (the server is ICE-lite and never trickles).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The SDP answer.
    pub sdp: String,
    /// Which transport it is for.
    pub pc: PcId,
    /// The offer's epoch (1 for the offer in `join`).
    pub epoch: u64,
    /// The whole slot mapping of this transport.
    pub slots: Vec<Slot>,
    /// The ids of the tracks that the offer published, by m-line.
    #[serde(default)]
    pub published: Vec<Published>,
}

/// An own track got its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The m-line of the offer.
    pub mid: String,
    /// The track that it became.
    pub track: TrackId,
}

/// The state of the room at `join`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version spoken from here on.
    pub v: u32,
    /// What this server can do beyond the version.
    #[serde(default)]
    pub features: Vec<String>,
    /// Who the client is.
    pub me: ParticipantId,
    /// For `resume`.
    pub session: String,
    /// For `resume`: a secret that works once.
    pub resume: String,
    /// How long a session outlives its socket, in milliseconds.
    pub grace_ms: u64,
    /// For `RTCPeerConnection`.
    pub ice: Vec<IceServer>,
    /// How media travels now (also in `room`).
    pub mode: Mode,
    /// The room.
    pub room: RoomInfo,
    /// What this participant may do.
    pub grants: Grants,
    /// Everybody else who is visible.
    pub peers: Vec<Peer>,
    /// A bearer for the REST API that reaches this room only and has these grants.
    pub api_token: String,
}

/// See [`Reply::Err`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Stable.
    pub code: Code,
    /// When to try again, 0 if that is no matter of time.
    #[serde(default)]
    pub retry_ms: u64,
    /// For people; not stable.
    #[serde(default)]
    pub msg: String,
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code, retry_ms: refusal.retry_ms, msg: refusal.message }
    }
}

/// One numbered event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventFrame {
    /// Counts this session's events from 1; 0 only in `hello`.
    #[serde(default)]
    pub seq: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened. Every event carries the full new value, so that applying one twice does no harm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Event {
    /// First on every socket, before any request.
    Hello {
        /// Versions spoken here.
        v: Vec<u32>,
        /// See [`Welcome::features`].
        features: Vec<String>,
        /// To be signed by a device-bound token's key.
        nonce: String,
    },
    /// More receiving m-lines are needed: offer again with at least so many.
    Need {
        /// Which transport.
        pc: PcId,
        /// Audio m-lines wanted in all.
        audio: u32,
        /// Video m-lines wanted in all.
        video: u32,
    },
    /// Slot mapping changed; only the changed slots are listed.
    Slots {
        /// Which transport.
        pc: PcId,
        /// The changed ones.
        slots: Vec<Slot>,
    },
    /// Which encodings of an own track somebody watches (dynacast).
    Layers {
        /// The own track.
        track: TrackId,
        /// RIDs to send; empty: nobody watches.
        rids: Vec<String>,
    },
    /// A participant came, changed or left.
    Peer {
        /// Its full new value.
        peer: Peer,
        /// Whether it left.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        gone: bool,
    },
    /// A track came, changed or ended.
    Track {
        /// Its full new value.
        track: Track,
        /// Whether it ended.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        gone: bool,
    },
    /// A track was muted or unmuted.
    Mute {
        /// Which.
        track: TrackId,
        /// Whose.
        peer: ParticipantId,
        /// The new state.
        muted: bool,
        /// Whether a moderator keeps it so, whatever its publisher does.
        muted_by_moderator: bool,
    },
    /// Who speaks now, loudest first; empty: nobody.
    Speak {
        /// Them.
        peers: Vec<ParticipantId>,
    },
    /// How well a participant is connected.
    Quality {
        /// Whom it is about.
        peer: ParticipantId,
        /// 0 to 100.
        score: u8,
    },
    /// The room changed.
    Room {
        /// Its full new value.
        room: RoomInfo,
    },
    /// Data from somebody.
    Msg {
        /// Who sent it.
        from: ParticipantId,
        /// What it is about.
        topic: String,
        /// Anything JSON.
        data: Value,
    },
    /// A mesh leg's signalling from somebody.
    Sig {
        /// Who sent it.
        from: ParticipantId,
        /// A session description.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        desc: Option<Description>,
        /// A candidate.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cand: Option<Value>,
        /// Which connection between the two.
        #[serde(default)]
        epoch: u64,
    },
    /// The session ends; the socket closes next.
    Leave {
        /// Why.
        reason: Code,
        /// What to do about it.
        action: LeaveAction,
        /// For people; not stable.
        #[serde(default)]
        msg: String,
    },
}

/// What a client does after `leave`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaveAction {
    /// Join again (the server restarts, the session is gone).
    Rejoin,
    /// Open a new socket and resume.
    Resume,
    /// Do not come back by yourself (kicked, room closed, superseded).
    Stop,
}
