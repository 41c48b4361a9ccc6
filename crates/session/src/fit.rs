//! How fast a sender's clock runs, by its sender reports: a straight line through all of them, in constant memory.

use std::time::{SystemTime, UNIX_EPOCH};

use rtc_client::SenderReport;

/// Fewer reports, or a shorter time, say more about the jitter of reports than about a clock.
const LEAST_REPORTS: f64 = 3.0;
/// See [`LEAST_REPORTS`].
const LEAST_SPAN_US: f64 = 10_000_000.0;

/// A report so far from the ones before it is of another clock: a leap, or timestamps that were extended otherwise.
const LEAP_US: f64 = 500_000.0;

/// What a line through the reports says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// By how many parts in a million the sender's clock is fast.
    pub ppm: f64,
    /// How far the reports lie from the line, milliseconds, root mean square.
    pub residual_ms: f64,
}

/// The line: how far RTP time is ahead of the wall clock, over the wall clock; microseconds since the first report.
#[derive(Debug)]
pub struct Fit {
    /// Ticks a second.
    rate: u32,
    first: Option<(u64, i64)>,
    last: Option<(u64, f64)>,
    count: f64,
    mean_wall: f64,
    mean_ahead: f64,
    /// Sums of products of the distances from the means.
    wall_wall: f64,
    wall_ahead: f64,
    ahead_ahead: f64,
}

impl Fit {
    /// Of a stream with `rate` ticks a second.
    pub fn new(rate: u32) -> Self {
        Self {
            rate,
            first: None,
            last: None,
            count: 0.0,
            mean_wall: 0.0,
            mean_ahead: 0.0,
            wall_wall: 0.0,
            wall_ahead: 0.0,
            ahead_ahead: 0.0,
        }
    }

    /// Forgets everything: another clock follows.
    pub fn restart(&mut self) {
        *self = Self::new(self.rate);
    }

    /// Takes a report and says whether it is news; one that was seen already is not, nor is one without packets.
    pub fn observe(&mut self, report: SenderReport) -> bool {
        let Some(wall) = micros(report.ntp).filter(|_| report.packets > 0) else { return false };
        if self.last.is_some_and(|(last, _)| last == wall) {
            return false;
        }
        let (mut x, mut ahead) = self.place(wall, report.timestamp);
        if self.last.is_some_and(|(last, before)| wall < last || (ahead - before).abs() > LEAP_US) {
            self.restart();
            (x, ahead) = self.place(wall, report.timestamp);
        }
        self.last = Some((wall, ahead));
        self.count += 1.0;
        // Welford: sums of squares of hours in microseconds would leave no digits for milliseconds.
        let (dx, dy) = (x - self.mean_wall, ahead - self.mean_ahead);
        self.mean_wall += dx / self.count;
        self.mean_ahead += dy / self.count;
        self.wall_wall += dx * (x - self.mean_wall);
        self.wall_ahead += dx * (ahead - self.mean_ahead);
        self.ahead_ahead += dy * (ahead - self.mean_ahead);
        true
    }

    /// The line, once there are enough reports.
    pub fn drift(&self) -> Option<Drift> {
        let span = self.first.zip(self.last).map(|((first, _), (last, _))| last.saturating_sub(first) as f64)?;
        if self.count < LEAST_REPORTS || span < LEAST_SPAN_US {
            return None;
        }
        let slope = self.wall_ahead / self.wall_wall;
        let rest = (self.ahead_ahead - slope * self.wall_ahead).max(0.0);
        Some(Drift { ppm: slope * 1e6, residual_ms: (rest / self.count).sqrt() / 1e3 })
    }

    /// Where a report lies.
    fn place(&mut self, wall: u64, timestamp: i64) -> (f64, f64) {
        let (first_wall, first_timestamp) = *self.first.get_or_insert((wall, timestamp));
        let x = wall as f64 - first_wall as f64;
        (x, timestamp.saturating_sub(first_timestamp) as f64 / f64::from(self.rate) * 1e6 - x)
    }
}

fn micros(time: SystemTime) -> Option<u64> {
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const WALL: u64 = 1_700_000_000_000_000;

    fn report(wall: u64, timestamp: i64) -> SenderReport {
        SenderReport { ntp: UNIX_EPOCH + Duration::from_micros(WALL + wall), timestamp, packets: 9 }
    }

    #[test]
    fn four_hours_of_a_fast_clock() {
        let mut fit = Fit::new(48_000);
        for second in 0..4 * 3_600_u64 {
            // 50 ppm, and 2 ms now to one side, now to the other.
            let jitter = if second % 2 == 0 { 96.0 } else { -96.0 };
            let report = report(second * 1_000_000, (second as f64 * 48_000.0 * 1.000_05 + jitter) as i64);
            // Every packet carries the newest report.
            fit.observe(report);
            fit.observe(report);
        }
        let drift = fit.drift().expect("enough");
        assert!((drift.ppm - 50.0).abs() < 0.1 && (drift.residual_ms - 2.0).abs() < 0.02, "{drift:?}");
    }

    #[test]
    fn too_little_says_nothing() {
        let mut fit = Fit::new(90_000);
        fit.observe(report(0, 0));
        fit.observe(report(20_000_000, 1_800_000));
        assert_eq!(fit.drift(), None);
        fit.observe(SenderReport { packets: 0, ..report(25_000_000, 7) });
        assert_eq!(fit.drift(), None);
        fit.observe(report(30_000_000, 2_700_000));
        assert!(fit.drift().is_some_and(|drift| drift.ppm.abs() < 0.01 && drift.residual_ms < 0.001));
    }

    #[test]
    fn a_leap_begins_another_line() {
        let mut fit = Fit::new(90_000);
        for second in 0..60_i64 {
            let leap = if second < 30 { 0 } else { 1 << 32 };
            fit.observe(report(second.cast_unsigned() * 1_000_000, second * 90_000 + leap));
        }
        assert!(fit.drift().is_some_and(|drift| drift.ppm.abs() < 0.01 && drift.residual_ms < 0.001));
    }

    #[test]
    fn any_report_is_taken() {
        let mut fit = Fit::new(90_000);
        for (wall, timestamp) in [(0, i64::MIN), (1, i64::MAX), (1 << 60, 0), (0, 5), (2, i64::MIN)] {
            fit.observe(report(wall, timestamp));
            let _ = fit.drift();
        }
    }
}
