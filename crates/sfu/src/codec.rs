//! What a payload says about its picture: whether a key frame begins, and the counters that a receiver checks.
//!
//! Only descriptors are read, no media. Every index is checked: payloads are hostile.

use crate::engine::{Format, Rewrite};

/// A counter inside a payload, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) value: u16,
    pub(crate) offset: usize,
    /// Two bytes with the M bit set, else one.
    pub(crate) wide: bool,
}

/// What a payload says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    /// The first packet of a key frame.
    pub(crate) starts_key: bool,
    pub(crate) picture_id: Option<Field>,
    pub(crate) tl0_pic_idx: Option<Field>,
    /// Width and height, where a key frame says them in the clear.
    pub(crate) size: Option<(u16, u16)>,
}

impl Picture {
    /// Reads a payload of this format.
    pub(crate) fn parse(format: Format, payload: &[u8]) -> Self {
        match format {
            Format::Opus => Self::default(),
            Format::Vp8 => vp8(payload).unwrap_or_default(),
            Format::Vp9(_) => vp9(payload).unwrap_or_default(),
            Format::H264(..) => Self { starts_key: h264_starts_key(payload), ..Self::default() },
            // N: the first packet of a coded video sequence; Z: not the rest of a fragment (AV1 RTP, 4.4).
            Format::Av1 => Self { starts_key: payload.first().is_some_and(|h| h & 0x88 == 0x08), ..Self::default() },
        }
    }

    /// The payload with the rewritten counters; `None`: nothing changes.
    pub(crate) fn patched(&self, payload: &[u8], rewrite: &Rewrite) -> Option<Vec<u8>> {
        let mut edits = [(None, None); 2];
        edits[0] = (self.picture_id, rewrite.picture_id);
        edits[1] = (self.tl0_pic_idx, rewrite.tl0_pic_idx.map(u16::from));
        let mut patched = None;
        for (field, value) in edits {
            let (Some(field), Some(value)) = (field, value) else { continue };
            if field.value == value {
                continue;
            }
            let bytes = patched.get_or_insert_with(|| payload.to_vec());
            if field.wide {
                bytes[field.offset] = 0x80 | (value >> 8) as u8 & 0x7f;
                bytes[field.offset + 1] = value as u8;
            } else {
                bytes[field.offset] = value as u8;
            }
        }
        patched
    }
}

/// Reads PictureID at `at`; moves `at` behind it.
fn picture_id(payload: &[u8], at: &mut usize) -> Option<Field> {
    let offset = *at;
    let first = u16::from(*payload.get(offset)?);
    *at += 1;
    if first & 0x80 == 0 {
        return Some(Field { value: first, offset, wide: false });
    }
    let low = u16::from(*payload.get(*at)?);
    *at += 1;
    Some(Field { value: (first & 0x7f) << 8 | low, offset, wide: true })
}

/// RFC 7741, 4.2 and RFC 6386, 9.1.
fn vp8(payload: &[u8]) -> Option<Picture> {
    let mut picture = Picture::default();
    let first = *payload.first()?;
    let mut at = 1;
    if first & 0x80 != 0 {
        let fields = *payload.get(at)?;
        at += 1;
        if fields & 0x80 != 0 {
            picture.picture_id = Some(picture_id(payload, &mut at)?);
        }
        if fields & 0x40 != 0 {
            let value = u16::from(*payload.get(at)?);
            picture.tl0_pic_idx = Some(Field { value, offset: at, wide: false });
            at += 1;
        }
        at += usize::from(fields & 0x30 != 0);
    }
    let body = payload.get(at..)?;
    let starts = first & 0x17 == 0x10;
    picture.starts_key = starts && body.first().is_some_and(|tag| tag & 1 == 0);
    if let (true, [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..]) = (picture.starts_key, body) {
        picture.size = Some((u16::from_le_bytes([*w0, *w1]) & 0x3fff, u16::from_le_bytes([*h0, *h1]) & 0x3fff));
    }
    Some(picture)
}

/// RFC 9628, 4.2: PictureID, TL0PICIDX (non-flexible mode), and the first packet of an intra picture's lowest layer.
fn vp9(payload: &[u8]) -> Option<Picture> {
    let mut picture = Picture::default();
    let first = *payload.first()?;
    let mut at = 1;
    if first & 0x80 != 0 {
        picture.picture_id = Some(picture_id(payload, &mut at)?);
    }
    let (layers, flexible) = (first & 0x20 != 0, first & 0x10 != 0);
    let mut lowest = true;
    if layers {
        lowest = payload.get(at)? & 0x0e == 0;
        at += 1;
        if !flexible {
            let value = u16::from(*payload.get(at)?);
            picture.tl0_pic_idx = Some(Field { value, offset: at, wide: false });
        }
    }
    // P: predicted from other pictures; B: begins a frame.
    picture.starts_key = first & 0x48 == 0x08 && lowest;
    Some(picture)
}

/// RFC 6184: a parameter set or the first slice of an IDR picture, alone (1 to 23), in STAP-A (24) or begun in FU-A (28).
fn h264_starts_key(payload: &[u8]) -> bool {
    let key = |header: u8| matches!(header & 0x1f, 5 | 7);
    match payload {
        [header, rest @ ..] if header & 0x1f == 24 => {
            let mut rest = rest;
            while let [high, low, body @ ..] = rest {
                if body.first().is_some_and(|&header| key(header)) {
                    return true;
                }
                rest = body.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default();
            }
            false
        }
        [header, fragment, ..] if header & 0x1f == 28 => fragment & 0x80 != 0 && key(*fragment),
        [header, ..] => key(*header),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 16] = [0x90, 0xe0, 0x81, 0x02, 9, 0x20, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01];

    fn rewrite(picture_id: u16, tl0: u8) -> Rewrite {
        Rewrite { sequence: 0, timestamp: 0, picture_id: Some(picture_id), tl0_pic_idx: Some(tl0) }
    }

    #[test]
    fn a_vp8_key_frame_is_seen_with_its_size_and_counters() {
        let picture = Picture::parse(Format::Vp8, &KEY);
        assert!(picture.starts_key);
        assert_eq!(picture.size, Some((640, 480)));
        assert_eq!(picture.picture_id.map(|f| f.value), Some(0x102));
        assert_eq!(picture.tl0_pic_idx.map(|f| f.value), Some(9));
    }

    #[test]
    fn rewriting_changes_the_counters_and_nothing_else() {
        let picture = Picture::parse(Format::Vp8, &KEY);
        let patched = picture.patched(&KEY, &rewrite(0x7ffe, 255)).expect("something changes");
        let again = Picture::parse(Format::Vp8, &patched);
        assert_eq!(again.picture_id.map(|f| f.value), Some(0x7ffe));
        assert_eq!(again.tl0_pic_idx.map(|f| f.value), Some(255));
        assert_eq!(patched[5..], KEY[5..]);
        assert_eq!(picture.patched(&KEY, &rewrite(0x102, 9)), None);
    }

    #[test]
    fn vp9_counters_are_found_in_both_modes() {
        // I P L . B E: non-flexible with layer indices and TL0PICIDX; then flexible without.
        let fixed = Picture::parse(Format::Vp9(0), &[0xe8, 0x85, 0x01, 0x00, 77, 1]);
        assert_eq!((fixed.picture_id.map(|f| f.value), fixed.tl0_pic_idx.map(|f| f.value)), (Some(0x501), Some(77)));
        let flexible = Picture::parse(Format::Vp9(0), &[0xb8, 0x05, 0x00, 1]);
        assert_eq!((flexible.picture_id.map(|f| f.value), flexible.tl0_pic_idx), (Some(5), None));
    }

    #[test]
    fn key_frames_of_the_other_codecs_are_seen() {
        let starts = |format, payload: &[u8]| Picture::parse(format, payload).starts_key;
        let (h264, vp9) = (Format::H264(1, 0x42e0), Format::Vp9(0));
        for key in [&[0x67, 1][..], &[0x65], &[0x78, 0, 2, 0x67, 1, 0, 1, 0x65], &[0x7c, 0x85]] {
            assert!(starts(h264, key), "{key:x?}");
        }
        for other in [&[0x41][..], &[0x78, 0, 2, 0x41, 1], &[0x7c, 0x05], &[0x7c, 0x81], &[0x78, 0xff]] {
            assert!(!starts(h264, other), "{other:x?}");
        }
        assert!(starts(vp9, &[0x88, 1, 1]) && !starts(vp9, &[0xc8, 1, 1]) && !starts(vp9, &[0x80, 1, 1]));
        assert!(starts(Format::Av1, &[0x18]) && !starts(Format::Av1, &[0x10]) && !starts(Format::Av1, &[0x98]));
    }

    #[test]
    fn payloads_cut_anywhere_are_harmless() {
        for format in [Format::Opus, Format::Vp8, Format::Vp9(0), Format::H264(1, 0x42e0), Format::Av1] {
            for length in 0..KEY.len() {
                let picture = Picture::parse(format, &KEY[..length]);
                let _ = picture.patched(&KEY[..length], &rewrite(1, 1));
            }
        }
    }
}
