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

/// The same when the first report comes: what was guessed from arrival may be off by the age of a picture.
const FIRST_STEP_US: i64 = 30_000;

/// Slewing: 5 ms for each 100 ms.
const SLEW: i64 = 20;

/// No frame was captured later than now, but for the error of the estimate, and none waits longer than this before it is
/// written. Timestamps and reports are a stranger's word: beyond these bounds arrival counts, or a leap of an hour would
/// write an hour of silence.
const NEWEST_US: i64 = 200_000;
/// See [`NEWEST_US`].
const OLDEST_US: i64 = 10_000_000;

/// Less than this is no error, only the jitter of the estimate. Following it would shake every frame.
const SLACK_US: i64 = 4_000;

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
    min: WindowMin,
    offset: i64,
}

/// The clock of one stream.
#[derive(Debug)]
pub struct StreamClock {
    rate: u32,
    /// The first timestamp seen: times of this stream count from there.
    base: Option<i64>,
    /// The shortest way, as arrival less timestamp.
    arrival: WindowMin,
    earliest: i64,
    /// The newest report that is worth anything, as wall clock less timestamp.
    wall: Option<i64>,
    /// By the reports, how late the stream's fastest packets are.
    delay: WindowMin,
    late: i64,
    /// The newest timestamp that was mapped, and to what.
    last: Option<(i64, i64)>,
    /// Whether `last` was mapped by a report.
    synced: bool,
}

impl StreamClock {
    /// The clock of a stream with `rate` ticks a second.
    pub fn new(rate: u32) -> Self {
        Self {
            rate,
            base: None,
            arrival: WindowMin::default(),
            earliest: 0,
            wall: None,
            delay: WindowMin::default(),
            late: 0,
            last: None,
            synced: false,
        }
    }

    /// Forgets what is known: the source behind the stream changed.
    pub fn restart(&mut self) {
        *self = Self::new(self.rate);
    }

    /// Takes note of a packet at its arrival.
    pub fn observe(&mut self, timestamp: u64, arrived: i64, report: Option<SenderReport>, server: &mut ServerClock) {
        let timestamp = timestamp.cast_signed();
        let base = *self.base.get_or_insert(timestamp);
        let at = self.micros(timestamp.saturating_sub(base));
        self.earliest = self.arrival.update(arrived, arrived - at);
        if let Some(report) = report.filter(|report| report.packets > 0)
            && let Some(ntp) = wall_micros(report.ntp)
        {
            let wall = ntp - self.micros(report.timestamp.saturating_sub(base));
            self.wall = Some(wall);
            server.offset = server.min.update(arrived, arrived - (wall + at));
            self.late = self.delay.update(arrived, arrived - (wall + at) - server.offset);
        }
    }

    /// When the frame with this timestamp was captured, on the recording's clock, where it is `now`.
    pub fn map(&mut self, timestamp: u64, now: i64, server: &ServerClock) -> i64 {
        let timestamp = timestamp.cast_signed();
        let at = self.micros(timestamp.saturating_sub(self.base.unwrap_or(timestamp)));
        let target = match self.wall {
            // Reports that put a stream far into the past are wrong by that much; its own fastest packets correct them.
            Some(wall) => wall + at + server.offset + if self.late > MAX_DELAY_US { self.late } else { 0 },
            None => self.earliest + at,
        };
        let first = self.wall.is_some() && !std::mem::replace(&mut self.synced, self.wall.is_some());
        let mut followed = false;
        let mapped = match self.last {
            None => target,
            Some((last_timestamp, last_at)) => {
                let elapsed = self.micros(timestamp.saturating_sub(last_timestamp));
                let natural = last_at + elapsed;
                let error = target - natural;
                if error.abs() > if first { FIRST_STEP_US } else { STEP_US } {
                    followed = true;
                    target
                } else {
                    let most = (elapsed / SLEW).abs();
                    let beyond = error.signum() * (error.abs() - SLACK_US).max(0);
                    natural + beyond.clamp(-most, most)
                }
            }
        };
        if !(now - OLDEST_US..=now + NEWEST_US).contains(&mapped) {
            self.begin_at(timestamp, now);
            return now;
        }
        // Old timestamps (a repaired packet) are mapped but do not move the clock back. A step does: after a mute of more than
        // 2^31 ticks, timestamps are extended backwards.
        if followed || self.last.is_none_or(|(last, _)| timestamp >= last) {
            self.last = Some((timestamp, mapped));
        }
        mapped
    }

    /// Begins anew with a frame whose time can only be guessed.
    fn begin_at(&mut self, timestamp: i64, now: i64) {
        *self = Self { base: Some(timestamp), earliest: now, last: Some((timestamp, now)), ..Self::new(self.rate) };
    }

    fn micros(&self, ticks: i64) -> i64 {
        ticks.saturating_mul(1_000_000) / i64::from(self.rate)
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

    /// A packet that is written at once.
    fn take(
        clock: &mut StreamClock,
        server: &mut ServerClock,
        timestamp: i64,
        arrived: i64,
        report: Option<SenderReport>,
    ) -> i64 {
        clock.observe(timestamp.cast_unsigned(), arrived, report, server);
        clock.map(timestamp.cast_unsigned(), arrived, server)
    }

    #[test]
    fn before_reports_spacing_comes_from_timestamps_and_not_from_arrival() {
        let (mut server, mut clock) = (ServerClock::default(), StreamClock::new(90_000));
        // Two seconds of pictures arrive in a burst; the last of them is the only one that is fresh.
        for n in 0..60 {
            clock.observe(n * 3000, 2_000_000 + n.cast_signed() * 800, None, &mut server);
        }
        let at: Vec<i64> = (0..60).map(|n| clock.map(n * 3000, 2_100_000, &server)).collect();
        assert!(at.windows(2).all(|pair| (33_333..=33_334).contains(&(pair[1] - pair[0]))), "{at:?}");
        assert!((at[59] - 2_047_200).abs() < 100, "{}", at[59]);
    }

    #[test]
    fn an_old_first_picture_does_not_make_the_others_late() {
        let (mut server, mut clock) = (ServerClock::default(), StreamClock::new(90_000));
        // A cached key frame, 400 ms old, then fresh pictures.
        for n in 0..6 {
            let age = if n == 0 { 400_000 } else { 0 };
            clock.observe(n * 3000, n.cast_signed() * 33_333 + age, None, &mut server);
        }
        assert!(clock.map(0, 250_000, &server).abs() < 10);
    }

    #[test]
    fn reports_bring_two_streams_together() {
        let mut server = ServerClock::default();
        let (mut audio, mut video) = (StreamClock::new(48_000), StreamClock::new(90_000));
        // Captured together at wall + n * 20 ms; pictures take 180 ms longer. Reports come after a second.
        let mut skew = Vec::new();
        for n in 0..500_i64 {
            let known = (n >= 50).then(|| report(WALL, 0)).flatten();
            let a = take(&mut audio, &mut server, n * 960, n * 20_000 + 5_000, known);
            let v = take(&mut video, &mut server, n * 1800, n * 20_000 + 185_000, known);
            skew.push((a - v).abs());
        }
        assert_eq!(skew[0], 180_000);
        assert!(skew[50..].iter().all(|skew| *skew < 2 * SLACK_US), "{:?}", &skew[45..60]);
    }

    #[test]
    fn a_drifting_sender_is_followed_without_jumps() {
        let (mut server, mut clock) = (ServerClock::default(), StreamClock::new(90_000));
        // The sender's crystal runs 100 ppm fast for two hours: 0.72 s in all; the reports tell.
        let (mut last, mut worst) = (None, 0);
        for n in 0..216_000_i64 {
            let wall = n * 33_333;
            let ticks = |us: i64| us * 90_009 / 1_000_000;
            let told = n / 150 * 150 * 33_333;
            let at = take(&mut clock, &mut server, ticks(wall), wall, report(WALL + told, ticks(told)));
            worst = worst.max((at - wall).abs());
            if let Some(last) = last.replace(at) {
                // What the sender's clock says, slewed by a twentieth at most.
                assert!((at - last - 33_333).abs() <= 33_333 / SLEW + 5, "at {n}: {}", at - last);
            }
        }
        assert!(worst < 10_000, "{worst}");
    }

    #[test]
    fn a_correction_takes_5_ms_of_each_100_ms() {
        let (mut server, mut clock) = (ServerClock::default(), StreamClock::new(90_000));
        // From the third second on, reports put the stream 200 ms earlier.
        let error = |n: i64, clock: &mut StreamClock, server: &mut ServerClock| {
            let told = report(WALL - if n < 90 { 0 } else { 200_000 }, 0);
            take(clock, server, n * 3000, n * 33_333, told) - n * 33_333
        };
        let errors: Vec<i64> = (0..300).map(|n| error(n, &mut clock, &mut server)).collect();
        assert!(errors.windows(2).all(|pair| (-1_667..=1).contains(&(pair[1] - pair[0]))), "{errors:?}");
        // 196 ms, at 50 ms a second.
        assert!(
            (90 + 116..=90 + 120).contains(&errors.iter().filter(|error| **error > -195_900).count()),
            "{errors:?}"
        );
    }

    #[test]
    fn jitter_of_the_way_does_not_shake_the_frames() {
        let (mut server, mut clock) = (ServerClock::default(), StreamClock::new(90_000));
        let mut last = None;
        for n in 0..600_i64 {
            // 3 to 12 ms, the fastest packet a little faster now and then.
            let way = 3_000 + (n * 7_919) % 9_000 - n * 5;
            let at = take(&mut clock, &mut server, n * 3000, n * 33_333 + way, report(WALL, 0));
            if let Some(last) = last.replace(at).filter(|_| n > 60) {
                assert!((33_000..33_700).contains(&(at - last)), "at {n}: {}", at - last);
            }
        }
    }

    #[test]
    fn reports_that_are_seconds_off_are_corrected_by_arrival() {
        let mut server = ServerClock::default();
        let (mut good, mut bad) = (StreamClock::new(48_000), StreamClock::new(90_000));
        for n in 0..100_i64 {
            let arrived = n * 20_000;
            take(&mut good, &mut server, n * 960, arrived, report(WALL, 0));
            let at = take(&mut bad, &mut server, n * 1800, arrived, report(WALL - 3_000_000, 0));
            assert!((at - arrived).abs() < 100_000, "{at} {arrived}");
        }
    }

    #[test]
    fn a_leap_of_timestamps_or_reports_leads_out_of_no_recording() {
        let (mut server, mut clock) = (ServerClock::default(), StreamClock::new(90_000));
        for (n, timestamp, told) in [
            (0, 0, None),
            (1, 1 << 40, None),
            (2, 3_000, None),
            (3, 6_000, report(WALL, 0)),
            (4, 9_000, report(WALL, 1 << 50)),
        ] {
            let arrived = n * 33_333;
            let at = take(&mut clock, &mut server, timestamp, arrived, told);
            assert!((at - arrived).abs() <= NEWEST_US, "{n}: {at}");
        }
        let honest: Vec<i64> = (5..300)
            .map(|n| take(&mut clock, &mut server, n * 3_000, n * 33_333, report(WALL, 0)) - n * 33_333)
            .collect();
        assert!(honest.iter().all(|error| error.abs() <= NEWEST_US), "{honest:?}");
    }

    #[test]
    fn frames_are_slewed_again_after_timestamps_went_back() {
        let (mut server, mut clock) = (ServerClock::default(), StreamClock::new(90_000));
        let base = 1 << 33;
        take(&mut clock, &mut server, base, 0, report(WALL, base));
        // A mute of seven hours: 2^32 ticks are missing afterwards.
        let silent = 7 * 3_600_000_000;
        let back = base + silent * 9 / 100 - (1 << 32);
        for n in 0..100_i64 {
            let (arrived, timestamp) = (silent + n * 33_333, back + n * 3_000);
            // The reports jump back by 20 ms in the middle.
            let told = report(WALL + silent - if n < 50 { 0 } else { 20_000 }, back);
            let at = take(&mut clock, &mut server, timestamp, arrived, told);
            let error = at - arrived;
            assert!(error.abs() <= 25_000, "{n}: {error}");
            if n == 50 {
                assert!(error > -3_000, "slewed, no step: {error}");
            }
        }
    }

    #[test]
    fn worthless_reports_are_not_believed() {
        let (mut server, mut clock) = (ServerClock::default(), StreamClock::new(90_000));
        let worthless = report(WALL, 0).map(|report| SenderReport { packets: 0, ..report });
        assert_eq!(take(&mut clock, &mut server, 0, 70, worthless), 70);
        assert_eq!(take(&mut clock, &mut server, 90_000, 1_000_070, worthless), 1_000_070);
    }
}
