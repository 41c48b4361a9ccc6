//! The payloads of VP8 (RFC 7741).

use super::assembler::{Depacketise, Key, MAX_PICTURE};

/// The payload descriptor in front of every VP8 payload (RFC 7741, 4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptor {
    /// S and PID 0: the packet begins a picture.
    pub starts_picture: bool,
    /// No other picture is predicted from this one.
    pub discardable: bool,
    /// PictureID, 7 or 15 bits.
    pub picture_id: Option<u16>,
    /// Temporal layer.
    pub temporal: Option<u8>,
    /// Bytes of the descriptor.
    pub length: usize,
}

impl Descriptor {
    /// Reads a descriptor; `None`: it is cut short.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let mut descriptor = Self {
            starts_picture: first & 0x10 != 0 && first & 0x07 == 0,
            discardable: first & 0x20 != 0,
            picture_id: None,
            temporal: None,
            length: 1,
        };
        if first & 0x80 == 0 {
            return Some(descriptor);
        }
        let mut take = || {
            let byte = *payload.get(descriptor.length)?;
            descriptor.length += 1;
            Some(byte)
        };
        let fields = take()?;
        if fields & 0x80 != 0 {
            let id = take()?;
            let long = id & 0x80 != 0;
            let high = u16::from(id & 0x7f);
            descriptor.picture_id = Some(if long { high << 8 | u16::from(take()?) } else { high });
        }
        if fields & 0x40 != 0 {
            take()?;
        }
        if fields & 0x30 != 0 {
            let layers = take()?;
            descriptor.temporal = (fields & 0x20 != 0).then_some(layers >> 6);
        }
        Some(descriptor)
    }
}

/// Size of a VP8 picture, if it is a key frame (RFC 6386, 9.1).
pub fn key_frame_size(picture: &[u8]) -> Option<(u16, u16)> {
    let [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = *picture else { return None };
    let size = |low, high| u16::from_le_bytes([low, high]) & 0x3fff;
    (tag & 1 == 0).then(|| (size(w0, w1), size(h0, h1)))
}

/// A VP8 frame in the making.
#[derive(Debug, Default)]
pub(crate) struct Vp8 {
    frame: Vec<u8>,
}

impl Depacketise for Vp8 {
    fn push(&mut self, payload: &[u8]) -> Option<()> {
        let descriptor = Descriptor::parse(payload)?;
        let body = payload.get(descriptor.length..).filter(|body| !body.is_empty())?;
        if descriptor.starts_picture != self.frame.is_empty() || self.frame.len() + body.len() > MAX_PICTURE {
            return None;
        }
        self.frame.extend_from_slice(body);
        Some(())
    }

    fn is_empty(&self) -> bool {
        self.frame.is_empty()
    }

    fn take(&mut self) -> Option<(Vec<u8>, Option<Key>)> {
        let frame = std::mem::take(&mut self.frame);
        let claims_key = frame.first().is_some_and(|tag| tag & 1 == 0);
        let key = key_frame_size(&frame).map(|(width, height)| Key { width, height, config: Vec::new() });
        (claims_key == key.is_some()).then_some((frame, key))
    }

    fn clear(&mut self) {
        self.frame.clear();
    }
}
