//! rooms/1 over WebSocket: sockets, sessions, the directory of rooms, and the way to the SFU workers and back.
//!
//! ```text
//! socket -> requests -> (door) -> hub -> command -> SFU worker
//! socket <- outbox   <----------- hub <- reply, event
//! ```
//! The wire types are in `crates/signalling`, what a room does with media is in `crates/sfu`. No HTTP beyond the upgrade.

pub(crate) mod directory;
pub(crate) mod door;
pub(crate) mod hub;
pub(crate) mod ice;
mod inflate;
pub(crate) mod limits;
mod outbox;
mod requests;
pub(crate) mod session;
pub(crate) mod socket;
pub(crate) mod translate;
