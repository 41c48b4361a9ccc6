//! The wire of Tern: `rooms/1` messages, the recorder link, recording manifests, room tokens and the one list of error codes.
//!
//! Types only: parsing, printing, signing. What a message *does* is decided by the room (`crates/sfu`) and by the shell
//! that translates one into the other (`turn-server/src/signalling`). The prose is `docs/signalling.md`.

pub mod code;
pub mod device;
pub mod id;
pub mod link;
pub mod message;
pub mod recording;
pub mod timeline;
pub mod token;

pub use code::Code;
pub use id::{ParticipantId, PcId, RecorderId, RecordingId, RoomName, TrackId};
