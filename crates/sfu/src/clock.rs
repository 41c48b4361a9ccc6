//! When a packet was captured, by our clock: from the publisher's sender reports (RFC 3550, 6.4.1).
//!
//! All streams of one transport share one wall clock, so one [`WallClock`] serves them all: what it gets wrong, it gets
//! wrong for sound and picture alike, and they stay in step. Until a stream's first report, arrival has to do.

use std::time::{Duration, Instant};

use crate::engine::{Packet, Report};

/// The difference between the clocks may creep by so much a second towards later: clocks drift, routes change.
const CREEP: f64 = 0.000_5;
/// A capture that seems longer ago than this is a broken report, not a slow network.
const MAX_AGE: Duration = Duration::from_secs(10);

/// The publisher's wall clock as seen from here: our time minus its time, at the fastest that a packet ever was.
#[derive(Debug, Default)]
pub(crate) struct WallClock {
    epoch: Option<Instant>,
    /// Seconds since `epoch` by our clock minus seconds by the publisher's; when it was measured.
    offset: Option<(f64, Instant)>,
}

impl WallClock {
    /// The moment at which `packet` was captured; never after its arrival.
    pub(crate) fn captured(&mut self, packet: &Packet) -> Instant {
        let arrived = packet.arrived;
        let Some(report) = packet.report else { return arrived };
        let epoch = *self.epoch.get_or_insert(arrived);
        let wall = wall(report, packet);
        let here = seconds(arrived, epoch);
        let measured = here - wall;
        let offset = match self.offset {
            // The smallest difference belongs to the packet that waited least on its way.
            Some((known, at)) => measured.min(known + arrived.saturating_duration_since(at).as_secs_f64() * CREEP),
            None => measured,
        };
        self.offset = Some((offset, arrived));
        let age = here - (wall + offset);
        if !(0.0..MAX_AGE.as_secs_f64()).contains(&age) {
            return arrived;
        }
        arrived.checked_sub(Duration::from_secs_f64(age)).unwrap_or(arrived)
    }
}

/// The publisher's wall clock when it captured the packet, seconds.
fn wall(report: Report, packet: &Packet) -> f64 {
    let ticks = packet.timestamp.cast_signed().saturating_sub(report.timestamp);
    report.wall.as_secs_f64() + ticks as f64 / f64::from(packet.format.clock_rate())
}

fn seconds(at: Instant, epoch: Instant) -> f64 {
    match at.checked_duration_since(epoch) {
        Some(after) => after.as_secs_f64(),
        None => -epoch.duration_since(at).as_secs_f64(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Format;
    use crate::testing::{epoch, packet};

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// A packet captured at `at` (publisher's clock, ms), with a report of moment 1000, arriving `delay` later.
    fn sent(format: Format, at: u64, delay: u64) -> Packet {
        let rate = u64::from(format.clock_rate());
        let mut packet = packet(format, at, 5_000_000 + at * rate / 1000);
        packet.report =
            Some(Report { wall: ms(1_700_000_000_000) + ms(1000), timestamp: 5_000_000 + rate.cast_signed() });
        packet.arrived = epoch() + ms(at + delay);
        packet
    }

    #[test]
    fn sound_and_picture_captured_together_stay_together() {
        let mut clock = WallClock::default();
        clock.captured(&sent(Format::Opus, 2000, 20));
        for (at, late) in [(2020, 90), (2040, 30), (2060, 250)] {
            let sound = clock.captured(&sent(Format::Opus, at, 20));
            let picture = clock.captured(&sent(Format::Vp8, at, late));
            let apart = sound.max(picture) - sound.min(picture);
            assert!(apart < ms(1), "{apart:?} at {at}");
        }
    }

    #[test]
    fn a_capture_is_never_in_the_future_nor_absurdly_old() {
        let mut clock = WallClock::default();
        let fast = sent(Format::Opus, 2000, 5);
        assert_eq!(clock.captured(&fast), fast.arrived);
        let mut odd = sent(Format::Opus, 2000, 5);
        odd.timestamp = 0;
        assert_eq!(clock.captured(&odd), odd.arrived);
        odd.timestamp = u64::MAX / 2;
        assert!(clock.captured(&odd) <= odd.arrived);
    }

    #[test]
    fn without_reports_arrival_counts() {
        let mut packet = sent(Format::Vp8, 2000, 77);
        packet.report = None;
        assert_eq!(WallClock::default().captured(&packet), packet.arrived);
    }
}
