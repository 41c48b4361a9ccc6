//! `rooms/1`: one WebSocket, JSON text, one object a frame, at most [`MAX_FRAME`] bytes.
//!
//! ```text
//! client -> server   {"t":"join","id":1,...}     exactly one reply: {"t":"ok","id":1,...} or {"t":"err","id":1,"code":...}
//! server -> client   {"t":"slots","seq":9,...}   seq counts this session's events
//! ```
//! Unknown fields are ignored on both sides and clients ignore unknown events, so that both can grow.

pub mod client;
pub mod parts;
pub mod server;

pub use client::{ClientFrame, Request};
pub use parts::*;
pub use server::{Event, EventFrame, Reply, ReplyFrame};

/// The protocol version that this crate speaks.
pub const VERSION: u32 = 1;

/// The largest frame that either side accepts, in bytes of UTF-8.
pub const MAX_FRAME: usize = 256 * 1024;

/// The largest `data` of a `msg`, in bytes of JSON text.
pub const MAX_MESSAGE: usize = 64 * 1024;
