//! The recorder link: a recorder connects out to `/v1/recorders/ws` with its key as bearer and takes jobs.
//!
//! ```text
//! recorder -> server   hello, then state whenever something changes (and every second until it is ready)
//! server -> recorder   job, stop, pause, resume
//! ```
//! The link carries control only. Media comes over rooms/1 like anybody's: the job brings a hidden recorder token.

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::id::{RecorderId, RecordingId, RoomName};
use crate::message::RecordingState;
use crate::recording::{Progress, RecorderSegment, RecordingOptions};

/// What a recorder says.
#[expect(clippy::large_enum_variant, reason = "nearly everything that it says is a state, and they are not kept")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum FromRecorder {
    /// First on the link.
    Hello {
        /// Link version, 1.
        v: u32,
        /// Stable over restarts.
        recorder: RecorderId,
        /// How many rooms it would take now.
        capacity: u32,
        /// Recordings that it holds: running ones after a lost link, recovered ones after a crash.
        recordings: Vec<RecordingId>,
    },
    /// A recording changed.
    State {
        /// Which.
        recording: RecordingId,
        /// How far it is on this recorder.
        state: RecordingState,
        /// What this recorder has of it, so far or finally (with `ready`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        segment: Option<RecorderSegment>,
        /// How it stands, while it is not ready.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        progress: Option<Progress>,
        /// With `failed`: why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<Code>,
        /// With `failed`: why, for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        msg: String,
    },
    /// How many more rooms it would take now.
    Capacity {
        /// Rooms.
        capacity: u32,
    },
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum ToRecorder {
    /// Reply to `hello`.
    Welcome {
        /// Link version spoken.
        v: u32,
    },
    /// Record this room from now on.
    Job {
        /// The recording's id, the server's choice.
        recording: RecordingId,
        /// The room to join, by rooms/1 at the same server.
        room: RoomName,
        /// The room's id in storage keys (`[a-z0-9]+`), never its name.
        room_id: String,
        /// Where the recording lies, below the storage prefix; ends with its id.
        folder: String,
        /// A token with `hidden` and `recorder`.
        token: String,
        /// When it was switched on, in milliseconds since 1970: zero of the recording's clock.
        started_ms: u64,
        /// How long ago that was when the job was sent, in milliseconds: the recorder's own clock may be wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        age_ms: Option<u64>,
        /// Whether a recorder had this job before: what is written now goes on where that one ended.
        #[serde(default)]
        again: bool,
        /// Whether it begins paused: nothing is written until `resume`.
        #[serde(default)]
        paused: bool,
        /// How long it may still go on; absent: as long as it wants. Clocks need not agree for this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends_in_ms: Option<u64>,
        /// How to record.
        options: RecordingOptions,
    },
    /// Stop, finalise, upload.
    Stop {
        /// Which.
        recording: RecordingId,
    },
    /// Write nothing until `resume`.
    Pause {
        /// Which.
        recording: RecordingId,
    },
    /// Write again.
    Resume {
        /// Which.
        recording: RecordingId,
    },
    /// The server knows nothing of this recording (any more): finish what you hold of it.
    Unknown {
        /// Which.
        recording: RecordingId,
    },
    /// A message could not be taken; without a `welcome` before it, the link ends.
    Refused {
        /// Why.
        code: Code,
        /// Why, for people.
        msg: String,
    },
}
