//! Media as it arrives.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// A codec that a room carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// RFC 7587.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// RFC 6184.
    H264,
    /// The AOM's RTP payload format.
    Av1,
}

impl Codec {
    /// Ticks of its RTP clock a second.
    pub fn clock_rate(self) -> u32 {
        if self == Self::Opus { 48_000 } else { 90_000 }
    }

    /// Whether it is sound.
    pub fn is_audio(self) -> bool {
        self == Self::Opus
    }

    /// Its name in SDP and in rooms/1.
    pub fn name(self) -> &'static str {
        match self {
            Self::Opus => "opus",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::H264 => "H264",
            Self::Av1 => "AV1",
        }
    }
}

/// The identification of an m-line (RFC 5888), as it stands in `slots` and `tracks` of rooms/1. At most 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mid(pub(crate) str0m::media::Mid);

impl std::fmt::Debug for Mid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mid({self})")
    }
}

impl std::fmt::Display for Mid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Mid {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// The newest sender report (RFC 3550, 6.4.1) of a stream: one moment in both of the sender's clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderReport {
    /// The moment by the sender's wall clock. All streams of one transport share that clock.
    pub ntp: SystemTime,
    /// The same moment in ticks of the stream's RTP clock, extended like [`RtpPacket::timestamp`] (may be before it).
    pub timestamp: i64,
    /// Packets sent until then; reports with 0 are worthless.
    pub packets: u32,
}

/// One packet of a track, in order of arrival: a repaired one comes late, a lost one never.
#[derive(Debug, Clone)]
pub struct RtpPacket {
    /// The m-line; which track is on it now is said by `slots`.
    pub mid: Mid,
    /// Simulcast layer, for the rare receiver that gets several.
    pub rid: Option<Arc<str>>,
    /// What the payload is.
    pub codec: Codec,
    /// Synchronisation source. Sequence numbers and timestamps go on across changes of the track behind an m-line.
    pub ssrc: u32,
    /// Sequence number without wrap-around.
    pub sequence: u64,
    /// Timestamp without wrap-around, in ticks of [`Codec::clock_rate`].
    pub timestamp: u64,
    /// Marker bit: the last packet of a video frame.
    pub marker: bool,
    /// The payload with its codec's descriptor, without RTP padding. Empty: a packet of padding only.
    pub payload: Arc<[u8]>,
    /// When it arrived.
    pub arrived: Instant,
    /// The stream's newest sender report at that time.
    pub report: Option<SenderReport>,
}
