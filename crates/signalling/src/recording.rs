//! Recordings as they lie in storage: keys, each recorder's segment and the manifest that the server composes of them.
//!
//! ```text
//! {prefix}/{room_id}/{recording}/{participant}-{av|screen}-{n}.webm
//! {prefix}/{room_id}/{recording}/segments/{recorder}.json       one RecorderSegment, written by the recorder, last
//! {prefix}/{room_id}/{recording}/recording.json                 the Manifest, composed by turn-server
//! ```

use serde::{Deserialize, Serialize};

use crate::id::{ParticipantId, RecorderId, RecordingId, RoomName};
use crate::message::{RecordingState, Source};

/// The manifest version that this crate writes.
pub const MANIFEST_VERSION: u32 = 1;

/// How a room is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordingOptions {
    /// Stop by itself after so many seconds; 0: never.
    pub max_duration_s: u64,
}

impl Default for RecordingOptions {
    fn default() -> Self {
        Self { max_duration_s: 4 * 3600 }
    }
}

/// What one recorder wrote of a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecorderSegment {
    /// Manifest version, [`MANIFEST_VERSION`].
    pub v: u32,
    /// Who wrote it.
    pub recorder: RecorderId,
    /// Of which recording.
    pub recording: RecordingId,
    /// The room's name.
    pub room: RoomName,
    /// The room's id in keys.
    pub room_id: String,
    /// Zero of the recording's clock, milliseconds since 1970.
    pub started_ms: u64,
    /// When this recorder stopped, on the recording's clock; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Its files.
    pub files: Vec<RecordedFile>,
    /// Whether a crash ended it and what the spool held was recovered.
    #[serde(default)]
    pub recovered: bool,
}

/// One media file of a recording. Times are milliseconds on the recording's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedFile {
    /// `{participant}-{av|screen}-{n}.webm`.
    pub name: String,
    /// Size in bytes; 0 while it grows.
    pub size: u64,
    /// SHA-256 over the concatenated SHA-256 of its 8 MiB parts, hex; empty while it grows.
    #[serde(default)]
    pub sha256_parts: String,
    /// `webm` or `mkv`.
    pub container: String,
    /// Codecs by RTP name.
    pub codecs: Vec<String>,
    /// Whose media it is.
    pub participant: ParticipantId,
    /// The name shown at the time.
    #[serde(default)]
    pub participant_name: String,
    /// What is in it.
    pub sources: Vec<Source>,
    /// Where the file's time 0 lies.
    pub start_ms: u64,
    /// Where its last block ends.
    pub end_ms: u64,
    /// Every picture size.
    #[serde(default)]
    pub resolutions: Vec<Resolution>,
    /// What was lost or absent.
    #[serde(default)]
    pub gaps: Vec<Gap>,
}

/// A picture size from a time on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// From when.
    pub t: u64,
    /// Width in pixels.
    pub w: u32,
    /// Height in pixels.
    pub h: u32,
}

/// A stretch without media.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// From when.
    pub t: u64,
    /// For how long.
    pub ms: u64,
    /// `loss`, `mute`, `pause`, `link`.
    pub cause: String,
}

/// `recording.json`: everything about a recording, composed from the segments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_VERSION`].
    pub v: u32,
    /// Its id.
    pub id: RecordingId,
    /// The room's name.
    pub room: RoomName,
    /// The room's id in keys.
    pub room_id: String,
    /// How far it is.
    pub state: RecordingState,
    /// When it was switched on, milliseconds since 1970.
    pub started_ms: u64,
    /// When it was switched off, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// What each recorder wrote.
    pub segments: Vec<RecorderSegment>,
    /// With `failed`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Manifest {
    /// All files of all segments.
    pub fn files(&self) -> impl Iterator<Item = &RecordedFile> {
        self.segments.iter().flat_map(|segment| &segment.files)
    }
}

/// The folder of a recording below the storage prefix.
pub fn folder(room_id: &str, recording: &RecordingId) -> String {
    format!("{room_id}/{recording}")
}
