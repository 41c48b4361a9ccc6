//! The payloads of H.264 (RFC 6184, packetization modes 0 and 1): an access unit, as Matroska holds it.
//!
//! Parameter sets go into `avcC` and not into the picture. An encoder that only counts their ids up at each key frame has
//! not changed what a decoder must be ready for: `avcC` stays, and the new sets stand in front of the picture.

mod parameters;

use super::assembler::{Depacketise, Key, MAX_PICTURE};
use parameters::{ParameterSets, Shape};

/// NAL unit types (H.264, table 7-1).
const SLICE: u8 = 1;
const IDR_SLICE: u8 = 5;
const SEI: u8 = 6;
const SPS: u8 = 7;
const PPS: u8 = 8;
/// Packet types (RFC 6184, table 1).
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// An access unit in the making.
#[derive(Debug, Default)]
pub(crate) struct H264 {
    /// NAL units with their lengths in front.
    unit: Vec<u8>,
    /// A NAL unit that goes on in the next packet.
    fragment: Option<Vec<u8>>,
    has_slice: bool,
    idr: bool,
    /// The sets since the last damage: what is older may have been replaced by what was lost.
    sets: ParameterSets,
    /// This unit changed them.
    changed: bool,
    /// What the last key frame said.
    told: Option<Told>,
}

#[derive(Debug)]
struct Told {
    sets: ParameterSets,
    shape: Shape,
    config: Vec<u8>,
}

impl Depacketise for H264 {
    fn push(&mut self, payload: &[u8]) -> Option<()> {
        let kind = payload.first()? & 0x1f;
        if self.fragment.is_some() && kind != FU_A {
            return None;
        }
        match kind {
            1..=23 => self.nal(payload),
            // RFC 6184, 5.7.1.
            STAP_A => {
                let mut rest = &payload[1..];
                while !rest.is_empty() {
                    let (size, body) = rest.split_first_chunk()?;
                    let (nal, after) = body.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
                    self.nal(nal)?;
                    rest = after;
                }
                Some(())
            }
            FU_A => self.fragment(payload),
            // Interleaved packets are of mode 2, which nobody negotiates.
            _ => None,
        }
    }

    fn is_empty(&self) -> bool {
        self.unit.is_empty() && self.fragment.is_none()
    }

    fn take(&mut self) -> Option<(Vec<u8>, Option<Key>)> {
        let (unit, has_slice, idr) = (std::mem::take(&mut self.unit), self.has_slice, self.idr);
        let changed = std::mem::take(&mut self.changed);
        (self.has_slice, self.idr) = (false, false);
        if self.fragment.take().is_some() {
            return None;
        }
        if !has_slice {
            // Parameter sets may come in a packet of their own, ahead of their picture.
            self.changed = changed;
            return Some((Vec::new(), None));
        }
        if !idr {
            // Sets in the middle of a sequence would have to be put into a head that is written.
            return (!changed).then_some((unit, None));
        }
        let (key, in_band) = self.key()?;
        Some(([in_band, unit].concat(), Some(key)))
    }

    fn clear(&mut self) {
        let told = self.told.take();
        *self = Self { told, ..Self::default() };
    }
}

impl H264 {
    /// RFC 6184, 5.8: indicator, header with S and E, and the NAL unit without its first byte.
    fn fragment(&mut self, payload: &[u8]) -> Option<()> {
        let [indicator, header, body @ ..] = payload else { return None };
        let (start, end) = (header & 0x80 != 0, header & 0x40 != 0);
        if start == self.fragment.is_some() || (start && end) || body.is_empty() {
            return None;
        }
        let nal = self.fragment.get_or_insert_with(|| vec![indicator & 0xe0 | header & 0x1f]);
        if self.unit.len() + nal.len() + body.len() > MAX_PICTURE {
            return None;
        }
        nal.extend_from_slice(body);
        if end && let Some(nal) = self.fragment.take() {
            self.nal(&nal)?;
        }
        Some(())
    }

    fn nal(&mut self, nal: &[u8]) -> Option<()> {
        let kind = nal.first()? & 0x1f;
        match kind {
            SLICE | IDR_SLICE => {
                // first_mb_in_slice is 0, one bit, in the first slice of a picture: without it the beginning is missing.
                let first = nal.get(1)? & 0x80 != 0;
                if !self.has_slice && !first {
                    return None;
                }
                self.idr |= kind == IDR_SLICE;
                self.has_slice = true;
            }
            SEI => {}
            SPS => {
                self.changed |= self.sets.add_sequence(nal)?;
                return Some(());
            }
            PPS => {
                self.changed |= self.sets.add_picture(nal)?;
                return Some(());
            }
            // Data partitions belong to a profile that nobody negotiates. Delimiters, ends, filler and the layers of
            // extensions are not needed to decode.
            2..=4 => return None,
            _ => return Some(()),
        }
        if self.unit.len() + nal.len() + 4 > MAX_PICTURE {
            return None;
        }
        put(nal, &mut self.unit);
        Some(())
    }

    /// What a key frame says, and the sets that must stand in front of it. `None`: sets are missing.
    fn key(&mut self) -> Option<(Key, Vec<u8>)> {
        let shape = self.sets.shape()?;
        if self.told.as_ref().is_none_or(|told| told.shape != shape) {
            let config = self.sets.avcc()?;
            self.told = Some(Told { sets: self.sets.clone(), shape, config });
        }
        let told = self.told.as_ref()?;
        let mut in_band = Vec::new();
        if told.sets != self.sets {
            self.sets.nals().for_each(|nal| put(nal, &mut in_band));
        }
        Some((Key { width: shape.width, height: shape.height, config: told.config.clone() }, in_band))
    }
}

fn put(nal: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(nal.len() as u32).to_be_bytes());
    out.extend_from_slice(nal);
}

#[cfg(test)]
mod tests;
