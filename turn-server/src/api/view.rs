//! Rooms and their participants as the API shows them.

use serde::Serialize;
use signalling::message::{Mode, Peer, RoomRecording, Track};
use signalling::{ParticipantId, RoomName};
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
