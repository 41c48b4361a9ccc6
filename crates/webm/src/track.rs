//! Tracks: their codecs, and the `TrackEntry` that describes each of them in the head.
//!
//! A track is declared in a file only after it has delivered (see [`crate::head`]); this module does not know when.

use crate::{ebml, id, opus::opus_head};

/// Decoders need 80 ms before a seek target to settle (RFC 7845 section 4.6), in nanoseconds as Matroska counts.
const OPUS_SEEK_PRE_ROLL_NS: u64 = 80_000_000;

/// A track's number in its file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackNumber(pub(crate) u8);

impl TrackNumber {
    /// The number as it stands in the file.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    /// The track number `number`, if it fits the one-byte form that this writer uses.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (1..=126).contains(&number).then_some(Self(number))
    }
}

/// What a track carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Codec {
    /// Opus at 48 kHz, declared as stereo.
    Opus,
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
    /// AV1 as low-overhead OBUs without temporal delimiters.
    Av1 {
        /// The `av1C` record of the stream's sequence header.
        config: Vec<u8>,
    },
    /// H.264 as length-prefixed NAL units. Not legal in WebM: the file's document type becomes `matroska`.
    H264 {
        /// The `avcC` record of the stream's parameter sets.
        config: Vec<u8>,
    },
}

impl Codec {
    /// Whether this is a video codec; all others are audio.
    #[must_use]
    pub fn is_video(&self) -> bool {
        !matches!(self, Self::Opus)
    }

    /// Whether WebM allows it; a file with any other codec is Matroska (`.mkv`).
    #[must_use]
    pub fn is_webm(&self) -> bool {
        !matches!(self, Self::H264 { .. })
    }

    fn matroska_id(&self) -> &'static str {
        match self {
            Self::Opus => "A_OPUS",
            Self::Vp8 => "V_VP8",
            Self::Vp9 => "V_VP9",
            Self::Av1 { .. } => "V_AV1",
            Self::H264 { .. } => "V_MPEG4/ISO/AVC",
        }
    }

    fn from_matroska(name: &[u8], private: &[u8]) -> Option<Self> {
        Some(match name {
            b"A_OPUS" => Self::Opus,
            b"V_VP8" => Self::Vp8,
            b"V_VP9" => Self::Vp9,
            b"V_AV1" => Self::Av1 { config: private.to_vec() },
            b"V_MPEG4/ISO/AVC" => Self::H264 { config: private.to_vec() },
            _ => return None,
        })
    }
}

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Pixels in a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

impl Size {
    /// The smallest size that holds both; a file declares the largest it contains, so that players never crop.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { width: self.width.max(other.width), height: self.height.max(other.height) }
    }
}

/// Why a track cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrackError {
    /// The head region has no room for one more.
    #[error("the file's head has no room for another track")]
    HeadFull,
    /// The recording is finished.
    #[error("the file is finished")]
    Finished,
}

/// One track as its file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Its number.
    pub number: TrackNumber,
    /// What it carries.
    pub codec: Codec,
    /// The largest size seen, of a video track.
    pub size: Option<Size>,
}

impl Track {
    /// Appends the `TrackEntry` (RFC 9559 section 5.1.4.1).
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let number = u64::from(self.number.0);
        ebml::put_master(out, id::TRACK_ENTRY, |out| {
            ebml::put_uint(out, id::TRACK_NUMBER, number);
            // Unique in the file is all that is asked of it; two runs of one input stay byte-equal.
            ebml::put_uint(out, id::TRACK_UID, number);
            ebml::put_uint(out, id::TRACK_TYPE, if self.codec.is_video() { 1 } else { 2 });
            ebml::put_uint(out, id::FLAG_LACING, 0);
            ebml::put_binary(out, id::LANGUAGE, b"und");
            ebml::put_binary(out, id::CODEC_ID, self.codec.matroska_id().as_bytes());
            match &self.codec {
                Codec::Opus => {
                    ebml::put_binary(out, id::CODEC_PRIVATE, &opus_head());
                    ebml::put_uint(out, id::CODEC_DELAY, 0);
                    ebml::put_uint(out, id::SEEK_PRE_ROLL, OPUS_SEEK_PRE_ROLL_NS);
                    ebml::put_master(out, id::AUDIO, |out| {
                        ebml::put_float(out, id::SAMPLING_FREQUENCY, 48_000.0);
                        ebml::put_uint(out, id::CHANNELS, 2);
                    });
                }
                Codec::Av1 { config } | Codec::H264 { config } => ebml::put_binary(out, id::CODEC_PRIVATE, config),
                Codec::Vp8 | Codec::Vp9 => {}
            }
            if let Some(size) = self.size {
                ebml::put_master(out, id::VIDEO, |out| {
                    ebml::put_uint(out, id::PIXEL_WIDTH, size.width.into());
                    ebml::put_uint(out, id::PIXEL_HEIGHT, size.height.into());
                });
            }
        });
    }

    /// Reads back the data of a `TrackEntry` that [`Track::put`] wrote.
    pub(crate) fn parse(entry: &[u8]) -> Option<Self> {
        let (mut number, mut name, mut private) = (None, None, &[][..]);
        let (mut width, mut height) = (None, None);
        for (id, data) in ebml::Elements(entry) {
            match id {
                id::TRACK_NUMBER => number = ebml::read_uint(data).and_then(|number| u8::try_from(number).ok()),
                id::CODEC_ID => name = Some(data),
                id::CODEC_PRIVATE => private = data,
                id::VIDEO => {
                    for (id, data) in ebml::Elements(data) {
                        let pixels = ebml::read_uint(data).and_then(|pixels| u16::try_from(pixels).ok());
                        match id {
                            id::PIXEL_WIDTH => width = pixels,
                            id::PIXEL_HEIGHT => height = pixels,
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Some(Self {
            number: TrackNumber::new(number?)?,
            codec: Codec::from_matroska(name?, private)?,
            size: width.zip(height).map(|(width, height)| Size { width, height }),
        })
    }
}
