//! The payloads of AV1 (RTP Payload Format For AV1, v1.0.0 of the AOM): a temporal unit, as Matroska holds it.

mod obu;
mod sequence;

use super::assembler::{Depacketise, Key, MAX_PICTURE};
use crate::leb128;
use obu::Header;
use sequence::Sequence;

/// A temporal unit in the making.
#[derive(Debug, Default)]
pub(crate) struct Av1 {
    /// Whole OBUs, each with its size.
    unit: Vec<u8>,
    /// An OBU that goes on in the next packet.
    fragment: Option<Vec<u8>>,
    /// The newest sequence header, and its bytes as they stand in `av1C`.
    sequence: Option<(Sequence, Vec<u8>)>,
    /// This unit brings a sequence header.
    brings_sequence: bool,
    /// The size that this unit's first frame has, if it is a key frame.
    key: Option<(u16, u16)>,
    /// A frame was seen: what follows does not decide any more.
    has_frame: bool,
}

impl Depacketise for Av1 {
    /// 4.4: the aggregation header (Z: the first element goes on, Y: the last one will, W: how many there are, N: a coded
    /// video sequence begins), then elements with their lengths in front; with W the last one has none.
    fn push(&mut self, payload: &[u8]) -> Option<()> {
        let (&header, mut rest) = payload.split_first()?;
        let (continues, goes_on, count) = (header & 0x80 != 0, header & 0x40 != 0, usize::from(header >> 4 & 3));
        if continues != self.fragment.is_some() || rest.is_empty() {
            return None;
        }
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let element = if number == count {
                std::mem::take(&mut rest)
            } else {
                let (len, used) = leb128::read(rest)?;
                let element = rest.get(used..)?.get(..usize::try_from(len).ok()?)?;
                rest = &rest[used + element.len()..];
                element
            };
            let open = goes_on && rest.is_empty();
            self.element(element, open)?;
        }
        // A count that is not the number of elements: nothing of this packet can be trusted.
        (count == 0 || number == count).then_some(())
    }

    fn is_empty(&self) -> bool {
        self.unit.is_empty() && self.fragment.is_none()
    }

    fn take(&mut self) -> Option<(Vec<u8>, Option<Key>)> {
        let key = self.key.take().filter(|_| self.brings_sequence);
        let whole = self.fragment.is_none();
        let unit = std::mem::take(&mut self.unit);
        self.clear();
        let key = key.zip(self.sequence.as_ref()).map(|((width, height), (sequence, bytes))| Key {
            width,
            height,
            config: [&sequence.av1c()[..], bytes].concat(),
        });
        whole.then_some((unit, key))
    }

    fn clear(&mut self) {
        let sequence = self.sequence.take();
        *self = Self { sequence, ..Self::default() };
    }
}

impl Av1 {
    fn element(&mut self, element: &[u8], open: bool) -> Option<()> {
        let held = self.fragment.take();
        if self.unit.len() + held.as_ref().map_or(0, Vec::len) + element.len() > MAX_PICTURE {
            return None;
        }
        match held {
            Some(mut held) => {
                held.extend_from_slice(element);
                if open {
                    self.fragment = Some(held);
                    return Some(());
                }
                self.obu(&held)
            }
            None if open => {
                self.fragment = Some(element.to_vec());
                Some(())
            }
            None => self.obu(element),
        }
    }

    /// Takes a whole OBU, with or without a size of its own.
    fn obu(&mut self, obu: &[u8]) -> Option<()> {
        let header = Header::parse(obu)?;
        let body = header.body(obu)?;
        if !header.is_kept() {
            return Some(());
        }
        let start = self.unit.len();
        header.put(body, &mut self.unit);
        match header.kind {
            obu::SEQUENCE_HEADER => {
                self.sequence = Some((Sequence::parse(body)?, self.unit[start..].to_vec()));
                self.brings_sequence = true;
            }
            obu::FRAME_HEADER | obu::FRAME if !self.has_frame => {
                self.has_frame = true;
                self.key = self.sequence.as_ref().and_then(|(sequence, _)| sequence.key_frame_size(body));
            }
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests;
