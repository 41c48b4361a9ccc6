//! Rooms and media forwarding without IO.
//!
//! A worker owns one core, [`Worker`]. Commands and datagrams go in with `now`, everything else comes out of
//! `poll_output`. What does not belong here: JSON, HTTP, sockets, metrics, TURN.

pub mod command;
pub mod error;
pub mod event;
pub mod id;
pub mod worker;

mod clock;
mod codec;
mod context;
mod demux;
mod engine;
mod keyframe;
mod pace;
mod recent;
mod rewrite;
mod room;
mod simulcast;
mod slots;
mod speaker;
#[cfg(test)]
mod testing;

pub use command::Command;
pub use engine::{Path, Protocol};
pub use error::Error;
pub use event::{Event, Success};
pub use id::{ParticipantId, RequestId, RoomId, TrackId};
pub use worker::{Config, Counters, Load, Output, Worker};
