//! What both ends of an RTP stream need and the WebRTC engine does not have: timestamps that do not wrap, and which
//! sequence numbers there are.
//! What does not belong here: what only one end needs, and whatever the engine does well.

mod sequence;
mod timestamps;

pub use sequence::is_sequence;
pub use timestamps::{Timestamps, beside};
