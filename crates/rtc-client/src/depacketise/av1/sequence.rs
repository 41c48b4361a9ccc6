//! The sequence header of AV1 (AV1 bitstream, 5.5), as far as `av1C` and the size of a key frame need it.

use crate::depacketise::bits::Bits;

/// `SELECT_SCREEN_CONTENT_TOOLS`, `SELECT_INTEGER_MV`: each frame says for itself.
const SELECT: u32 = 2;

/// What a sequence header says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sequence {
    profile: u8,
    level: u8,
    tier: bool,
    colour: Colour,
    reduced: bool,
    width_bits: u32,
    height_bits: u32,
    width: u16,
    height: u16,
    frame_id_bits: Option<u32>,
    screen_content: u32,
    integer_mv: u32,
    order_hint_bits: u32,
    /// Frame headers say more in front of what we look for, which no sender in real time does.
    decoder_model: bool,
}

/// `color_config` (5.5.2).
#[derive(Debug, Clone, Copy, Default)]
struct Colour {
    high_bit_depth: bool,
    twelve_bit: bool,
    monochrome: bool,
    subsampling: (bool, bool),
    sample_position: u8,
}

impl Sequence {
    pub(super) fn parse(body: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(body);
        let mut sequence = Self { profile: bits.number(3)? as u8, ..Self::default() };
        bits.skip(1)?;
        sequence.reduced = bits.flag()?;
        if sequence.reduced {
            sequence.level = bits.number(5)? as u8;
        } else {
            sequence.operating_points(&mut bits)?;
        }
        sequence.width_bits = bits.number(4)? + 1;
        sequence.height_bits = bits.number(4)? + 1;
        sequence.width = u16::try_from(bits.number(sequence.width_bits)? + 1).ok()?;
        sequence.height = u16::try_from(bits.number(sequence.height_bits)? + 1).ok()?;
        if !sequence.reduced && bits.flag()? {
            let delta = bits.number(4)? + 2;
            sequence.frame_id_bits = Some(bits.number(3)? + delta + 1);
        }
        // use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
        bits.skip(3)?;
        sequence.tools(&mut bits)?;
        // enable_superres, enable_cdef, enable_restoration
        bits.skip(3)?;
        sequence.colour = Colour::parse(&mut bits, sequence.profile)?;
        Some(sequence)
    }

    /// Timing and operating points; the level is that of the first point.
    fn operating_points(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        let mut delay_bits = 0;
        if bits.flag()? {
            bits.skip(64)?;
            if bits.flag()? {
                bits.golomb()?;
            }
            self.decoder_model = bits.flag()?;
            if self.decoder_model {
                delay_bits = bits.number(5)? + 1;
                bits.skip(32 + 5 + 5)?;
            }
        }
        let display_delay = bits.flag()?;
        for point in 0..=bits.number(5)? {
            bits.skip(12)?;
            let level = bits.number(5)?;
            let tier = level > 7 && bits.flag()?;
            if point == 0 {
                (self.level, self.tier) = (level as u8, tier);
            }
            if self.decoder_model && bits.flag()? {
                bits.skip(2 * delay_bits + 1)?;
            }
            if display_delay && bits.flag()? {
                bits.skip(4)?;
            }
        }
        Some(())
    }

    fn tools(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        (self.screen_content, self.integer_mv) = (SELECT, SELECT);
        if self.reduced {
            return Some(());
        }
        // Interintra, masked, warped motion, dual filter.
        bits.skip(4)?;
        let order_hint = bits.flag()?;
        if order_hint {
            bits.skip(2)?;
        }
        if !bits.flag()? {
            self.screen_content = bits.number(1)?;
        }
        if self.screen_content > 0 && !bits.flag()? {
            self.integer_mv = bits.number(1)?;
        }
        if order_hint {
            self.order_hint_bits = bits.number(3)? + 1;
        }
        Some(())
    }

    /// The fixed part of `AV1CodecConfigurationRecord` (AV1 in ISOBMFF, 2.3.3); the sequence header follows it.
    pub(super) fn av1c(&self) -> [u8; 4] {
        let Colour { high_bit_depth, twelve_bit, monochrome, subsampling: (x, y), sample_position } = self.colour;
        let bit = |flag, place: u8| u8::from(flag) << place;
        let formats = bit(self.tier, 7) | bit(high_bit_depth, 6) | bit(twelve_bit, 5) | bit(monochrome, 4);
        [0x81, self.profile << 5 | self.level, formats | bit(x, 3) | bit(y, 2) | sample_position, 0]
    }

    /// The size of the frame that this frame header describes, if it is a key frame that is shown (5.9.2, 5.9.5).
    pub(super) fn key_frame_size(&self, frame: &[u8]) -> Option<(u16, u16)> {
        let most = (self.width, self.height);
        if self.reduced {
            return Some(most);
        }
        let mut bits = Bits::new(frame);
        // show_existing_frame, frame_type KEY_FRAME, show_frame
        if bits.number(4)? != 1 {
            return None;
        }
        if self.decoder_model {
            return Some(most);
        }
        // disable_cdf_update
        bits.skip(1)?;
        let tools = if self.screen_content == SELECT { bits.number(1)? } else { self.screen_content };
        if tools == 1 && self.integer_mv == SELECT {
            bits.skip(1)?;
        }
        bits.skip(self.frame_id_bits.unwrap_or(0))?;
        let other_size = bits.flag()?;
        bits.skip(self.order_hint_bits)?;
        if !other_size {
            return Some(most);
        }
        let mut side = |count| u16::try_from(bits.number(count)? + 1).ok();
        Some((side(self.width_bits)?, side(self.height_bits)?))
    }
}

impl Colour {
    fn parse(bits: &mut Bits<'_>, profile: u8) -> Option<Self> {
        let mut colour = Self { high_bit_depth: bits.flag()?, ..Self::default() };
        colour.twelve_bit = profile == 2 && colour.high_bit_depth && bits.flag()?;
        colour.monochrome = profile != 1 && bits.flag()?;
        // Primaries, transfer, matrix.
        let described = if bits.flag()? { (bits.number(8)?, bits.number(8)?, bits.number(8)?) } else { (2, 2, 2) };
        if colour.monochrome {
            bits.skip(1)?;
            colour.subsampling = (true, true);
            return Some(colour);
        }
        // BT.709 primaries, sRGB transfer, identity matrix: RGB.
        if described == (1, 13, 0) {
            return Some(colour);
        }
        bits.skip(1)?;
        colour.subsampling = match profile {
            0 => (true, true),
            1 => (false, false),
            _ if colour.twelve_bit => {
                let x = bits.flag()?;
                (x, x && bits.flag()?)
            }
            _ => (true, false),
        };
        if colour.subsampling == (true, true) {
            colour.sample_position = bits.number(2)? as u8;
        }
        Some(colour)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_frame_may_be_smaller_than_its_sequence() {
        let (width_bits, height_bits) = (10, 9);
        let sequence = Sequence {
            width: 640,
            height: 360,
            width_bits,
            height_bits,
            screen_content: SELECT,
            integer_mv: SELECT,
            order_hint_bits: 3,
            ..Sequence::default()
        };
        // Shown key frame, updates, screen content with whole vectors, other size, order hint, 320 x 180.
        let frame = [0b0001_0111, 0b0000_1001, 0b1111_1010, 0b1100_1100];
        assert_eq!(sequence.key_frame_size(&frame), Some((320, 180)));
        // Without the bit for another size.
        let frame = [0b0001_0000, 0];
        assert_eq!(sequence.key_frame_size(&frame), Some((640, 360)));
        // An inter frame; one that was shown before; one that is not shown.
        for other in [0b0011_0000, 0b1000_0000, 0b0000_0000] {
            assert_eq!(sequence.key_frame_size(&[other, 0, 0, 0]), None);
        }
    }
}
