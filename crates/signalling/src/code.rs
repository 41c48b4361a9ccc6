//! The one list of error codes: on the wire, in HTTP problems and in Rust. Codes are stable, messages are not.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $http:literal;)*) => {
        /// Why a request was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Code] = &[$(Code::$name,)*];

            /// The code as it is written on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The HTTP status that a problem body with this code carries.
            pub fn http_status(self) -> u16 {
                match self { $(Code::$name => $http,)* }
            }
        }
    };
}

codes! {
    /// The message or body cannot be understood; the text says what is wrong with it.
    BadRequest = "bad_request", 400;
    /// No credential, or one that nobody here signed.
    Unauthorized = "unauthorized", 401;
    /// The credential is good but does not allow this.
    Forbidden = "forbidden", 403;
    /// The token's `exp` is over.
    TokenExpired = "token_expired", 401;
    /// The token was withdrawn, its holder was kicked.
    TokenRevoked = "token_revoked", 401;
    /// The token is bound to another device's key.
    DeviceMismatch = "device_mismatch", 403;
    /// Too many requests; `retry_ms` says when to come back.
    RateLimited = "rate_limited", 429;
    /// No such room, and this caller may not create one by joining.
    RoomNotFound = "room_not_found", 404;
    /// The room has reached its limit of participants.
    RoomFull = "room_full", 409;
    /// A moderator locked the room.
    RoomLocked = "room_locked", 403;
    /// This needs a `join` first.
    NotInRoom = "not_in_room", 409;
    /// This socket has joined already.
    AlreadyInRoom = "already_in_room", 409;
    /// No such participant in the room.
    PeerNotFound = "peer_not_found", 404;
    /// Another participant has this identity and may not be replaced.
    PeerExists = "peer_exists", 409;
    /// No such track in the room.
    TrackNotFound = "track_not_found", 404;
    /// A track's source or kind does not fit its m-line.
    BadKind = "bad_kind", 400;
    /// None of the offered codecs can be forwarded.
    CodecUnsupported = "codec_unsupported", 415;
    /// The SDP cannot be parsed or answered.
    InvalidSdp = "invalid_sdp", 400;
    /// The ICE candidate cannot be parsed.
    InvalidCandidate = "invalid_candidate", 400;
    /// The offer is older than one already answered.
    StaleEpoch = "stale_epoch", 409;
    /// The server gave up waiting.
    Timeout = "timeout", 504;
    /// The session to resume is over: join again.
    SessionGone = "session_gone", 410;
    /// Another socket took this session over; do not reconnect.
    Superseded = "superseded", 409;
    /// The room is mesh only, or this server forwards no media.
    SfuDisabled = "sfu_disabled", 409;
    /// More m-lines than a transport may have.
    SlotLimit = "slot_limit", 409;
    /// The data channel is not open.
    ChannelClosed = "channel_closed", 409;
    /// A message or body over its limit.
    TooLarge = "too_large", 413;
    /// The room is not being recorded.
    NotRecording = "not_recording", 409;
    /// The room is being recorded already.
    AlreadyRecording = "already_recording", 409;
    /// The recorder reported a failure; what it had is kept.
    RecordingFailed = "recording_failed", 500;
    /// No such recording, or no such file in it.
    RecordingNotFound = "recording_not_found", 404;
    /// No recorder is connected, or all are full.
    NoRecorder = "no_recorder", 503;
    /// The object storage does not answer.
    StorageUnavailable = "storage_unavailable", 503;
    /// The server is about to stop and takes nothing new.
    Draining = "draining", 503;
    /// No protocol version in common.
    UnsupportedVersion = "unsupported_version", 400;
    /// Our fault; the log has the story.
    Internal = "internal", 500;
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Code {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some("Why a request was refused; stable."))
            .enum_values(Some(Self::ALL.iter().map(|code| code.as_str())))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Code {
    fn name() -> std::borrow::Cow<'static, str> {
        "Code".into()
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: the code for programs and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// What went wrong, for programs.
    pub code: Code,
    /// What went wrong, for people; not stable.
    pub message: String,
    /// When to try again; 0 means that trying again is pointless or harmless at any time.
    pub retry_ms: u64,
}

impl Refusal {
    /// A refusal without a time to retry.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_ms: 0 }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::new(code, code.as_str().replace('_', " "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_as_it_is_written() {
        for &code in Code::ALL {
            let json = serde_json::to_string(&code).expect("a code serialises");
            assert_eq!(json, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<Code>(&json).expect("and back"), code);
            assert!((400..600).contains(&code.http_status()));
        }
    }
}
