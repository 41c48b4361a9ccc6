//! The seam to the WebRTC engine: what crosses it, in words that are not the engine's.
//!
//! A [`Transport`] does ICE, DTLS, SRTP, reports and retransmission for one peer connection. Media comes in as
//! [`Packet`] and goes out as a packet with a [`Rewrite`]. Codec names cross the seam, not payload types; each packet
//! crosses with the moment it was captured. Nothing outside `engine/` names the engine.

mod lines;
mod negotiate;
mod str0m;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use self::str0m::{Certificate, Mid, Rid, Transport};
use crate::codec::Picture;

/// How datagrams travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Over UDP.
    Udp,
    /// Over a TCP connection that the client opened (RFC 6544), one frame of RFC 4571 each.
    Tcp,
}

/// Where a datagram comes from or goes to, seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// UDP, or which kind of stream.
    pub protocol: Protocol,
    /// Our own address: where it arrived, where it must be sent from. Never unspecified.
    pub local: SocketAddr,
    /// The other side's address.
    pub remote: SocketAddr,
}

/// A codec that is forwarded, as far as it decides whether a receiver can decode what a sender encodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Format {
    Opus,
    Vp8,
    /// With its profile.
    Vp9(u8),
    /// With packetization-mode and the profile part of profile-level-id.
    H264(u8, u16),
    Av1,
}

impl Format {
    /// Name in SDP and in rooms/1.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Vp8 => "VP8",
            Self::Vp9(_) => "VP9",
            Self::H264(..) => "H264",
            Self::Av1 => "AV1",
        }
    }

    /// Ticks of its RTP clock a second.
    pub(crate) fn clock_rate(self) -> u32 {
        if self == Self::Opus { 48_000 } else { 90_000 }
    }
}

/// An m-line as negotiated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) mid: Mid,
    pub(crate) audio: bool,
    /// The client receives on it: it is a slot.
    pub(crate) slot: bool,
    /// The client may send on it.
    pub(crate) ingress: bool,
    /// What both sides speak on it, best first.
    pub(crate) formats: Vec<Format>,
    /// Simulcast layers that the client announced, in its order.
    pub(crate) rids: Vec<Rid>,
}

/// One moment in both clocks of a sender (RFC 3550, 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    /// Wall clock of the sender since 1970.
    pub(crate) wall: Duration,
    /// RTP clock, extended to the base of [`Packet::timestamp`].
    pub(crate) timestamp: i64,
}

/// A media packet on its way through.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) mid: Mid,
    pub(crate) rid: Option<Rid>,
    pub(crate) ssrc: u32,
    pub(crate) format: Format,
    /// Extended sequence number of the publisher.
    pub(crate) sequence: u64,
    /// Extended timestamp of the publisher.
    pub(crate) timestamp: u64,
    pub(crate) marker: bool,
    pub(crate) payload: Arc<[u8]>,
    /// What the payload's descriptor says.
    pub(crate) picture: Picture,
    pub(crate) arrived: Instant,
    /// When it was captured, by our clock; never after now. `arrived` until the router knows better.
    pub(crate) captured: Instant,
    /// The newest report of its stream with a packet count above 0.
    pub(crate) report: Option<Report>,
    /// Loudness in -dBov (RFC 6464): 0 is loudest, 127 silence.
    pub(crate) level: Option<u8>,
    /// Header extensions that are passed on as they are.
    pub(crate) extensions: self::str0m::Extensions,
}

/// What differs for one receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rewrite {
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) picture_id: Option<u16>,
    pub(crate) tl0_pic_idx: Option<u8>,
}

/// What a transport says.
#[derive(Debug)]
pub(crate) enum Output {
    Transmit {
        path: Path,
        bytes: Vec<u8>,
    },
    Packet(Packet),
    /// ICE and DTLS are done; key frames make sense from here on.
    Connected,
    /// The receiver of a slot cannot decode.
    KeyFrameWanted(Mid),
    /// The data channel "tern" is open.
    ChannelOpen,
    /// A text from the data channel.
    Text(String),
    /// The transport is over.
    Closed(Why),
}

/// Why a transport is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The client closed it.
    Remote,
    /// The engine gave up (handshake failed, fingerprint wrong).
    Failed,
    /// The engine panicked: a bug; only this transport is lost.
    Panicked,
}

/// Why an offer is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It cannot be read or answered.
    Sdp(String),
    /// An m-line without a codec of ours.
    Codec(String),
    /// More m-lines than allowed.
    TooMany(usize),
}
