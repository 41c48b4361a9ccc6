//! The head region: the first [`HEAD_LEN`] bytes of a file, the only ones that are ever rewritten.
//!
//! EBML header, the segment's id and size, `SeekHead`, `Info`, `Tracks`, and a `Void` up to the end of the region. While a
//! recording runs the segment's size is unknown and there is no duration, so that a reader can follow the growing file; the
//! final head names both and where the cues stand.

use std::time::Duration;

use crate::{
    ebml, id,
    track::{Track, TrackError},
};

/// Length of the head region in bytes; the first cluster stands right behind it.
pub const HEAD_LEN: usize = 4096;

/// A `Void` with an eight-byte size, the smallest that this module writes.
const MIN_VOID: usize = 9;

/// Matroska dates count from 2001-01-01T00:00:00Z (RFC 9559 section 4), this many seconds after the Unix epoch.
const MATROSKA_EPOCH_S: u64 = 978_307_200;

/// What only a finished file knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Final {
    /// End of the last frame.
    pub(crate) duration: Duration,
    /// Offset of the cues in the file.
    pub(crate) cues_at: u64,
    /// Length of the whole file.
    pub(crate) file_len: u64,
}

/// Everything that the head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    /// The writing application, `name version`.
    pub(crate) app: &'a str,
    /// Start of the recording since the Unix epoch.
    pub(crate) started: Option<Duration>,
    /// The tracks that have delivered, and only those: Chromium refuses to seek in a file that declares an empty one.
    pub(crate) tracks: Vec<&'a Track>,
    /// `None` while the file grows.
    pub(crate) end: Option<Final>,
}

impl Head<'_> {
    /// The region's bytes.
    ///
    /// # Errors
    /// [`TrackError::HeadFull`] when they do not fit.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, TrackError> {
        let mut out = ebml_header(self.tracks.iter().all(|track| track.codec.is_webm()));
        let segment = segment_start(&out);
        ebml::put_id(&mut out, id::SEGMENT);
        let size = self.end.map_or(ebml::UNKNOWN_SIZE, |end| end.file_len.saturating_sub(segment));
        out.extend_from_slice(&ebml::size8(size));

        let (mut info, mut tracks) = (Vec::new(), Vec::new());
        self.put_info(&mut info);
        ebml::put_master(&mut tracks, id::TRACKS, |out| self.tracks.iter().for_each(|track| track.put(out)));

        // All positions count from the segment's first byte of data (RFC 9559 section 5.1.1.1.2).
        let seek_len =
            seek_head(&[(id::INFO, 0), (id::TRACKS, 0), (id::CUES, 0)][..2 + usize::from(self.end.is_some())]).len();
        let mut seeks = vec![(id::INFO, seek_len as u64), (id::TRACKS, (seek_len + info.len()) as u64)];
        seeks.extend(self.end.map(|end| (id::CUES, end.cues_at.saturating_sub(segment))));
        out.extend_from_slice(&seek_head(&seeks));
        out.extend_from_slice(&info);
        out.extend_from_slice(&tracks);

        let room = HEAD_LEN.checked_sub(out.len()).filter(|room| *room >= MIN_VOID).ok_or(TrackError::HeadFull)?;
        ebml::put_id(&mut out, id::VOID);
        out.extend_from_slice(&ebml::size8((room - MIN_VOID) as u64));
        out.resize(HEAD_LEN, 0);
        Ok(out)
    }

    fn put_info(&self, out: &mut Vec<u8>) {
        ebml::put_master(out, id::INFO, |out| {
            ebml::put_uint(out, id::TIMESTAMP_SCALE, 1_000_000);
            if let Some(end) = self.end {
                ebml::put_float(out, id::DURATION, end.duration.as_nanos() as f64 / 1e6);
            }
            if let Some(date) = self.started.and_then(|at| at.checked_sub(Duration::from_secs(MATROSKA_EPOCH_S))) {
                ebml::put_binary(out, id::DATE_UTC, &(date.as_nanos() as i64).to_be_bytes());
            }
            ebml::put_binary(out, id::MUXING_APP, self.app.as_bytes());
            ebml::put_binary(out, id::WRITING_APP, self.app.as_bytes());
        });
    }
}

fn ebml_header(webm: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_LEN);
    ebml::put_master(&mut out, id::EBML, |out| {
        ebml::put_uint(out, id::EBML_VERSION, 1);
        ebml::put_uint(out, id::EBML_READ_VERSION, 1);
        ebml::put_uint(out, id::EBML_MAX_ID_LENGTH, 4);
        ebml::put_uint(out, id::EBML_MAX_SIZE_LENGTH, 8);
        ebml::put_binary(out, id::DOC_TYPE, if webm { b"webm" } else { b"matroska" });
        ebml::put_uint(out, id::DOC_TYPE_VERSION, 4);
        ebml::put_uint(out, id::DOC_TYPE_READ_VERSION, 2);
    });
    out
}

/// Offset of the segment's data, given everything in front of its id.
fn segment_start(front: &[u8]) -> u64 {
    front.len() as u64 + 12
}

fn seek_head(seeks: &[(u32, u64)]) -> Vec<u8> {
    let mut out = Vec::new();
    ebml::put_master(&mut out, id::SEEK_HEAD, |out| {
        for (id, position) in seeks {
            ebml::put_master(out, id::SEEK, |out| {
                ebml::put_binary(out, id::SEEK_ID, &id.to_be_bytes());
                // Eight bytes always, so that the length does not depend on the values.
                ebml::put_binary(out, id::SEEK_POSITION, &position.to_be_bytes());
            });
        }
    });
    out
}

/// Offset of the segment's data in a file with these tracks; cue positions count from here.
pub(crate) fn segment_data(tracks: &[&Track]) -> u64 {
    segment_start(&ebml_header(tracks.iter().all(|track| track.codec.is_webm())))
}

/// What can be read back from a head region, whole or not.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) tracks: Vec<Track>,
    pub(crate) duration: Option<Duration>,
    pub(crate) started: Option<Duration>,
    pub(crate) app: Option<String>,
}

/// Reads a head region back as far as it can be read; bytes that are no head give an empty result.
pub(crate) fn parse(region: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    // A finished segment is longer than the region, so its data is what is left and not what its size says.
    let Some(segment) = segment_payload(region) else { return parsed };
    for (id, data) in ebml::Elements(segment) {
        match id {
            id::INFO => parse_info(data, &mut parsed),
            id::TRACKS => {
                let entries = ebml::Elements(data).filter(|(id, _)| *id == id::TRACK_ENTRY);
                for track in entries.filter_map(|(_, entry)| Track::parse(entry)) {
                    if parsed.tracks.iter().all(|known| known.number != track.number) {
                        parsed.tracks.push(track);
                    }
                }
            }
            _ => {}
        }
    }
    parsed
}

fn segment_payload(region: &[u8]) -> Option<&[u8]> {
    let mut elements = ebml::Elements(region);
    let (id, _) = elements.next()?;
    let (segment, id_len) = ebml::read_id(elements.0).ok()?;
    let (_, size_len) = ebml::read_size(&elements.0[id_len..]).ok()?;
    (id == id::EBML && segment == id::SEGMENT).then(|| &elements.0[id_len + size_len..])
}

fn parse_info(data: &[u8], parsed: &mut Parsed) {
    for (id, data) in ebml::Elements(data) {
        match id {
            id::DURATION => {
                // Through whole nanoseconds, so that reading and writing again changes nothing.
                let ns = ebml::read_float(data).map(|ms| (ms * 1e6).round());
                parsed.duration = ns.filter(|ns| (0.0..1e18).contains(ns)).map(|ns| Duration::from_nanos(ns as u64));
            }
            id::DATE_UTC => {
                parsed.started = ebml::read_uint(data)
                    .filter(|ns| *ns <= i64::MAX as u64)
                    .map(|ns| Duration::from_secs(MATROSKA_EPOCH_S) + Duration::from_nanos(ns));
            }
            id::WRITING_APP => parsed.app = String::from_utf8(data.to_vec()).ok().filter(|app| app.len() <= 128),
            _ => {}
        }
    }
}
