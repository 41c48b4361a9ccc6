//! A Matroska file's layout, read with a parser of its own: head, tracks, blocks, cues, and whether they agree.

use std::collections::BTreeMap;

/// One block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    pub track: u64,
    /// Milliseconds.
    pub at: i64,
    pub key: bool,
    /// Offset of its cluster in the segment's data.
    pub cluster: u64,
    /// Offset of the block in its cluster's data.
    pub offset: u64,
}

/// One cue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cue {
    pub track: u64,
    pub at: i64,
    pub cluster: u64,
    pub offset: u64,
}

/// One cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cluster {
    /// Offset in the segment's data.
    pub place: u64,
    /// Milliseconds, from which its blocks count.
    pub at: i64,
    /// Bytes of its data.
    pub len: usize,
}

/// What a head says of a track of sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sound {
    /// `OpusHead`.
    pub private: Vec<u8>,
    /// Nanoseconds.
    pub seek_pre_roll: u64,
    /// Nanoseconds.
    pub codec_delay: u64,
    pub channels: u64,
}

/// What stands where.
#[derive(Debug, Default, Clone)]
pub struct Layout {
    /// Document type, its version, and the version that a reader must know.
    pub document: (String, u64, u64),
    /// Nanoseconds.
    pub timestamp_scale: u64,
    pub sound: Option<Sound>,
    /// Track numbers by type: 1 video, 2 audio.
    pub tracks: BTreeMap<u64, u64>,
    pub clusters: Vec<Cluster>,
    pub blocks: Vec<Block>,
    pub cues: Vec<Cue>,
    /// Milliseconds.
    pub duration: Option<f64>,
}

/// Reads the layout of a finished file.
///
/// # Errors
/// When elements do not add up.
pub fn layout(file: &[u8]) -> Result<Layout, String> {
    let mut layout = Layout::default();
    let top = children(file)?;
    let head = top.iter().find(|element| element.id == 0x1A45_DFA3).ok_or("no EBML header")?.data;
    let kind = String::from_utf8_lossy(bytes(head, 0x4282)?).into_owned();
    layout.document = (kind, find(head, 0x4287)?, find(head, 0x4285)?);
    let segment = top.iter().find(|element| element.id == 0x1853_8067).ok_or("no segment")?;
    for element in children(segment.data)? {
        match element.id {
            0x1549_A966 => {
                layout.timestamp_scale = find(element.data, 0x2A_D7B1)?;
                let duration = children(element.data)?.into_iter().find(|child| child.id == 0x4489);
                layout.duration = duration.and_then(|child| child.data.try_into().ok()).map(f64::from_be_bytes);
            }
            0x1654_AE6B => {
                for entry in children(element.data)? {
                    let kind = find(entry.data, 0x83)?;
                    layout.tracks.insert(find(entry.data, 0xD7)?, kind);
                    if kind == 2 {
                        layout.sound = Some(Sound {
                            private: bytes(entry.data, 0x63A2)?.to_vec(),
                            seek_pre_roll: find(entry.data, 0x56BB)?,
                            codec_delay: find(entry.data, 0x56AA)?,
                            channels: find(bytes(entry.data, 0xE1)?, 0x9F)?,
                        });
                    }
                }
            }
            0x1F43_B675 => {
                let start = find(element.data, 0xE7)? as i64;
                layout.clusters.push(Cluster { place: element.at, at: start, len: element.data.len() });
                for child in children(element.data)?.into_iter().filter(|child| child.id == 0xA3) {
                    let [track, high, low, flags, ..] = *child.data else {
                        return Err("a block without header".into());
                    };
                    let at = start + i64::from(i16::from_be_bytes([high, low]));
                    let track = u64::from(track & 0x7F);
                    let key = flags & 0x80 != 0;
                    layout.blocks.push(Block { track, at, key, cluster: element.at, offset: child.at });
                }
            }
            0x1C53_BB6B => {
                for point in children(element.data)? {
                    let at = find(point.data, 0xB3)? as i64;
                    for place in children(point.data)?.into_iter().filter(|child| child.id == 0xB7) {
                        let (track, cluster) = (find(place.data, 0xF7)?, find(place.data, 0xF1)?);
                        layout.cues.push(Cue { track, at, cluster, offset: find(place.data, 0xF0)? });
                    }
                }
            }
            _ => {}
        }
    }
    Ok(layout)
}

impl Layout {
    /// Blocks of a type of track: 1 video, 2 audio.
    pub fn blocks_of(&self, kind: u64) -> impl Iterator<Item = &Block> {
        self.blocks.iter().filter(move |block| self.tracks.get(&block.track) == Some(&kind))
    }

    /// What is wrong with cues, clusters, tracks and times.
    pub fn complaints(&self) -> Vec<String> {
        let mut wrong = [self.cue_complaints(), self.cluster_complaints()].concat();
        for cue in &self.cues {
            let place = |block: &&Block| (block.cluster, block.offset) == (cue.cluster, cue.offset);
            match self.blocks.iter().find(place) {
                Some(block) if block.key && (block.track, block.at) == (cue.track, cue.at) => {}
                other => wrong.push(format!("{cue:?} points at {other:?}")),
            }
        }
        for track in self.tracks.keys() {
            let times: Vec<i64> =
                self.blocks.iter().filter(|block| block.track == *track).map(|block| block.at).collect();
            if times.is_empty() {
                wrong.push(format!("track {track} is declared and empty"));
            }
            if !times.windows(2).all(|pair| pair[0] < pair[1]) {
                wrong.push(format!("times of track {track} do not rise"));
            }
        }
        if let Some(block) = self.blocks.iter().find(|block| !self.tracks.contains_key(&block.track)) {
            wrong.push(format!("{block:?} belongs to no declared track"));
        }
        wrong
    }

    /// A cue at or shortly before each key frame, and one for sound where there is none of these; not more.
    fn cue_complaints(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let (shown, heard): (Vec<Cue>, Vec<Cue>) =
            self.cues.iter().partition(|cue| self.tracks.get(&cue.track) == Some(&1));
        for key in self.blocks_of(1).filter(|block| block.key) {
            if !shown.iter().any(|cue| (0..CLUSTER_MS).contains(&(key.at - cue.at))) {
                wrong.push(format!("no cue for {key:?}"));
            }
        }
        let spacing = if self.blocks_of(1).next().is_none() { SPACING_MS } else { SOUND_SPACING_MS };
        for block in self.blocks_of(2) {
            let before = self.cues.iter().map(|cue| cue.at).filter(|at| *at <= block.at).max();
            if before.is_none_or(|at| block.at - at > spacing + CLUSTER_MS) {
                wrong.push(format!("no cue before {block:?}"));
            }
        }
        if !shown.windows(2).all(|pair| pair[1].at - pair[0].at >= SPACING_MS) {
            wrong.push("cues of pictures are too close".to_owned());
        }
        if !heard.windows(2).all(|pair| pair[1].at - pair[0].at >= spacing) {
            wrong.push("cues of sound are too close".to_owned());
        }
        wrong
    }

    /// A key frame opens a cluster unless that would be a short one; none is too large.
    fn cluster_complaints(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for cluster in &self.clusters {
            let keys = self.blocks_of(1).filter(|block| block.key && block.cluster == cluster.place);
            wrong.extend(keys.filter(|key| key.at - cluster.at >= SPACING_MS).map(|key| format!("{key:?} opens none")));
            if cluster.len > MAX_CLUSTER {
                wrong.push(format!("{cluster:?} is too large"));
            }
        }
        wrong
    }
}

/// The smallest distance of cues, and the shortest cluster that a key frame ends.
const SPACING_MS: i64 = 500;
/// The distance of cues of sound in a file with pictures.
const SOUND_SPACING_MS: i64 = 5_000;
/// The longest cluster.
const CLUSTER_MS: i64 = 1_000;
/// The largest one, bytes.
const MAX_CLUSTER: usize = 5 << 20;

struct Element<'a> {
    id: u64,
    /// Offset in the parent's data.
    at: u64,
    data: &'a [u8],
}

fn children(data: &[u8]) -> Result<Vec<Element<'_>>, String> {
    let mut elements = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let (id, id_len) = number(&data[at..], true)?;
        let (size, size_len) = number(&data[at + id_len..], false)?;
        let start = at + id_len + size_len;
        let end = start.checked_add(size as usize).filter(|end| *end <= data.len());
        let end = end.ok_or_else(|| format!("element {id:x} of {size} bytes leaves its parent"))?;
        elements.push(Element { id, at: at as u64, data: &data[start..end] });
        at = end;
    }
    Ok(elements)
}

/// A number of variable length, with or without its length marker.
fn number(data: &[u8], marked: bool) -> Result<(u64, usize), String> {
    let first = *data.first().ok_or("an element ends early")?;
    let len = first.leading_zeros() as usize + 1;
    let bytes = data.get(..len.min(8)).ok_or("an element ends early")?;
    let value = bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    Ok((if marked { value } else { value & !(1 << (7 * len)) }, len))
}

fn find(data: &[u8], id: u64) -> Result<u64, String> {
    Ok(bytes(data, id)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn bytes(data: &[u8], id: u64) -> Result<&[u8], String> {
    let found = children(data)?.into_iter().find(|element| element.id == id);
    Ok(found.ok_or_else(|| format!("no element {id:x}"))?.data)
}
