//! The header of an AV1 OBU (AV1 bitstream, 5.3), and the OBU as files hold it.

use crate::leb128;

pub(super) const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
pub(super) const FRAME_HEADER: u8 = 3;
pub(super) const FRAME: u8 = 6;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

const HAS_EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;

/// One or two bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) kind: u8,
    first: u8,
    extension: Option<u8>,
}

impl Header {
    /// Reads the header in front of an OBU; `None`: it is cut short or none.
    pub(super) fn parse(obu: &[u8]) -> Option<Self> {
        let first = *obu.first()?;
        let extension = if first & HAS_EXTENSION == 0 { None } else { Some(*obu.get(1)?) };
        (first & 0x80 == 0).then_some(Self { kind: first >> 3 & 15, first, extension })
    }

    fn len(self) -> usize {
        1 + usize::from(self.extension.is_some())
    }

    /// What follows the header, and the size if there is one.
    pub(super) fn body(self, obu: &[u8]) -> Option<&[u8]> {
        let rest = obu.get(self.len()..)?;
        if self.first & HAS_SIZE == 0 {
            return Some(rest);
        }
        let (len, used) = leb128::read(rest)?;
        rest.get(used..)?.get(..usize::try_from(len).ok()?)
    }

    /// Whether a file holds it: delimiters and tile lists do not belong into RTP (section 5), nor padding into Matroska.
    pub(super) fn is_kept(self) -> bool {
        !matches!(self.kind, TEMPORAL_DELIMITER | TILE_LIST | PADDING)
    }

    /// Appends the OBU in the low-overhead format (AV1 bitstream, 5.2): with its size.
    pub(super) fn put(self, body: &[u8], out: &mut Vec<u8>) {
        out.push(self.first | HAS_SIZE);
        out.extend(self.extension);
        leb128::put(body.len() as u64, out);
        out.extend_from_slice(body);
    }
}
