//! What both ends of an RTP stream need and the WebRTC engine does not have: for now, timestamps that do not wrap.
//! What does not belong here: what only one end needs, and whatever the engine does well.

mod timestamps;

pub use timestamps::Timestamps;
