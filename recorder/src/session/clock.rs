//! From a stream's RTP timestamps to the recording's clock, by sender reports.
//!
//! All times are microseconds on the recording's clock (0: it was switched on). The server writes one wall clock into the
//! reports of all streams, so two streams whose reports are believed are in sync whatever their packets went through. How
//! far that wall clock is from ours does not matter: [`ServerClock`] takes the fastest packets for the distance.

use std::time::{SystemTime, UNIX_EPOCH};

use rtc_client::SenderReport;

/// A minimum is remembered for one to two of these, so that it follows two clocks that drift apart.
const WINDOW_US: i64 = 30_000_000;

/// A stream whose packets, by its reports, are never younger than this has reports that are wrong.
const MAX_DELAY_US: i64 = 500_000;

/// A step of a stream's clock beyond this is followed at once: slewing would take seconds.
const STEP_US: i64 = 500_000;

/// Slewing: 5 ms for each 100 ms.
const SLEW: i64 = 20;

/// The minimum of the last half to whole minute.
#[derive(Debug, Default)]
struct WindowMin {
    window: i64,
    current: Option<i64>,
    previous: Option<i64>,
}

impl WindowMin {
    fn update(&mut self, at: i64, value: i64) -> i64 {
        let window = at.div_euclid(WINDOW_US);
        if window != self.window {
            self.previous = self.current.take().filter(|_| window == self.window + 1);
            self.window = window;
        }
        let current = self.current.map_or(value, |old| old.min(value));
        self.current = Some(current);
        self.previous.map_or(current, |old| old.min(current))
    }
}

/// The distance from the server's wall clock to the recording's clock, plus the shortest way that a packet took.
#[derive(Debug, Default)]
pub struct ServerClock {
    offset: WindowMin,
}

/// The clock of one stream.
#[derive(Debug)]
pub struct StreamClock {
    rate: i64,
    /// One timestamp and the time that it stands for.
    anchor: Option<(i64, i64)>,
    /// Whether a report has been believed since the start.
    synced: bool,
    delay: WindowMin,
}

impl StreamClock {
    /// The clock of a stream with `rate` ticks a second.
    pub fn new(rate: u32) -> Self {
        Self { rate: i64::from(rate), anchor: None, synced: false, delay: WindowMin::default() }
    }

    /// Forgets what is known: the source behind the stream changed.
    pub fn restart(&mut self) {
        *self = Self::new(self.rate as u32);
    }

    /// When the frame with this timestamp was captured, on the recording's clock.
    pub fn map(&mut self, timestamp: u64, arrived: i64, report: Option<SenderReport>, server: &mut ServerClock) -> i64 {
        let timestamp = timestamp.cast_signed();
        let (anchor_ts, anchor_at) = *self.anchor.get_or_insert((timestamp, arrived));
        let elapsed = self.micros(timestamp - anchor_ts);
        let natural = anchor_at + elapsed;
        let target = report.filter(|report| report.packets > 0).and_then(|report| {
            let ntp = wall_micros(report.ntp)?;
            let captured = ntp + self.micros(timestamp - report.timestamp);
            let offset = server.offset.update(arrived, arrived - captured);
            let delay = self.delay.update(arrived, arrived - captured - offset);
            // Reports that put a stream far into the past are wrong by that much; its own fastest packets correct them.
            let error = if delay > MAX_DELAY_US { delay } else { 0 };
            Some(captured + offset + error)
        });
        let at = match target {
            None => natural,
            Some(target) if !self.synced || (target - natural).abs() > STEP_US => {
                self.synced = true;
                target
            }
            Some(target) => {
                let most = (elapsed / SLEW).abs();
                natural + (target - natural).clamp(-most, most)
            }
        };
        // Old timestamps (a repaired packet) are mapped but do not move the anchor back.
        if timestamp >= anchor_ts {
            self.anchor = Some((timestamp, at));
        }
        at
    }

    fn micros(&self, ticks: i64) -> i64 {
        ticks.saturating_mul(1_000_000) / self.rate
    }
}

fn wall_micros(time: SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const WALL: i64 = 1_700_000_000_000_000;

    fn report(wall: i64, timestamp: i64) -> Option<SenderReport> {
        let ntp = UNIX_EPOCH + Duration::from_micros(wall.cast_unsigned());
        Some(SenderReport { ntp, timestamp, packets: 9 })
    }

    #[test]
    fn before_reports_spacing_comes_from_timestamps_and_not_from_arrival() {
        let (mut server, mut clock) = (ServerClock::default(), StreamClock::new(90_000));
        // Two seconds of pictures arrive in a burst.
        let at: Vec<i64> =
            (0..60).map(|n| clock.map(n * 3000, 1_000_000 + n.cast_signed() * 800, None, &mut server)).collect();
        assert!(at.windows(2).all(|pair| (33_333..=33_334).contains(&(pair[1] - pair[0]))), "{at:?}");
        assert_eq!(at[0], 1_000_000);
    }

    #[test]
    fn reports_bring_two_streams_together() {
        let mut server = ServerClock::default();
        let (mut audio, mut video) = (StreamClock::new(48_000), StreamClock::new(90_000));
        // Captured together at wall + n * 20 ms; pictures take 180 ms longer. Reports come after a second.
        let mut skew = Vec::new();
        for n in 0..500_i64 {
            let known = n >= 50;
            let a = audio.map(
                (n * 960).cast_unsigned(),
                n * 20_000 + 5_000,
                known.then(|| report(WALL, 0)).flatten(),
                &mut server,
            );
            let v = video.map(
                (n * 1800).cast_unsigned(),
                n * 20_000 + 185_000,
                known.then(|| report(WALL, 0)).flatten(),
                &mut server,
            );
            skew.push((a - v).abs());
        }
        assert_eq!(skew[0], 180_000);
        assert!(skew[50..].iter().all(|skew| *skew < 1_000), "{:?}", &skew[45..60]);
    }

    #[test]
    fn a_drifting_sender_is_followed_without_jumps() {
        let (mut server, mut clock) = (ServerClock::default(), StreamClock::new(90_000));
        // The sender's crystal runs 100 ppm fast for two hours: 0.72 s in all; the reports tell.
        let (mut last, mut worst) = (None, 0);
        for n in 0..216_000_i64 {
            let wall = n * 33_333;
            let ticks = |us: i64| us * 90_009 / 1_000_000;
            let at = clock.map(
                ticks(wall).cast_unsigned(),
                wall,
                report(WALL + n / 150 * 150 * 33_333, ticks(n / 150 * 150 * 33_333)),
                &mut server,
            );
            worst = worst.max((at - wall).abs());
            if let Some(last) = last.replace(at) {
                assert!((30_000..37_000).contains(&(at - last)), "at {n}: {}", at - last);
            }
        }
        assert!(worst < 5_000, "{worst}");
    }

    #[test]
    fn reports_that_are_seconds_off_are_corrected_by_arrival() {
        let mut server = ServerClock::default();
        let (mut good, mut bad) = (StreamClock::new(48_000), StreamClock::new(90_000));
        for n in 0..100_i64 {
            let arrived = n * 20_000;
            good.map((n * 960).cast_unsigned(), arrived, report(WALL, 0), &mut server);
            let at = bad.map((n * 1800).cast_unsigned(), arrived, report(WALL - 3_000_000, 0), &mut server);
            assert!((at - arrived).abs() < 100_000, "{at} {arrived}");
        }
    }

    #[test]
    fn worthless_reports_are_not_believed() {
        let (mut server, mut clock) = (ServerClock::default(), StreamClock::new(90_000));
        let worthless = report(WALL, 0).map(|report| SenderReport { packets: 0, ..report });
        assert_eq!(clock.map(0, 70, worthless, &mut server), 70);
        assert_eq!(clock.map(90_000, 1_100_000, worthless, &mut server), 1_000_070);
    }
}
