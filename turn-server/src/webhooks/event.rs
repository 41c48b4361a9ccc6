//! What is said of a recording, and how it is written.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::queue::Message;
use crate::recording::RecordingView;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// A recorder is in the room.
    Started,
    /// Nothing is written for now.
    Paused,
    /// It goes on.
    Resumed,
    /// It is over; its files are finished and uploaded from here on.
    Stopped,
    /// All of it is in storage.
    Ready,
    /// Nothing came of it.
    Failed,
    /// It is gone, by hand or because its time is over.
    Deleted,
}

impl Event {
    /// Its type on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Started => "recording.started",
            Self::Paused => "recording.paused",
            Self::Resumed => "recording.resumed",
            Self::Stopped => "recording.stopped",
            Self::Ready => "recording.ready",
            Self::Failed => "recording.failed",
            Self::Deleted => "recording.deleted",
        }
    }

    /// The message, with the recording as it is now. It holds no links: they are good for an hour, and a message may wait longer.
    ///
    /// # Errors
    /// If it cannot be written as JSON, which it can.
    pub(super) fn message(self, id: String, recording: &RecordingView, now_ms: u64) -> serde_json::Result<Message> {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: &'static str,
            timestamp: String,
            data: &'a RecordingView,
        }
        let nanos = i128::from(now_ms) * 1_000_000;
        let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let timestamp = at.format(&Rfc3339).unwrap_or_default();
        let body = serde_json::to_string(&Body { r#type: self.as_str(), timestamp, data: recording })?;
        Ok(Message { id, recording: recording.id.clone(), created_ms: now_ms, body })
    }
}
