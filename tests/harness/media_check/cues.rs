//! A Matroska file's layout, read with a parser of its own: tracks, blocks, cues, and whether they agree.

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

/// What stands where.
#[derive(Debug, Default, Clone)]
pub struct Layout {
    /// Track numbers by type: 1 video, 2 audio.
    pub tracks: BTreeMap<u64, u64>,
    pub clusters: usize,
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
    let segment = top.iter().find(|element| element.id == 0x1853_8067).ok_or("no segment")?;
    for element in children(segment.data)? {
        match element.id {
            0x1549_A966 => {
                let duration = children(element.data)?.into_iter().find(|child| child.id == 0x4489);
                layout.duration = duration.and_then(|child| child.data.try_into().ok()).map(f64::from_be_bytes);
            }
            0x1654_AE6B => {
                for entry in children(element.data)? {
                    layout.tracks.insert(find(entry.data, 0xD7)?, find(entry.data, 0x83)?);
                }
            }
            0x1F43_B675 => {
                layout.clusters += 1;
                let start = find(element.data, 0xE7)? as i64;
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

    /// What is wrong with cues, tracks and times.
    pub fn cue_complaints(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let keys = self.blocks_of(1).filter(|block| block.key).count();
        if keys > 0 && keys != self.cues.len() {
            wrong.push(format!("{} cues for {keys} video key frames", self.cues.len()));
        }
        if self.cues.is_empty() {
            wrong.push("no cue".to_owned());
        }
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
}

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
    let found = children(data)?.into_iter().find(|element| element.id == id);
    let data = found.ok_or_else(|| format!("no element {id:x}"))?.data;
    Ok(data.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}
