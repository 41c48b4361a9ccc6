//! Packets into frames that are whole: order restored, loss told, damage never passed on.
//!
//! The engine has a frame mode of its own. It is not used: a file needs to know what was lost and when, and a frame
//! after a hole must not be written even if it is complete itself. Here a frame comes out only if every packet of it is
//! there, and a delta frame only if no packet is missing since the last key frame. Continuity is judged by sequence
//! numbers; a forwarder may have rewritten PictureIDs.
//!
//! ```text
//! RtpPacket ─► Reorder (waits for retransmission) ─► Assembler (vp8, vp9, av1, h264) ─► Picture
//!                                                └► opus
//! ```

pub mod assembler;
mod av1;
mod bits;
mod h264;
pub mod opus;
pub mod reorder;
pub mod vp8;
mod vp9;

pub use assembler::{Assembler, Key, Picture};
pub use reorder::{Ordered, Reorder};
