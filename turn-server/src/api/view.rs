//! Rooms and recordings as the API shows them.

use serde::Serialize;
use signalling::message::{Mode, Peer, RecordingState, RoomRecording, Track};
use signalling::{ParticipantId, RecordingId, RoomName};
use utoipa::ToSchema;

use crate::config::Guests;
use crate::signalling::directory::Room;

/// A room.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RoomView {
    /// Its name.
    pub(crate) name: RoomName,
    /// How media travels.
    pub(crate) mode: Mode,
    /// Whether nobody new may join.
    pub(crate) locked: bool,
    /// Visible participants at most.
    pub(crate) max_participants: u32,
    /// What guests may do.
    pub(crate) guests: Guests,
    /// Visible participants now.
    pub(crate) participants: usize,
    /// Whether it is recorded from its first participant on.
    pub(crate) record: bool,
    /// Its recording, if one is on.
    pub(crate) recording: Option<RoomRecording>,
    /// When it was made, milliseconds since 1970.
    pub(crate) created_ms: u64,
}

impl From<&Room> for RoomView {
    fn from(room: &Room) -> Self {
        let info = room.info();
        Self {
            name: info.name,
            mode: info.mode,
            locked: info.locked,
            max_participants: info.max_participants,
            guests: room.guests,
            participants: room.visible(),
            record: room.record,
            recording: info.recording,
            created_ms: room.created_ms,
        }
    }
}

/// A participant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ParticipantView {
    /// Its id.
    pub(crate) id: ParticipantId,
    /// Who it is to the application; absent for guests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<String>,
    /// The name to show.
    pub(crate) name: String,
    /// Whether others do not see it.
    pub(crate) hidden: bool,
    /// Its published tracks.
    pub(crate) tracks: Vec<Track>,
}

impl ParticipantView {
    pub(crate) fn new(peer: Peer, hidden: bool, identity: Option<String>) -> Self {
        Self { id: peer.id, identity, name: peer.name, hidden, tracks: peer.tracks }
    }
}

/// A recording without its files.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordingView {
    /// Its id.
    pub(crate) id: RecordingId,
    /// The room that is or was recorded.
    pub(crate) room: RoomName,
    /// How far it is.
    pub(crate) state: RecordingState,
    /// When it was switched on, milliseconds since 1970.
    pub(crate) started_ms: u64,
    /// When it was switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_ms: Option<u64>,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Its files; while it runs, those that are known.
    pub(crate) files: Vec<FileView>,
}

/// A file of a recording.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileView {
    /// Its name.
    pub(crate) name: String,
    /// Bytes; 0 while it grows.
    pub(crate) size: u64,
    /// `webm` or `mkv`.
    pub(crate) container: String,
    /// Codecs by RTP name.
    pub(crate) codecs: Vec<String>,
    /// Whose media it is.
    pub(crate) participant: ParticipantId,
    /// The name shown at the time.
    pub(crate) participant_name: String,
    /// Where it begins on the recording's clock, milliseconds.
    pub(crate) start_ms: u64,
    /// Where it ends.
    pub(crate) end_ms: u64,
    /// A link that needs no header and works for a while; absent until the file is complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
}
