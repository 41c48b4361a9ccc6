//! The uncompressed header of a VP9 frame, as far as a key frame's size (VP9 bitstream, 6.2).

use crate::depacketise::bits::Bits;

const SYNC_CODE: u32 = 0x49_83_42;
/// `CS_RGB`: no subsampling is said.
const RGB: u32 = 7;

/// Width and height, if a key frame begins here.
pub(super) fn key_frame_size(frame: &[u8]) -> Option<(u16, u16)> {
    let mut bits = Bits::new(frame);
    if bits.number(2)? != 2 {
        return None;
    }
    let profile = bits.number(1)? | bits.number(1)? << 1;
    if profile == 3 {
        bits.skip(1)?;
    }
    let (shows_existing, predicted) = (bits.flag()?, bits.flag()?);
    // show_frame and error_resilient_mode do not matter.
    bits.skip(2)?;
    if shows_existing || predicted || bits.number(24)? != SYNC_CODE {
        return None;
    }
    if profile >= 2 {
        bits.skip(1)?;
    }
    if bits.number(3)? != RGB {
        bits.skip(if profile & 1 == 1 { 4 } else { 1 })?;
    } else if profile & 1 == 1 {
        bits.skip(1)?;
    }
    let mut side = || u16::try_from(bits.number(16)? + 1).ok();
    Some((side()?, side()?))
}
