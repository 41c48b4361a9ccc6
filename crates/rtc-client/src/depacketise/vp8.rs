//! The payloads of VP8 (RFC 7741).

use super::assembler::{Depacketise, Key, MAX_PICTURE};

/// The payload descriptor in front of every VP8 payload (RFC 7741, 4.2), as far as pictures need it.
struct Descriptor {
    /// S and PID 0: the packet begins a picture.
    starts_picture: bool,
    /// Bytes of the descriptor.
    length: usize,
}

impl Descriptor {
    /// Reads a descriptor; `None`: it is cut short.
    fn parse(payload: &[u8]) -> Option<Self> {
        let first = *payload.first()?;
        let mut descriptor = Self { starts_picture: first & 0x10 != 0 && first & 0x07 == 0, length: 1 };
        if first & 0x80 == 0 {
            return Some(descriptor);
        }
        let mut take = || {
            let byte = *payload.get(descriptor.length)?;
            descriptor.length += 1;
            Some(byte)
        };
        let fields = take()?;
        // A PictureID of one or two bytes.
        if fields & 0x80 != 0 && take()? & 0x80 != 0 {
            take()?;
        }
        // TL0PICIDX; TID or KEYIDX.
        if fields & 0x40 != 0 {
            take()?;
        }
        if fields & 0x30 != 0 {
            take()?;
        }
        Some(descriptor)
    }
}

/// Size of a VP8 picture, if it is a key frame (RFC 6386, 9.1).
pub fn key_frame_size(picture: &[u8]) -> Option<(u16, u16)> {
    let [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = *picture else { return None };
    let size = |low, high| u16::from_le_bytes([low, high]) & 0x3fff;
    let (width, height) = (size(w0, w1), size(h0, h1));
    // Without a size it is no picture, nor a track in a file.
    (tag & 1 == 0 && width > 0 && height > 0).then_some((width, height))
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

#[cfg(test)]
mod tests {
    use super::Descriptor;

    #[test]
    fn every_form_is_read_to_its_end() {
        // Plain; I short and long; L; T, K, and both in one byte; all of it.
        let forms: [&[u8]; 8] = [
            &[0x10],
            &[0x90, 0x80, 0x11],
            &[0x90, 0x80, 0x91, 0x22],
            &[0x90, 0x40, 7],
            &[0x90, 0x20, 0x40],
            &[0x90, 0x10, 0x05],
            &[0x90, 0x30, 0x45],
            &[0x90, 0xf0, 0x91, 0x22, 7, 0x45],
        ];
        for bytes in forms {
            let parsed = Descriptor::parse(&[bytes, &[0xff; 3]].concat()).expect("a descriptor");
            assert_eq!((parsed.starts_picture, parsed.length), (true, bytes.len()), "{bytes:x?}");
            for end in 0..bytes.len() {
                assert!(Descriptor::parse(&bytes[..end]).is_none(), "{:x?}", &bytes[..end]);
            }
        }
        for goes_on in [0x00, 0x11] {
            assert!(!Descriptor::parse(&[goes_on]).expect("a descriptor").starts_picture);
        }
    }
}
