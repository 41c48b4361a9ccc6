//! RTP timestamps without wrap-around. The engine's own are wrong for the first packet after a gap of 2^31 ticks or more, a
//! mute of seven hours: it turns a bit, and the rest of the picture has another timestamp.

use std::collections::BTreeMap;

/// Where counting begins: room to go back, since a gap of 2^31 to 2^32 ticks looks like a step back.
const FIRST: u64 = 1 << 40;

/// The newest timestamp of each source.
#[derive(Debug, Default)]
pub(crate) struct Timestamps(BTreeMap<u32, u64>);

impl Timestamps {
    /// The one that is nearest to the source's last. There are no more sources than the caller knows.
    pub(crate) fn extend(&mut self, ssrc: u32, timestamp: u32) -> u64 {
        let last = self.0.entry(ssrc).or_insert(FIRST + u64::from(timestamp));
        *last = last.wrapping_add_signed(i64::from(timestamp.wrapping_sub(*last as u32).cast_signed()));
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_kept_over_wraps() {
        let mut timestamps = Timestamps::default();
        let first = timestamps.extend(1, u32::MAX - 1000);
        assert_eq!(timestamps.extend(1, 1999), first + 3000);
        assert_eq!(timestamps.extend(1, u32::MAX), first + 1000);
        assert_eq!(timestamps.extend(1, u32::MAX - (1 << 31)), first + 1000 - (1 << 31));
        assert_eq!(timestamps.extend(2, 7) as u32, 7);
    }
}
