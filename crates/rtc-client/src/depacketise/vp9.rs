//! The payloads of VP9 (RFC 9628). All spatial layers of one moment make one picture: a superframe.

mod descriptor;
mod header;

use super::assembler::{Depacketise, Key, MAX_PICTURE};
use descriptor::Descriptor;

/// Frames that a superframe holds at most (VP9 bitstream, annex B).
const MAX_FRAMES: usize = 8;

/// A picture in the making: the frames of its spatial layers.
#[derive(Debug, Default)]
pub(crate) struct Vp9 {
    data: Vec<u8>,
    /// Where each frame ends in `data`; the last entry grows until `open` is over.
    ends: Vec<usize>,
    /// The last frame goes on in the next packet.
    open: bool,
    /// The lowest layer is predicted from no other picture.
    intra: bool,
    /// Size of the highest layer, by the scalability structure.
    size: Option<(u16, u16)>,
}

impl Depacketise for Vp9 {
    fn push(&mut self, payload: &[u8]) -> Option<()> {
        let descriptor = Descriptor::parse(payload)?;
        let body = payload.get(descriptor.length..).filter(|body| !body.is_empty())?;
        // B begins a frame, and only E ends one (RFC 9628, 4.2); the first of a picture is that of the lowest layer.
        let misplaced = descriptor.begins == self.open || (self.ends.is_empty() && descriptor.spatial > 0);
        if misplaced || self.data.len() + body.len() > MAX_PICTURE {
            return None;
        }
        if descriptor.begins {
            if self.ends.len() == MAX_FRAMES {
                return None;
            }
            if self.ends.is_empty() {
                self.intra = !descriptor.predicted;
            }
            self.ends.push(0);
        }
        self.size = descriptor.size.filter(|(width, height)| *width > 0 && *height > 0).or(self.size);
        self.data.extend_from_slice(body);
        *self.ends.last_mut()? = self.data.len();
        self.open = !descriptor.ends;
        Some(())
    }

    fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn take(&mut self) -> Option<(Vec<u8>, Option<Key>)> {
        let mut picture = std::mem::take(self);
        if picture.open {
            return None;
        }
        let header = header::key_frame_size(&picture.data).filter(|_| picture.intra);
        // A scalability structure without a key frame changes nothing that was not announced before.
        let size = header.map(|size| picture.size.unwrap_or(size));
        picture.add_index();
        Some((picture.data, size.map(|(width, height)| Key { width, height, config: Vec::new() })))
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Vp9 {
    /// Ends several frames with their index (VP9 bitstream, annex B.2), without which decoders see only the first.
    fn add_index(&mut self) {
        if self.ends.len() < 2 {
            return;
        }
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let sizes: Vec<u32> = self.ends.iter().zip(starts).map(|(end, start)| (end - start) as u32).collect();
        // 110, bytes of a size less one (3: four of them), frames less one.
        let marker = 0xc0 | 3 << 3 | (sizes.len() - 1) as u8;
        self.data.push(marker);
        sizes.iter().for_each(|size| self.data.extend_from_slice(&size.to_le_bytes()));
        self.data.push(marker);
    }
}

#[cfg(test)]
mod tests;
