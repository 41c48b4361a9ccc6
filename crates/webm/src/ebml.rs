//! EBML (RFC 8794): variable-length integers and elements, written into vectors and read from slices.
//!
//! Knows no Matroska element; reading never allocates and never trusts a length.

/// The eight-byte size "unknown" (RFC 8794 section 6.2): a reader goes on until something cannot be a child.
pub(crate) const UNKNOWN_SIZE: u64 = 0x00FF_FFFF_FFFF_FFFF;

/// The largest size that eight bytes can hold; all ones are reserved for "unknown".
const MAX_SIZE: u64 = UNKNOWN_SIZE - 1;

/// Appends an element id, which already carries its length marker.
pub(crate) fn put_id(out: &mut Vec<u8>, id: u32) {
    let bytes = id.to_be_bytes();
    let skip = (id.leading_zeros() / 8).min(3) as usize;
    out.extend_from_slice(&bytes[skip..]);
}

/// Appends a size in as few bytes as hold it.
pub(crate) fn put_size(out: &mut Vec<u8>, size: u64) {
    // A value of all ones means "unknown" at every length, so it takes one byte more (RFC 8794 section 6.2).
    let len = (1..8).find(|len| size < (1 << (7 * len)) - 1).unwrap_or(8);
    let marked = size.min(MAX_SIZE) | (1 << (7 * len));
    out.extend_from_slice(&marked.to_be_bytes()[8 - len..]);
}

/// The eight-byte form of a size, for places that are rewritten later and must not change their length.
pub(crate) fn size8(size: u64) -> [u8; 8] {
    (size.min(UNKNOWN_SIZE) | 1 << 56).to_be_bytes()
}

/// Appends an unsigned integer element in as few bytes as hold it.
pub(crate) fn put_uint(out: &mut Vec<u8>, id: u32, value: u64) {
    let skip = (value.leading_zeros() / 8).min(7) as usize;
    put_binary(out, id, &value.to_be_bytes()[skip..]);
}

/// Appends an eight-byte float element.
pub(crate) fn put_float(out: &mut Vec<u8>, id: u32, value: f64) {
    put_binary(out, id, &value.to_be_bytes());
}

/// Appends an element with these bytes as its data; strings are written with this too.
pub(crate) fn put_binary(out: &mut Vec<u8>, id: u32, data: &[u8]) {
    put_id(out, id);
    put_size(out, data.len() as u64);
    out.extend_from_slice(data);
}

/// Appends a master element whose children `fill` writes.
pub(crate) fn put_master(out: &mut Vec<u8>, id: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut children = Vec::new();
    fill(&mut children);
    put_binary(out, id, &children);
}

/// Why no integer could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// The bytes end inside it; more may follow.
    Short,
    /// These bytes are no such integer whatever follows.
    Invalid,
}

/// An element's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DataSize {
    Known(u64),
    Unknown,
}

/// Reads an element id of at most four bytes: its value with the marker, and its length.
pub(crate) fn read_id(bytes: &[u8]) -> Result<(u32, usize), ReadError> {
    let first = *bytes.first().ok_or(ReadError::Short)?;
    let len = first.leading_zeros() as usize + 1;
    if len > 4 {
        return Err(ReadError::Invalid);
    }
    let bytes = bytes.get(..len).ok_or(ReadError::Short)?;
    Ok((bytes.iter().fold(0, |id, byte| id << 8 | u32::from(*byte)), len))
}

/// Reads an element size: its value, and its length.
pub(crate) fn read_size(bytes: &[u8]) -> Result<(DataSize, usize), ReadError> {
    let first = *bytes.first().ok_or(ReadError::Short)?;
    let len = first.leading_zeros() as usize + 1;
    if len > 8 {
        return Err(ReadError::Invalid);
    }
    let bytes = bytes.get(..len).ok_or(ReadError::Short)?;
    let marked = bytes.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let mask = (1u64 << (7 * len)) - 1;
    let value = marked & mask;
    Ok((if value == mask { DataSize::Unknown } else { DataSize::Known(value) }, len))
}

/// Reads an unsigned integer of at most eight bytes.
pub(crate) fn read_uint(data: &[u8]) -> Option<u64> {
    (data.len() <= 8).then(|| data.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Reads a float of four or eight bytes.
pub(crate) fn read_float(data: &[u8]) -> Option<f64> {
    if let Ok(bytes) = <[u8; 8]>::try_from(data) {
        return Some(f64::from_be_bytes(bytes));
    }
    <[u8; 4]>::try_from(data).ok().map(|bytes| f64::from(f32::from_be_bytes(bytes)))
}

/// The elements of a slice in order: id and data. Ends at the first one that is not whole.
pub(crate) struct Elements<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (id, id_len) = read_id(self.0).ok()?;
        let (size, size_len) = read_size(&self.0[id_len..]).ok()?;
        let rest = &self.0[id_len + size_len..];
        let len = match size {
            DataSize::Known(len) => usize::try_from(len).ok()?,
            // Only a segment is written so, and it reaches to the end of what there is.
            DataSize::Unknown => rest.len(),
        };
        let data = rest.get(..len)?;
        self.0 = &rest[len..];
        Some((id, data))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_take_the_fewest_bytes_and_never_say_unknown() {
        for (size, bytes) in [
            (0, vec![0x80]),
            (126, vec![0xFE]),
            (127, vec![0x40, 0x7F]),
            (16_382, vec![0x7F, 0xFE]),
            (16_383, vec![0x20, 0x3F, 0xFF]),
        ] {
            let mut out = Vec::new();
            put_size(&mut out, size);
            assert_eq!(out, bytes, "{size}");
        }
        assert_eq!(read_size(&size8(UNKNOWN_SIZE)), Ok((DataSize::Unknown, 8)));
        assert_eq!(read_size(&size8(5)), Ok((DataSize::Known(5), 8)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(size in 0..MAX_SIZE, value: u64, data: Vec<u8>) {
            let mut out = Vec::new();
            put_size(&mut out, size);
            prop_assert_eq!(read_size(&out), Ok((DataSize::Known(size), out.len())));
            let mut out = Vec::new();
            put_uint(&mut out, 0xD7, value);
            put_binary(&mut out, 0x1A45_DFA3, &data);
            let found: Vec<_> = Elements(&out).collect();
            prop_assert_eq!(found.len(), 2);
            prop_assert_eq!(read_uint(found[0].1), Some(value));
            prop_assert_eq!((found[1].0, found[1].1), (0x1A45_DFA3, &data[..]));
        }

        #[test]
        fn any_bytes_end(bytes: Vec<u8>) {
            prop_assert!(Elements(&bytes).count() <= bytes.len());
        }
    }
}
