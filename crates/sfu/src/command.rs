//! What the shell may ask of a worker's core. Every command with a [`RequestId`] gets exactly one reply.

use std::sync::Arc;

use crate::id::{ParticipantId, RequestId, RoomId, TrackId};

/// What a track shows or sounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A microphone.
    Mic,
    /// A camera.
    Camera,
    /// A shared screen, window or tab.
    Screen,
    /// The sound of a shared screen.
    ScreenAudio,
}

impl Source {
    /// Whether the source is sound.
    pub fn is_audio(self) -> bool {
        matches!(self, Self::Mic | Self::ScreenAudio)
    }
}

/// How media travels in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Between the participants; only [`Command::Signal`] passes here.
    Mesh,
    /// Through this worker.
    Sfu,
}

/// What a room is made with and may be changed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomSettings {
    /// How media travels.
    pub mode: Mode,
    /// Visible participants at most.
    pub max_participants: u32,
    /// Whether nobody new may join (hidden participants may).
    pub locked: bool,
}

/// What a participant may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// What it may publish.
    pub publish: Vec<Source>,
    /// Whether it may send messages.
    pub data: bool,
    /// Whether it receives others' tracks.
    pub subscribe: bool,
    /// Whether it may mute, kick and lock.
    pub moderate: bool,
    /// Whether others do not see it; it does not count as a participant.
    pub hidden: bool,
    /// Whether it may open a transport per participant and is not bound by last-N.
    pub recorder: bool,
}

/// A track that is sent on an m-line of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The m-line; empty in a mesh room, where no m-line of ours carries it.
    pub mid: String,
    /// What it carries.
    pub source: Source,
    /// Whether it starts muted.
    pub muted: bool,
}

/// An SDP offer for one transport of a participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The transport's name, chosen by the client (`main`).
    pub transport: String,
    /// 1 for a new transport, then one more each time.
    pub epoch: u64,
    /// For a recorder's transport: only this participant's tracks arrive on it.
    pub only: Option<ParticipantId>,
    /// The SDP text; `None` in a data-only or mesh join, where only `tracks` matter.
    pub sdp: Option<String>,
    /// What is published from now on, all of it; what is missing ends.
    pub tracks: Vec<Intent>,
}

/// A subscriber's wish for a track; `None` leaves a field as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Which track.
    pub track: TrackId,
    /// Wanted at all.
    pub on: Option<bool>,
    /// Shown width in pixels.
    pub width: Option<u32>,
    /// Shown height in pixels.
    pub height: Option<u32>,
    /// Frames a second that are enough.
    pub fps: Option<u32>,
    /// Larger is more important.
    pub priority: Option<i32>,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Makes a room; does nothing to one that exists.
    OpenRoom {
        /// Which.
        room: RoomId,
        /// How.
        settings: RoomSettings,
    },
    /// Changes a room; everybody in it gets [`crate::Event::Room`].
    UpdateRoom {
        /// Which.
        room: RoomId,
        /// Its full new value.
        settings: RoomSettings,
    },
    /// Ends a room: everybody gets [`crate::Event::Left`].
    CloseRoom {
        /// Which.
        room: RoomId,
    },
    /// A participant enters. Reply: [`crate::Success::Joined`].
    Join {
        /// For the reply.
        request: RequestId,
        /// Where.
        room: RoomId,
        /// Who.
        participant: ParticipantId,
        /// Shown name.
        name: String,
        /// What it may do.
        permissions: Permissions,
        /// Its first offer.
        offer: Option<Offer>,
    },
    /// A further offer. Reply: [`crate::Success::Answered`].
    Offer {
        /// For the reply.
        request: RequestId,
        /// Who.
        participant: ParticipantId,
        /// What.
        offer: Offer,
    },
    /// Reply: [`crate::Success::Done`].
    Subscribe {
        /// For the reply.
        request: RequestId,
        /// Who.
        participant: ParticipantId,
        /// What.
        wishes: Vec<Wish>,
    },
    /// An own track's mute state. Reply: [`crate::Success::Done`].
    Mute {
        /// For the reply.
        request: RequestId,
        /// Whose.
        participant: ParticipantId,
        /// Which.
        track: TrackId,
        /// The new state.
        muted: bool,
    },
    /// A moderator (or, without `by`, the API) mutes somebody's track at the server. Reply: [`crate::Success::Done`].
    ModerateMute {
        /// For the reply.
        request: RequestId,
        /// The moderator; `None`: the API.
        by: Option<ParticipantId>,
        /// The room.
        room: RoomId,
        /// Which track.
        track: TrackId,
        /// The new state.
        muted: bool,
    },
    /// Puts a participant out; it gets [`crate::Event::Left`]. Reply: [`crate::Success::Done`].
    Kick {
        /// For the reply.
        request: RequestId,
        /// The moderator; `None`: the API.
        by: Option<ParticipantId>,
        /// The room.
        room: RoomId,
        /// Whom.
        participant: ParticipantId,
    },
    /// Data for others. Reply: [`crate::Success::Done`].
    Message {
        /// For the reply.
        request: RequestId,
        /// Who sends.
        from: ParticipantId,
        /// To whom; empty: everybody else.
        to: Vec<ParticipantId>,
        /// What it is about.
        topic: String,
        /// The text, not read here.
        data: Arc<str>,
        /// If it need not arrive: the whole `msg` frame as the data channel carries it. Receivers without an open
        /// channel get the event instead.
        unreliable: Option<Arc<str>>,
    },
    /// A mesh leg's signalling to one participant. Reply: [`crate::Success::Done`].
    Signal {
        /// For the reply.
        request: RequestId,
        /// Who sends.
        from: ParticipantId,
        /// To whom.
        to: ParticipantId,
        /// The text, not read here.
        body: Arc<str>,
    },
    /// A participant is gone (it said bye, or its session ran out). No reply.
    Leave {
        /// Who.
        participant: ParticipantId,
    },
    /// The state of a room, for the API. Reply: [`crate::Success::Snapshot`].
    Snapshot {
        /// For the reply.
        request: RequestId,
        /// Which.
        room: RoomId,
    },
}
