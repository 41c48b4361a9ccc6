//! A reader of single bits, for the headers of video codecs. Nothing is read beyond the end.

/// Bits of a slice, most significant first.
#[derive(Debug, Clone)]
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// One bit.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        let byte = *self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// A number of `count` bits, at most 32.
    pub(crate) fn number(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0_u32, |number, _| Some(number << 1 | u32::from(self.flag()?)))
    }

    /// Passes over bits.
    pub(crate) fn skip(&mut self, count: u32) -> Option<()> {
        (0..count).try_for_each(|_| self.flag().map(drop))
    }

    /// An Exp-Golomb number: `ue(v)` of H.264 (9.1), `uvlc` of AV1 (4.10.3).
    pub(crate) fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros == 32 {
                return None;
            }
        }
        Some((1_u32 << zeros).wrapping_sub(1) + self.number(zeros)?)
    }

    /// A signed Exp-Golomb number: `se(v)` of H.264 (9.1.1).
    pub(crate) fn signed_golomb(&mut self) -> Option<i32> {
        let code = i64::from(self.golomb()?);
        i32::try_from(if code & 1 == 1 { (code + 1) / 2 } else { -(code / 2) }).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Bits;

    #[test]
    fn numbers_come_out_bit_by_bit_and_end_with_the_bytes() {
        // 101 | 1 | 010 | 011 | 00100 0 : three bits, then Golomb 0, 1, 2, 3.
        let bytes = [0b1011_0100, 0b1100_1000];
        let mut bits = Bits::new(&bytes);
        assert_eq!(bits.number(3), Some(5));
        assert_eq!([bits.golomb(), bits.golomb(), bits.golomb(), bits.golomb()], [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!((bits.flag(), bits.flag(), bits.number(1)), (Some(false), None, None));
    }

    #[test]
    fn signs_alternate() {
        // 1 | 010 | 011 | 00100 | 00101
        let bytes = [0b1010_0110, 0b0100_0010, 0b1000_0000];
        let mut bits = Bits::new(&bytes);
        let read: Vec<_> = (0..5).map(|_| bits.signed_golomb()).collect();
        assert_eq!(read, [Some(0), Some(1), Some(-1), Some(2), Some(-2)]);
        assert_eq!(Bits::new(&[0; 9]).golomb(), None);
    }
}
