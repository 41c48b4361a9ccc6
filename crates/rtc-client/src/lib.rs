//! A participant of a room without IO: offers, media in and out over one WebRTC transport.
//!
//! ```text
//! Transport::new ─ create_offer ─(signalling)─ handle_answer
//!      handle_datagram / handle_timeout ──► poll_output: Transmit, Packet, Connected, ... , poll_timeout
//! ```
//! RTP comes out packet by packet, as it arrived, repaired by retransmission where that worked out. What turns packets
//! into frames that may be written or decoded is [`depacketise`]; what turns frames into packets is [`packetise`].
//! What does not belong here: signalling (see the `signalling` crate), sockets, clocks, files, what a recorder decides.

pub mod config;
pub mod depacketise;
mod engine;
pub mod error;
mod leb128;
pub mod packet;
pub mod packetise;
pub mod transport;

pub use config::{Config, Kind, Publication};
pub use error::Error;
pub use packet::{Codec, Mid, RtpPacket, SenderReport};
pub use transport::{Frame, Line, Output, Transport};
