//! Recovery: reads a file that its writer never finished and says how to finish it, without decoding anything.
//!
//! The file is fed from its start in chunks of any size. Kept in memory: the head region, one element header, facts per
//! track and the cues, which are far smaller than the clusters they come from. Nothing is believed that does not add up: what
//! is no whole cluster of whole blocks is passed over up to the next one, or ends the file if none follows.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    cluster::KEY_FLAG,
    cues::{Cue, Index},
    ebml::{self, DataSize, ReadError},
    head::{self, Final, HEAD_LEN, Head},
    id,
    muxer::MAX_TIME,
    track::{Track, TrackError, TrackNumber},
};

/// The longest time that the last frame of a track is taken to last; longer gaps are pauses.
const MAX_FRAME_MS: u64 = 200;

/// How long the only frame of a track is taken to last: what Opus packets usually hold.
const ONLY_FRAME_MS: u64 = 20;

/// How a cluster begins.
const CLUSTER: [u8; 4] = id::CLUSTER.to_be_bytes();

/// What a track holds, as far as block headers tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackFacts {
    /// The track as the recovered file declares it.
    pub track: Track,
    /// Blocks in whole clusters.
    pub blocks: u64,
    /// Those of them that decode on their own.
    pub key_blocks: u64,
    /// Bytes of encoded media.
    pub bytes: u64,
    /// Time of its first block on the file's clock.
    pub first: Duration,
    /// Time of its last block.
    pub last: Duration,
}

/// How to finish a file: write each of `voids` at its offset, cut the file at `valid_len`, append `cues`, write `head` at its
/// start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Length of everything up to the end of the last whole cluster.
    pub valid_len: u64,
    /// What makes damaged stretches between whole clusters something that readers pass over: offset and bytes.
    pub voids: Vec<(u64, Vec<u8>)>,
    /// The cues to append.
    pub cues: Vec<u8>,
    /// The head region.
    pub head: Vec<u8>,
    /// End of the last frame on the file's clock; the file's duration.
    pub end: Duration,
    /// Each track that delivered.
    pub tracks: Vec<TrackFacts>,
    /// Blocks of tracks that neither the head nor the caller knew; players skip them.
    pub unknown_blocks: u64,
    /// Whole clusters.
    pub clusters: u64,
}

impl Recovered {
    /// Finishes the file in memory that was read.
    pub fn apply(&self, file: &mut Vec<u8>) {
        for (at, void) in &self.voids {
            file[*at as usize..][..void.len()].copy_from_slice(void);
        }
        file.truncate(self.valid_len as usize);
        file.extend_from_slice(&self.cues);
        file[..HEAD_LEN].copy_from_slice(&self.head);
    }
}

/// Why there is nothing to recover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// No cluster is whole.
    #[error("the file holds no whole cluster")]
    Empty,
    /// Neither the file's head nor the caller describes a track that delivered.
    #[error("nothing describes the file's tracks")]
    NoTracks,
    /// The tracks do not fit into a head.
    #[error(transparent)]
    Track(#[from] TrackError),
}

#[derive(Debug, Clone, Default)]
struct Counts {
    blocks: u64,
    key_blocks: u64,
    bytes: u64,
    first: u64,
    last: u64,
    /// Distance of the last two blocks.
    spacing: u64,
}

impl Counts {
    fn add(&mut self, at: u64, key: bool, bytes: u64) {
        if self.blocks == 0 {
            self.first = at;
        }
        self.spacing = at.saturating_sub(self.last).min(MAX_FRAME_MS);
        self.last = self.last.max(at);
        self.blocks += 1;
        self.key_blocks += u64::from(key);
        self.bytes += bytes;
    }

    /// When the last frame ends.
    fn end(&self) -> u64 {
        self.last + if self.blocks > 1 { self.spacing } else { ONLY_FRAME_MS }
    }
}

/// A cluster that is being read; its facts count only once it is whole.
#[derive(Debug)]
struct OpenCluster {
    at: u64,
    data_at: u64,
    end: u64,
    timestamp: Option<u64>,
    counts: BTreeMap<u8, Counts>,
    video: Option<Cue>,
    audio: Option<Cue>,
}

#[derive(Debug)]
enum State {
    Head,
    BetweenClusters,
    InCluster(OpenCluster),
    /// Behind something that is no whole cluster: looks for where the next one may begin.
    Lost,
    Stopped,
}

/// Reads an unfinished file.
#[derive(Debug)]
pub struct Recovery {
    known: Vec<Track>,
    state: State,
    /// The head region, or the element header that is being read.
    buffer: Vec<u8>,
    /// Bytes of media to pass over.
    skip: u64,
    /// Offset of the next byte.
    at: u64,
    valid_len: u64,
    voids: Vec<(u64, Vec<u8>)>,
    clusters: u64,
    counts: BTreeMap<u8, Counts>,
    index: Index,
    parsed: head::Parsed,
    reached_cues: bool,
}

impl Recovery {
    /// A reader for one file. `known` describes its tracks for the case that the head was never written, and is otherwise
    /// not needed; the head wins.
    #[must_use]
    pub fn new(known: Vec<Track>) -> Self {
        Self {
            known,
            state: State::Head,
            buffer: Vec::new(),
            skip: 0,
            at: 0,
            valid_len: HEAD_LEN as u64,
            voids: Vec::new(),
            clusters: 0,
            counts: BTreeMap::new(),
            index: Index::default(),
            parsed: head::Parsed::default(),
            reached_cues: false,
        }
    }

    /// Takes the file's next bytes.
    pub fn handle_bytes(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.is_stopped() {
            let taken = match self.state {
                State::Head => (HEAD_LEN - self.buffer.len()).min(bytes.len()),
                _ if self.skip > 0 => bytes.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX)),
                State::Lost if self.buffer.is_empty() => {
                    self.skip = bytes.iter().position(|byte| *byte == CLUSTER[0]).unwrap_or(bytes.len()) as u64;
                    usize::try_from(self.skip).unwrap_or(usize::MAX).max(1)
                }
                // Headers are short and end where their own bytes say, so they are collected one by one.
                _ => 1,
            };
            let (now, rest) = bytes.split_at(taken);
            bytes = rest;
            self.at += taken as u64;
            if self.skip > 0 {
                self.skip -= taken as u64;
            } else {
                self.buffer.extend_from_slice(now);
                self.read_buffer();
            }
            self.end_cluster();
        }
    }

    /// Whether the rest of the file does not matter any more.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped)
    }

    /// Everything was fed: how to finish the file.
    ///
    /// # Errors
    /// See [`RecoveryError`].
    pub fn finish(self) -> Result<Recovered, RecoveryError> {
        if self.clusters == 0 {
            return Err(RecoveryError::Empty);
        }
        let mut tracks = self.parsed.tracks;
        for track in self.known {
            if tracks.iter().all(|declared| declared.number != track.number) {
                tracks.push(track);
            }
        }
        tracks.sort_by_key(|track| track.number);
        tracks.retain(|track| self.counts.contains_key(&track.number.0));
        if tracks.is_empty() {
            return Err(RecoveryError::NoTracks);
        }
        let facts: Vec<TrackFacts> = tracks.iter().map(|track| facts(track, &self.counts[&track.number.0])).collect();
        let blocks: u64 = self.counts.values().map(|counts| counts.blocks).sum();

        // The head of a finished file knows best, unless clusters were lost since.
        let last = Duration::from_millis(self.counts.values().map(|counts| counts.last).max().unwrap_or(0));
        let declared = self.parsed.duration.filter(|end| self.reached_cues && (last..=MAX_TIME).contains(end));
        let guess = self.counts.values().map(Counts::end).max().unwrap_or(0);
        let end = declared.unwrap_or(Duration::from_millis(guess));
        let tracks: Vec<&Track> = tracks.iter().collect();
        let cues = self.index.encode(head::segment_data(&tracks));
        let file_len = self.valid_len + cues.len() as u64;
        let app = self.parsed.app.as_deref().unwrap_or("tern");
        let end_of_file = Final { duration: end, cues_at: self.valid_len, file_len };
        let head = Head { app, started: self.parsed.started, tracks, end: Some(end_of_file) }.encode()?;
        Ok(Recovered {
            valid_len: self.valid_len,
            voids: self.voids,
            cues,
            head,
            end,
            unknown_blocks: blocks - facts.iter().map(|facts| facts.blocks).sum::<u64>(),
            tracks: facts,
            clusters: self.clusters,
        })
    }

    fn read_buffer(&mut self) {
        let read = match self.state {
            State::Head if self.buffer.len() < HEAD_LEN => return,
            State::Head => {
                self.parsed = head::parse(&self.buffer);
                self.state = State::BetweenClusters;
                Ok(())
            }
            State::BetweenClusters => self.read_cluster_header(),
            State::InCluster(_) => self.read_child(),
            State::Lost if CLUSTER.starts_with(&self.buffer) => {
                if self.buffer.len() == CLUSTER.len() {
                    self.state = State::BetweenClusters;
                }
                return;
            }
            State::Lost => Err(ReadError::Invalid),
            State::Stopped => Ok(()),
        };
        match read {
            Ok(()) => self.buffer.clear(),
            Err(ReadError::Short) => {}
            Err(ReadError::Invalid) => self.lose(),
        }
    }

    /// What was read is no part of a cluster; the next one may begin within it.
    fn lose(&mut self) {
        let read = std::mem::take(&mut self.buffer);
        // A cluster that claims to be longer than it is ends with the beginning of the next one; elsewhere, the first byte is
        // where this was looked for.
        let passed = usize::from(!matches!(self.state, State::InCluster(_)));
        self.state = State::Lost;
        self.at -= (read.len() - passed) as u64;
        self.handle_bytes(&read[passed..]);
    }

    fn read_cluster_header(&mut self) -> Result<(), ReadError> {
        let (id, id_len) = ebml::read_id(&self.buffer)?;
        if id == id::CUES {
            // Of a file that was finished or about to be.
            self.reached_cues = true;
            self.state = State::Stopped;
            return Ok(());
        }
        if id != id::CLUSTER {
            return Err(ReadError::Invalid);
        }
        let (size, _) = ebml::read_size(&self.buffer[id_len..])?;
        let DataSize::Known(size) = size else { return Err(ReadError::Invalid) };
        self.state = State::InCluster(OpenCluster {
            at: self.at - self.buffer.len() as u64,
            data_at: self.at,
            end: self.at.checked_add(size).ok_or(ReadError::Invalid)?,
            timestamp: None,
            counts: BTreeMap::new(),
            video: None,
            audio: None,
        });
        Ok(())
    }

    fn read_child(&mut self) -> Result<(), ReadError> {
        let State::InCluster(cluster) = &mut self.state else { return Err(ReadError::Invalid) };
        let (id, id_len) = ebml::read_id(&self.buffer)?;
        let (size, size_len) = ebml::read_size(&self.buffer[id_len..])?;
        let DataSize::Known(size) = size else { return Err(ReadError::Invalid) };
        let header_len = id_len + size_len;
        let child_at = self.at - self.buffer.len() as u64;
        let child_end = child_at.checked_add(header_len as u64).and_then(|at| at.checked_add(size));
        if child_end.is_none_or(|end| end > cluster.end) {
            return Err(ReadError::Invalid);
        }
        let data = &self.buffer[header_len..];
        match (id, cluster.timestamp) {
            (id::TIMESTAMP, None) if (1..=8).contains(&size) => {
                if (data.len() as u64) < size {
                    return Err(ReadError::Short);
                }
                // Half the range is plenty, and sums stay far from overflowing.
                cluster.timestamp = ebml::read_uint(data).filter(|at| *at < 1 << 48);
                cluster.timestamp.map(drop).ok_or(ReadError::Invalid)
            }
            (id::SIMPLE_BLOCK, Some(timestamp)) if size > 4 => {
                let [track, high, low, flags] = *data else { return Err(ReadError::Short) };
                let number = TrackNumber::new(track & 0x7F).filter(|_| track & 0x80 != 0).ok_or(ReadError::Invalid)?;
                let relative = i16::from_be_bytes([high, low]);
                let at = timestamp.checked_add_signed(relative.into()).ok_or(ReadError::Invalid)?;
                let key = flags & KEY_FLAG != 0;
                self.skip = size - 4;
                cluster.counts.entry(number.0).or_default().add(at, key, size - 4);
                let block = u32::try_from(child_at - cluster.data_at).map_err(|_| ReadError::Invalid)?;
                let cue = Cue { track: number, at, cluster: cluster.at, block };
                let is_video = |tracks: &[Track]| {
                    tracks.iter().find(|track| track.number == number).map(|track| track.codec.is_video())
                };
                match is_video(&self.parsed.tracks).or_else(|| is_video(&self.known)) {
                    Some(true) if key => drop(cluster.video.get_or_insert(cue)),
                    Some(false) => drop(cluster.audio.get_or_insert(cue)),
                    _ => {}
                }
                Ok(())
            }
            _ => Err(ReadError::Invalid),
        }
    }

    /// Takes over the facts of a cluster that is whole by now.
    fn end_cluster(&mut self) {
        let State::InCluster(cluster) = &mut self.state else { return };
        if self.at < cluster.end || self.skip > 0 || !self.buffer.is_empty() {
            return;
        }
        match cluster.at - self.valid_len {
            // One without a block says nothing, and nothing can stand for a single byte, which no damage leaves.
            passed if passed == 1 || cluster.counts.is_empty() => {
                self.state = State::Lost;
                return;
            }
            0 => {}
            damaged => self.voids.push((self.valid_len, void(damaged))),
        }
        for (number, counts) in std::mem::take(&mut cluster.counts) {
            let total = self.counts.entry(number).or_default();
            if total.blocks == 0 {
                total.first = counts.first;
            }
            total.spacing = if counts.blocks > 1 {
                counts.spacing
            } else {
                counts.first.saturating_sub(total.last).min(MAX_FRAME_MS)
            };
            total.last = total.last.max(counts.last);
            total.blocks += counts.blocks;
            total.key_blocks += counts.key_blocks;
            total.bytes += counts.bytes;
        }
        self.index.handle_cluster(cluster.video, cluster.audio);
        self.clusters += 1;
        self.valid_len = cluster.end;
        self.state = State::BetweenClusters;
    }
}

/// The header of an element without meaning that takes so many bytes, two at least (RFC 8794 section 11.3.2).
fn void(len: u64) -> Vec<u8> {
    let mut header = Vec::new();
    ebml::put_id(&mut header, id::VOID);
    match len - 2 {
        size @ 0..127 => ebml::put_size(&mut header, size),
        more => header.extend_from_slice(&ebml::size8(more - 7)),
    }
    header
}

fn facts(track: &Track, counts: &Counts) -> TrackFacts {
    TrackFacts {
        track: track.clone(),
        blocks: counts.blocks,
        key_blocks: counts.key_blocks,
        bytes: counts.bytes,
        first: Duration::from_millis(counts.first),
        last: Duration::from_millis(counts.last),
    }
}
