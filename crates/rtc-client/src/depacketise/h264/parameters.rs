//! Parameter sets of H.264: kept by id, read for their size (H.264, 7.3.2.1), written as `avcC` (ISO/IEC 14496-15, 5.3.3).

use std::collections::BTreeMap;

use crate::depacketise::bits::Bits;

/// Longest set taken, bytes, and how many of a kind: what an encoder in real time sends has tens of bytes, one of each.
const MAX_SET: usize = 200;
const MAX_SETS: usize = 8;
/// Profiles whose sets say their chroma format (H.264, 7.3.2.1.1).
const HIGH: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// Those of them for which `avcC` repeats it.
const HIGH_IN_CONFIG: [u8; 4] = [100, 110, 122, 144];

/// What a decoder must be ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Profile, constraints, level.
    profile: [u8; 3],
    chroma_format: u8,
    bit_depth: (u8, u8),
    pub(super) width: u16,
    pub(super) height: u16,
}

/// The sets of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ParameterSets {
    sequence: BTreeMap<u32, Vec<u8>>,
    picture: BTreeMap<u32, Vec<u8>>,
    newest: u32,
}

impl ParameterSets {
    /// Takes a sequence parameter set; says whether it was not known. `None`: malformed, or more than are taken.
    pub(super) fn add_sequence(&mut self, nal: &[u8]) -> Option<bool> {
        let (id, _) = Shape::parse(nal)?;
        self.newest = id;
        insert(&mut self.sequence, id, nal)
    }

    /// The same of a picture parameter set.
    pub(super) fn add_picture(&mut self, nal: &[u8]) -> Option<bool> {
        let id = Bits::new(nal.get(1..)?).golomb().filter(|id| *id < 256)?;
        insert(&mut self.picture, id, nal)
    }

    /// By the newest sequence parameter set.
    pub(super) fn shape(&self) -> Option<Shape> {
        let (_, shape) = Shape::parse(self.sequence.get(&self.newest)?)?;
        (!self.picture.is_empty()).then_some(shape)
    }

    /// All of them.
    pub(super) fn nals(&self) -> impl Iterator<Item = &[u8]> {
        self.sequence.values().chain(self.picture.values()).map(Vec::as_slice)
    }

    /// `AVCDecoderConfigurationRecord`, with lengths of four bytes.
    pub(super) fn avcc(&self) -> Option<Vec<u8>> {
        let shape = self.shape()?;
        let [profile, constraints, level] = shape.profile;
        let mut out = vec![1, profile, constraints, level, 0xff, 0xe0 | self.sequence.len() as u8];
        let put = |nal: &Vec<u8>, out: &mut Vec<u8>| {
            out.extend_from_slice(&(nal.len() as u16).to_be_bytes());
            out.extend_from_slice(nal);
        };
        self.sequence.values().for_each(|nal| put(nal, &mut out));
        out.push(self.picture.len() as u8);
        self.picture.values().for_each(|nal| put(nal, &mut out));
        if HIGH_IN_CONFIG.contains(&profile) {
            let (luma, chroma) = shape.bit_depth;
            out.extend([0xfc | shape.chroma_format, 0xf8 | luma, 0xf8 | chroma, 0]);
        }
        Some(out)
    }
}

fn insert(sets: &mut BTreeMap<u32, Vec<u8>>, id: u32, nal: &[u8]) -> Option<bool> {
    if nal.len() > MAX_SET {
        return None;
    }
    if !sets.contains_key(&id) && sets.len() == MAX_SETS {
        // Ids that only go up: the oldest is out of use.
        sets.pop_first();
    }
    Some(sets.insert(id, nal.to_vec()).is_none_or(|old| old != nal))
}

impl Shape {
    /// Reads a sequence parameter set: its id and what it says.
    fn parse(nal: &[u8]) -> Option<(u32, Self)> {
        let raw = unescape(nal.get(1..)?);
        let mut bits = Bits::new(&raw);
        let mut byte = || Some(bits.number(8)? as u8);
        let profile = [byte()?, byte()?, byte()?];
        let id = bits.golomb().filter(|id| *id < 32)?;
        let mut shape = Self { profile, chroma_format: 1, bit_depth: (0, 0), width: 0, height: 0 };
        let mut separate = false;
        if HIGH.contains(&profile[0]) {
            shape.chroma_format = bits.golomb().filter(|format| *format < 4)? as u8;
            separate = shape.chroma_format == 3 && bits.flag()?;
            let mut depth = || Some(bits.golomb().filter(|depth| *depth < 7)? as u8);
            shape.bit_depth = (depth()?, depth()?);
            bits.skip(1)?;
            if bits.flag()? {
                skip_scaling(&mut bits, if shape.chroma_format == 3 { 12 } else { 8 })?;
            }
        }
        // log2_max_frame_num
        bits.golomb()?;
        skip_order_count(&mut bits)?;
        // max_num_ref_frames, gaps_in_frame_num_value_allowed_flag
        bits.golomb()?;
        bits.skip(1)?;
        let (width, height) = (bits.golomb()?.checked_add(1)?, bits.golomb()?.checked_add(1)?);
        let frames_only = bits.flag()?;
        if !frames_only {
            bits.skip(1)?;
        }
        bits.skip(1)?;
        let crop = if bits.flag()? { [bits.golomb()?, bits.golomb()?, bits.golomb()?, bits.golomb()?] } else { [0; 4] };
        // Units of cropping (H.264, 7-19 to 7-22).
        let (x, y) = match (shape.chroma_format, separate) {
            (1, _) => (2, 2),
            (2, _) => (2, 1),
            _ => (1, 1),
        };
        let fields = if frames_only { 1 } else { 2 };
        let side = |blocks: u32, lines: u64, unit: u32, before: u32, after: u32| {
            let cropped = u64::from(unit) * (u64::from(before) + u64::from(after));
            u16::try_from((u64::from(blocks) * 16 * lines).checked_sub(cropped)?).ok().filter(|side| *side > 0)
        };
        shape.width = side(width, 1, x, crop[0], crop[1])?;
        shape.height = side(height, u64::from(fields), y * fields, crop[2], crop[3])?;
        Some((id, shape))
    }
}

/// H.264, 7.3.2.1.1.1.
fn skip_scaling(bits: &mut Bits<'_>, lists: u32) -> Option<()> {
    for list in 0..lists {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.signed_golomb()?.rem_euclid(256)) % 256;
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

/// `pic_order_cnt_type` and what hangs on it.
fn skip_order_count(bits: &mut Bits<'_>) -> Option<()> {
    match bits.golomb()? {
        0 => drop(bits.golomb()?),
        1 => {
            bits.skip(1)?;
            (0..2).try_for_each(|_| bits.signed_golomb().map(drop))?;
            let cycle = bits.golomb().filter(|count| *count < 256)?;
            (0..cycle).try_for_each(|_| bits.signed_golomb().map(drop))?;
        }
        _ => {}
    }
    Some(())
}

/// Without the bytes that keep start codes out (H.264, 7.4.1.1).
fn unescape(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packetise::tests::SPS;

    #[test]
    fn the_size_is_what_is_left_after_cropping() {
        let (id, shape) = Shape::parse(SPS).expect("a set");
        assert_eq!((id, shape.width, shape.height, shape.chroma_format), (0, 320, 180, 1));
        assert_eq!(shape.profile[0], 66);
        for end in 0..8 {
            assert_eq!(Shape::parse(&SPS[..end]), None);
        }
    }

    #[test]
    fn escapes_go() {
        assert_eq!(unescape(&[0, 0, 3, 1, 0, 0, 3, 0, 0, 3]), [0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(unescape(&[0, 3, 0, 1]), [0, 3, 0, 1]);
    }

    #[test]
    fn sets_have_bounds() {
        let mut sets = ParameterSets::default();
        assert_eq!(sets.add_picture(&[vec![0x68], vec![0xff; MAX_SET]].concat()), None);
        assert_eq!(sets.add_sequence(SPS), Some(true));
        assert_eq!(sets.add_sequence(SPS), Some(false));
        for id in 1..100_u32 {
            // 0000001xxxxxxx: ids from 127 on, each another.
            let nal = [0x68, 1, (id as u8) << 1 | 1];
            assert_eq!(sets.add_picture(&nal), Some(true));
        }
        assert!(sets.picture.len() <= MAX_SETS);
        assert!(sets.avcc().is_some_and(|config| config.len() < 512));
    }
}
