//! RTP timestamps without wrap-around. The engine's own are wrong for the first packet after a gap of 2^31 ticks or more, a
//! mute of seven hours: it turns a bit, and the rest of the picture has another timestamp.

use std::collections::BTreeMap;

/// Where counting begins: room to go back, since a gap of 2^31 to 2^32 ticks looks like a step back.
const FIRST: u64 = 1 << 40;
/// Sources that are remembered.
const MAX_SOURCES: usize = 128;

/// The newest timestamp of each source.
#[derive(Debug, Default)]
pub struct Timestamps(BTreeMap<u32, u64>);

impl Timestamps {
    /// The one that is nearest to the source's last.
    pub fn extend(&mut self, ssrc: u32, timestamp: u32) -> u64 {
        if self.0.len() >= MAX_SOURCES && !self.0.contains_key(&ssrc) {
            self.0.pop_first();
        }
        let last = self.0.entry(ssrc).or_insert(FIRST + u64::from(timestamp));
        *last = last.wrapping_add_signed(i64::from(timestamp.wrapping_sub(*last as u32).cast_signed()));
        *last
    }
}

/// Another timestamp of a source, extended to be nearest to this one: that of a report, which may be older than all
/// packets.
pub fn beside(timestamp: u64, other: u32) -> i64 {
    let ahead = other.wrapping_sub(timestamp as u32).cast_signed();
    timestamp.cast_signed().saturating_add(ahead.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_stands_beside_its_packet_over_wraps() {
        for (timestamp, ahead) in [(FIRST, -7), (FIRST + 7, -10), (FIRST - 7, 10), (3, -5)] {
            let expected = timestamp.cast_signed() + ahead;
            assert_eq!(beside(timestamp, expected as u32), expected, "{timestamp} {ahead}");
        }
    }

    #[test]
    fn steps_are_kept_over_wraps_and_sources_apart() {
        let mut timestamps = Timestamps::default();
        let begin = u32::MAX - 1000;
        let first = timestamps.extend(1, begin);
        assert_eq!(first as u32, begin);
        let steps = [3000, -2000, 1 << 30, -(1 << 31), 0];
        let mut expected = first;
        for step in steps {
            expected = expected.wrapping_add_signed(step);
            timestamps.extend(2, 77);
            assert_eq!(timestamps.extend(1, expected as u32), expected, "{step}");
        }
    }

    #[test]
    fn sources_are_not_remembered_without_end() {
        let mut timestamps = Timestamps::default();
        assert!((0..1000).all(|ssrc| timestamps.extend(ssrc, 5) as u32 == 5));
        assert_eq!(timestamps.0.len(), MAX_SOURCES);
    }
}
