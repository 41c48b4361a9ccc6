//! The nouns that several messages share.

use serde::{Deserialize, Serialize};

use crate::id::{ParticipantId, RecordingId, RoomName, TrackId};

/// What a track shows or sounds; it decides the kind of its m-line and who may publish it.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A microphone (audio).
    Mic,
    /// A camera (video).
    Camera,
    /// A shared screen, window or tab (video).
    Screen,
    /// The sound of a shared screen (audio).
    ScreenAudio,
}

impl Source {
    /// Whether the source is sound.
    pub fn is_audio(self) -> bool {
        matches!(self, Source::Mic | Source::ScreenAudio)
    }
}

/// How media travels in a room.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Between the participants themselves; the server relays only their signalling.
    Mesh,
    /// Through the server.
    Sfu,
    /// On the way from mesh to SFU; mesh legs still play.
    Switching,
}

/// A track that a client is about to send on an m-line of its offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackIntent {
    /// The m-line of the accompanying offer. Empty in a mesh room without an offer.
    #[serde(default)]
    pub mid: String,
    /// What it carries.
    pub src: Source,
    /// Whether it starts muted.
    #[serde(default)]
    pub muted: bool,
}

/// A published track as everybody sees it.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// Its id.
    pub id: TrackId,
    /// Who publishes it.
    pub peer: ParticipantId,
    /// What it carries.
    pub src: Source,
    /// Whether nothing is to be heard or seen on it now, whoever said so.
    #[serde(default)]
    pub muted: bool,
    /// Whether a moderator muted it: its packets are dropped at the server until a moderator says otherwise.
    #[serde(default)]
    pub muted_by_moderator: bool,
    /// The codec by its RTP name (`VP8`, `opus`), once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codec: Option<String>,
}

/// A participant as everybody sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its id.
    pub id: ParticipantId,
    /// The name that it wants to be shown; user's text, never trusted.
    #[serde(default)]
    pub name: String,
    /// Its published tracks.
    #[serde(default)]
    pub tracks: Vec<Track>,
}

/// The mapping of one receiving m-line: which track arrives on it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// The m-line.
    pub mid: String,
    /// The track on it; `None`: blank it now.
    pub track: Option<TrackId>,
    /// Who publishes the track.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<ParticipantId>,
    /// Whether packets flow; `false` with a track: it is held back, and `why` says why.
    pub on: bool,
    /// Why nothing flows: `muted`, `unsubscribed`, `last_n`, `bandwidth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A subscriber's wish for one track. Absent fields stay as they were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wish {
    /// Which track.
    pub track: TrackId,
    /// Whether it is wanted at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
    /// Width in CSS pixels times the pixel ratio at which it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub w: Option<u32>,
    /// Height likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub h: Option<u32>,
    /// Frames a second that are enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fps: Option<u32>,
    /// Larger is more important when bandwidth is short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prio: Option<i32>,
    /// Confirmation that the first picture or sound of the track was rendered (topology switch).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playing: Option<bool>,
}

/// The life of a recording, as clients, API and recorders name it.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingState {
    /// A recorder was asked.
    Starting,
    /// Packets are being written.
    Recording,
    /// On, but nothing is written.
    Paused,
    /// Stopped; indexes are being written.
    Finalising,
    /// Complete on the recorder's disk, on its way to storage.
    Uploading,
    /// In storage, whole, with its manifest.
    Ready,
    /// Given up; what there is was kept at the recorder.
    Failed,
}

impl RecordingState {
    /// Whether the participants' media is (about to be) written: the red light is on.
    pub fn is_live(self) -> bool {
        matches!(self, Self::Starting | Self::Recording | Self::Paused)
    }
}

/// The recording of a room as its participants see it.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRecording {
    /// Which recording.
    pub id: RecordingId,
    /// How far it is.
    pub state: RecordingState,
    /// When it was switched on, in milliseconds since 1970.
    pub started_ms: u64,
    /// For how long it was on when this was said, in milliseconds: whose clock is wrong counts from here.
    #[serde(default)]
    pub age_ms: u64,
}

/// A room as its participants see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomInfo {
    /// Its name.
    pub name: RoomName,
    /// How media travels now.
    pub mode: Mode,
    /// Whether nobody new may join.
    #[serde(default)]
    pub locked: bool,
    /// How many visible participants may be in it.
    pub max_participants: u32,
    /// Its recording while the red light is on, else `None`.
    #[serde(default)]
    pub recording: Option<RoomRecording>,
}

/// One entry of `RTCConfiguration.iceServers`, ready for a browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// `stun:` and `turn:` URLs.
    pub urls: Vec<String>,
    /// TURN user name, with its expiry in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// TURN password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// A session description of a mesh leg (`RTCSessionDescriptionInit`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// `offer`, `answer`, `pranswer` or `rollback`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The SDP text.
    #[serde(default)]
    pub sdp: String,
}
