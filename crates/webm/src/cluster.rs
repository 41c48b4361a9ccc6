//! One cluster while it is filled: blocks of about a second, written as one piece of known size.

use crate::{cues::Cue, ebml, id, track::TrackNumber};

/// Bytes in front of the cluster's data: its id and an eight-byte size.
const HEADER_LEN: usize = 12;

/// Bytes of the timestamp element that opens the data: id, size, eight bytes of value.
const TIMESTAMP_LEN: usize = 10;

/// Bytes of a block in front of the frame: track number, relative timestamp, flags.
pub(crate) const BLOCK_HEADER_LEN: usize = 4;

/// The flag of a block that can be decoded on its own (RFC 9559 section 10.2).
pub(crate) const KEY_FLAG: u8 = 0x80;

/// An open cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    start: u64,
    bytes: Vec<u8>,
    /// Its first video key frame.
    pub(crate) video_cue: Option<Cue>,
    /// Its first audio block.
    pub(crate) audio_cue: Option<Cue>,
}

impl Cluster {
    /// An empty cluster whose blocks count from `start` milliseconds.
    pub(crate) fn new(start: u64, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        ebml::put_id(&mut bytes, id::CLUSTER);
        bytes.extend_from_slice(&ebml::size8(0));
        ebml::put_binary(&mut bytes, id::TIMESTAMP, &start.to_be_bytes());
        debug_assert_eq!(bytes.len(), HEADER_LEN + TIMESTAMP_LEN);
        Self { start, bytes, video_cue: None, audio_cue: None }
    }

    /// The time its blocks count from, in milliseconds.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Length so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends one `SimpleBlock` and gives its offset in the cluster's data. `at` is at most 32,767 ms after the start.
    pub(crate) fn push(&mut self, track: TrackNumber, at: u64, key: bool, data: &[u8]) -> u32 {
        let block = (self.bytes.len() - HEADER_LEN) as u32;
        let relative = i16::try_from(at - self.start).expect("the muxer opens a new cluster before 32 s");
        ebml::put_id(&mut self.bytes, id::SIMPLE_BLOCK);
        ebml::put_size(&mut self.bytes, (data.len() + BLOCK_HEADER_LEN) as u64);
        self.bytes.push(0x80 | track.0);
        self.bytes.extend_from_slice(&relative.to_be_bytes());
        self.bytes.push(if key { KEY_FLAG } else { 0 });
        self.bytes.extend_from_slice(data);
        block
    }

    /// The finished cluster.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        let size = (self.bytes.len() - HEADER_LEN) as u64;
        self.bytes[4..HEADER_LEN].copy_from_slice(&ebml::size8(size));
        self.bytes
    }
}
