//! Rooms and media forwarding without IO.
//!
//! A worker owns one core. Commands and datagrams go in with `now`, everything else comes out of `poll_output`.
//! What does not belong here: JSON, HTTP, sockets, metrics, TURN.

pub mod command;
pub mod error;
pub mod event;
pub mod id;

pub use command::Command;
pub use error::Error;
pub use event::{Event, Success};
pub use id::{ParticipantId, RequestId, RoomId, TrackId};
