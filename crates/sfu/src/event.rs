//! What a worker's core says: replies to commands and events for participants. The shell prints them as rooms/1.

use std::sync::Arc;

use crate::command::{RoomSettings, Source};
use crate::id::{ParticipantId, TrackId};

/// A published track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Its id.
    pub id: TrackId,
    /// Who publishes it.
    pub participant: ParticipantId,
    /// What it carries.
    pub source: Source,
    /// Whether nothing is to be seen or heard on it, whoever said so.
    pub muted: bool,
    /// Whether a moderator said so.
    pub muted_by_moderator: bool,
    /// The codec's RTP name, once the first packet told.
    pub codec: Option<&'static str>,
}

/// A participant with its tracks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its id.
    pub id: ParticipantId,
    /// Shown name.
    pub name: String,
    /// Whether others see it (only snapshots for the API contain hidden ones).
    pub hidden: bool,
    /// Its tracks.
    pub tracks: Vec<Track>,
}

/// Why a slot with a track is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The track is muted.
    Muted,
    /// This subscriber does not want it.
    Unsubscribed,
    /// Other tracks were preferred.
    LastN,
    /// Its bandwidth does not carry it.
    Bandwidth,
}

/// The mapping of one receiving m-line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The m-line.
    pub mid: String,
    /// The track on it and its publisher; `None`: blank.
    pub track: Option<(TrackId, ParticipantId)>,
    /// Why nothing flows, if nothing flows.
    pub held: Option<Why>,
}

/// The answer to an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The transport.
    pub transport: String,
    /// The offer's epoch.
    pub epoch: u64,
    /// The SDP, with all candidates.
    pub sdp: String,
    /// The whole slot mapping of the transport.
    pub slots: Vec<Slot>,
    /// Published tracks by m-line.
    pub published: Vec<(String, TrackId)>,
}

/// What a command achieved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Success {
    /// See [`crate::Command::Join`].
    Joined {
        /// The room.
        settings: RoomSettings,
        /// Everybody else who is visible.
        peers: Vec<Peer>,
        /// The answer, if an SDP was offered.
        answer: Option<Answer>,
        /// Own tracks, in the order of the intents (mesh tracks have no m-line to be found by).
        tracks: Vec<TrackId>,
    },
    /// See [`crate::Command::Offer`]; `None` for an offer without SDP.
    Answered {
        /// The answer, if an SDP was offered.
        answer: Option<Answer>,
        /// Own tracks, in the order of the intents.
        tracks: Vec<TrackId>,
    },
    /// Nothing more to say.
    Done,
    /// See [`crate::Command::Snapshot`].
    Snapshot {
        /// The room.
        settings: RoomSettings,
        /// Everybody, hidden ones too.
        peers: Vec<Peer>,
    },
}

/// Why a participant is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftWhy {
    /// A moderator or the API put it out.
    Kicked,
    /// The room was closed.
    RoomClosed,
}

/// Something a participant must hear of. Values are whole, so that hearing twice does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A participant came or changed.
    Peer(Peer),
    /// A participant left.
    PeerGone(Peer),
    /// A track came or changed.
    Track(Track),
    /// A track ended.
    TrackGone(Track),
    /// A track was muted or unmuted, by its publisher or by a moderator: its new state.
    Mute(Track),
    /// Some slots of a transport changed.
    Slots {
        /// The transport.
        transport: String,
        /// The changed ones.
        slots: Vec<Slot>,
    },
    /// Offer again with at least so many m-lines.
    Need {
        /// The transport.
        transport: String,
        /// Audio m-lines in all.
        audio: u32,
        /// Video m-lines in all.
        video: u32,
    },
    /// Who speaks, loudest first.
    Speak(Vec<ParticipantId>),
    /// The room changed.
    Room(RoomSettings),
    /// Data.
    Message {
        /// From whom.
        from: ParticipantId,
        /// About what.
        topic: String,
        /// The text.
        data: Arc<str>,
    },
    /// A mesh leg's signalling.
    Signal {
        /// From whom.
        from: ParticipantId,
        /// The text.
        body: Arc<str>,
    },
    /// It is out; nothing follows.
    Left(LeftWhy),
}
