//! Recordings as they lie in storage: keys, the segments that recorders write, and the manifest that the server composes
//! of them.
//!
//! ```text
//! {prefix}/{folder}/{participant}-{av|screen|mic|camera|screen_audio}-{n}.{webm|mkv}
//! {prefix}/{folder}/segments/{recorder}-{run}.json   one RecorderSegment, written by the recorder, last
//! {prefix}/{folder}/recording.json                   the Manifest, composed by turn-server
//! ```
//! `folder` is `{room_id}/{recording}` unless the operator's template says otherwise; it always ends with the recording's
//! id, so that no two recordings ever share one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{ParticipantId, RecorderId, RecordingId, RoomName};
use crate::message::{RecordingState, Source};

/// The manifest version that this crate writes.
pub const MANIFEST_VERSION: u32 = 1;

/// What becomes a file.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = RecordingMode))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// A file for each participant's microphone and camera, and one for each screen with its sound.
    #[default]
    Participant,
    /// A file for each track.
    Track,
    /// A file for each participant's microphone, and one for the sound of each screen; no pictures.
    Audio,
}

/// How a room is recorded. Recorders pass over what a newer server asks for beyond this: a job is better done so than not.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RecordingOptions {
    /// What becomes a file.
    pub mode: Mode,
    /// Stop by itself after so many seconds; 0: never.
    pub max_duration_s: u64,
    /// Stop by itself once its files have so many megabytes (10^6 bytes) in all; 0: never.
    pub max_size_mb: u64,
    /// Words of whoever started it, kept in the manifest and, where the storage takes them, on the objects.
    pub tags: BTreeMap<String, String>,
}

impl Default for RecordingOptions {
    fn default() -> Self {
        Self { mode: Mode::default(), max_duration_s: 4 * 3600, max_size_mb: 0, tags: BTreeMap::new() }
    }
}

/// What one recorder wrote of a recording from one job until its end, which is a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecorderSegment {
    /// Manifest version, [`MANIFEST_VERSION`].
    pub v: u32,
    /// Who wrote it.
    pub recorder: RecorderId,
    /// In which of its runs: the number that the names of its files begin after.
    #[serde(default)]
    pub run: u32,
    /// Of which recording.
    pub recording: RecordingId,
    /// The room's name.
    pub room: RoomName,
    /// The room's id in keys.
    pub room_id: String,
    /// Where the recording lies, below the storage prefix.
    pub folder: String,
    /// Zero of the recording's clock, milliseconds since 1970.
    pub started_ms: u64,
    /// When this recorder stopped, on the recording's clock; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// Its files.
    pub files: Vec<RecordedFile>,
    /// What happened in the room while it was there.
    #[serde(default)]
    pub timeline: Vec<Moment>,
    /// Whether a crash ended it and what the spool held was recovered.
    #[serde(default)]
    pub recovered: bool,
    /// Which files could not be stored, and why; absent: all were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl RecorderSegment {
    /// Where it lies, below the storage prefix. No other run has the same key, and the same one writes the same again.
    pub fn key(&self) -> String {
        format!("{}/segments/{}-{}.json", self.folder, self.recorder, self.run)
    }
}

/// One media file of a recording. Times are milliseconds on the recording's clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedFile {
    /// `{participant}-{av|screen|mic|camera|screen_audio}-{n}.{webm|mkv}`.
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
    /// Each source that delivered, with the moment of its first sound or picture.
    #[serde(default)]
    pub tracks: Vec<RecordedTrack>,
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
    /// What the way here did to it.
    #[serde(default)]
    pub figures: FileFigures,
}

/// One source of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedTrack {
    /// Which.
    pub source: Source,
    /// Its codec by RTP name.
    pub codec: String,
    /// Its first sound or picture, milliseconds on the recording's clock.
    pub start_ms: u64,
    /// By how many parts in a million its sender's clock is fast, by its sender reports; absent without enough of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_ppm: Option<f64>,
    /// How far its sender reports lie from that line, milliseconds, root mean square.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual_ms: Option<f64>,
}

/// Counters of one file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileFigures {
    /// Packets that came.
    pub packets: u64,
    /// Packets that never came, not even again.
    pub lost: u64,
    /// Key frames asked for.
    pub key_frames_asked: u64,
    /// Milliseconds of sound that were filled in.
    pub filled_ms: u64,
    /// Packets of sound that came when their place was filled already.
    pub dropped: u64,
    /// Frames that came and could not be written.
    pub refused: u64,
}

/// Something that happened in the room, on the recording's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When, milliseconds.
    pub t: u64,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What can happen in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Happening {
    /// A participant came, or was there when this recorder came.
    Join {
        /// Who.
        participant: ParticipantId,
        /// The name shown.
        name: String,
    },
    /// A participant left.
    Leave {
        /// Who.
        participant: ParticipantId,
    },
    /// A track was published.
    Publish {
        /// Whose.
        participant: ParticipantId,
        /// What it shows.
        source: Source,
    },
    /// A track ended.
    Unpublish {
        /// Whose.
        participant: ParticipantId,
        /// What it showed.
        source: Source,
    },
    /// A track was muted.
    Mute {
        /// Whose.
        participant: ParticipantId,
        /// Which.
        source: Source,
    },
    /// A track was unmuted.
    Unmute {
        /// Whose.
        participant: ParticipantId,
        /// Which.
        source: Source,
    },
    /// Somebody else is the loudest.
    Speaker {
        /// Who; absent: nobody speaks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        participant: Option<ParticipantId>,
    },
    /// The recording was paused.
    Pause,
    /// The recording went on.
    Resume,
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
    /// `loss`, `mute`, `pause`, `link`, `codec`.
    pub cause: String,
    /// Of what; absent in recordings of older recorders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
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
    /// Where it lies, below the storage prefix.
    pub folder: String,
    /// How it was to be recorded.
    #[serde(default)]
    pub options: RecordingOptions,
    /// For how many days it is kept once it is over, 0: for ever; absent: as the server is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_days: Option<u32>,
    /// How far it is.
    pub state: RecordingState,
    /// When it was switched on, milliseconds since 1970.
    pub started_ms: u64,
    /// When it was switched off, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// What each run of a recorder wrote.
    pub segments: Vec<RecorderSegment>,
    /// What happened in the room, as all recorders saw it, in order.
    #[serde(default)]
    pub timeline: Vec<Moment>,
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

/// How a recording stands on one recorder while it is not ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// Bytes in the spool.
    pub bytes: u64,
    /// Bytes of them that storage has.
    pub stored: u64,
    /// Participants that are recorded now.
    pub participants: u32,
    /// Packets that came.
    pub packets: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Key frames asked for.
    pub key_frames_asked: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_newer_server_asks_for_is_passed_over() {
        let options: RecordingOptions = serde_json::from_str(r#"{"mode":"audio","colour":"red"}"#).expect("reads");
        assert_eq!(options, RecordingOptions { mode: Mode::Audio, ..RecordingOptions::default() });
    }
}
