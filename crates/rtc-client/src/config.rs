//! What a transport offers.

use std::net::SocketAddr;

use crate::packet::Codec;

/// Sound or picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Picture.
    Video,
}

/// A track to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Sound or picture.
    pub kind: Kind,
    /// Simulcast layers by rid, highest first; empty: one encoding.
    pub rids: Vec<String>,
    /// Whether the m-line also receives (a browser sends its microphone on a slot). Not with layers: this engine then
    /// takes in nothing without a rid.
    pub receive: bool,
}

/// What a transport is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Addresses of the caller's socket, as candidates. Every transport needs a port of its own.
    pub local: Vec<SocketAddr>,
    /// Receiving audio m-lines.
    pub audio_slots: usize,
    /// Receiving video m-lines.
    pub video_slots: usize,
    /// What is sent, an m-line each, before the slots in the offer.
    pub publish: Vec<Publication>,
    /// The label of a data channel (unordered, without retransmission); `None`: none.
    pub channel: Option<String>,
    /// What is offered, best first. Retransmission is offered for each, for Opus too.
    pub codecs: Vec<Codec>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            local: Vec::new(),
            audio_slots: 0,
            video_slots: 0,
            publish: Vec::new(),
            channel: None,
            codecs: vec![Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1],
        }
    }
}
