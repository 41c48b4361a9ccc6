//! When a packet was captured, by our clock: from the publisher's sender reports (RFC 3550, 6.4.1).
//!
//! All streams of one transport share one wall clock, so one [`WallClock`] serves them all: what it gets wrong, it gets
//! wrong for sound and picture alike, and they stay in step. Where no report is right, arrival has to do, less what a
//! stream's packets usually took: a camera takes longer than a microphone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::engine::{Mid, Packet, Report, Rid};
use crate::pace::Pace;

/// The difference between the clocks may creep by so much a second towards later: clocks drift, routes change.
const CREEP: f64 = 0.000_5;
/// A capture that seems longer ago than this is a broken report, not a slow network.
const MAX_AGE: Duration = Duration::from_secs(10);

/// Streams that were behind within this time are behind together.
const BEHIND: Duration = Duration::from_secs(1);
/// A wall clock that went by so much more or less than time did between two reports was set, seconds.
const SET: f64 = 0.25;
/// All streams of a publisher tell the same wall clock: one that alone seems to have been set, for so long, was wrong before.
const ALONE: Duration = Duration::from_secs(5);

/// What the reports of one stream said.
#[derive(Debug)]
struct Told {
    ssrc: u32,
    report: Report,
    /// The first packet that came with it: when, and its timestamp.
    at: Instant,
    timestamp: u64,
    /// Seconds by which its wall clock was set back since the publisher came.
    set_back: f64,
    /// When that changed last.
    set_at: Option<Instant>,
    /// Its media clock broke since: the next report is no continuation of this one.
    broken: bool,
}

/// How the packets of one stream come.
#[derive(Debug, Default)]
struct Flow {
    /// How its media clock goes.
    pace: Pace,
    /// The report that is wrong for it.
    wrong: Option<Report>,
    /// Seconds from capture to arrival of its fastest packets, and as of when.
    took: Option<(f64, Instant)>,
}

/// The lower one of what is measured now and what was the lowest before, which creeps up.
fn lowest(known: Option<(f64, Instant)>, measured: f64, now: Instant) -> f64 {
    known
        .map_or(measured, |(lowest, at)| measured.min(lowest + now.saturating_duration_since(at).as_secs_f64() * CREEP))
}

/// The publisher's wall clock as seen from here: our time minus its time, at the fastest that a packet ever was. Somebody
/// may set that clock while media flows; media goes on as if nobody had.
#[derive(Debug, Default)]
pub(crate) struct WallClock {
    epoch: Option<Instant>,
    /// Seconds since `epoch` by our clock minus seconds by the publisher's; when it was measured.
    offset: Option<(f64, Instant)>,
    streams: HashMap<(Mid, Option<Rid>), Told>,
    flows: HashMap<(Mid, Option<Rid>), Flow>,
    /// Which m-lines were behind, and when last.
    behind: HashMap<Mid, Instant>,
    /// For a stream that is new.
    set_back: f64,
}

impl WallClock {
    /// The moment at which `packet` was captured, never after its arrival; and whether its media clock leapt or stood still:
    /// its timestamp does not continue those before.
    pub(crate) fn captured(&mut self, packet: &Packet) -> (Instant, bool) {
        let key = (packet.mid, packet.rid);
        let recently = |at: Instant| packet.arrived.saturating_duration_since(at) < BEHIND;
        let queued = self.behind.iter().any(|(mid, at)| *mid != packet.mid && recently(*at));
        let flow = self.flows.entry(key).or_default();
        let broken = flow.pace.handle_packet(packet, queued);
        if flow.pace.lags() {
            self.behind.insert(packet.mid, packet.arrived);
        }
        if broken {
            flow.wrong = packet.report;
            self.streams.entry(key).and_modify(|told| told.broken = true);
        }
        let report = packet.report.filter(|report| flow.wrong != Some(*report));
        let age = report.and_then(|report| self.age(report, packet));
        let flow = self.flows.entry(key).or_default();
        let age = match age {
            Some(age) => {
                flow.took = Some((lowest(flow.took, age, packet.arrived), packet.arrived));
                age
            }
            None => flow.took.map_or(0.0, |(took, _)| took),
        };
        (packet.arrived.checked_sub(Duration::from_secs_f64(age)).unwrap_or(packet.arrived), broken)
    }

    /// How long ago a packet was captured when it arrived, seconds, by a report; `None`: the report is broken.
    fn age(&mut self, report: Report, packet: &Packet) -> Option<f64> {
        let arrived = packet.arrived;
        let epoch = *self.epoch.get_or_insert(arrived);
        let wall = wall(report, packet) + self.set_back(report, packet);
        let here = seconds(arrived, epoch);
        // The smallest difference belongs to the packet that waited least on its way.
        let offset = lowest(self.offset, here - wall, arrived);
        self.offset = Some((offset, arrived));
        Some(here - (wall + offset)).filter(|age| (0.0..MAX_AGE.as_secs_f64()).contains(age))
    }

    /// By how much the clock that this packet's stream tells was set back.
    fn set_back(&mut self, report: Report, packet: &Packet) -> f64 {
        let (ssrc, at) = (packet.ssrc, packet.arrived);
        let timestamp = packet.timestamp;
        let new = Told { ssrc, report, at, timestamp, set_back: self.set_back, set_at: None, broken: false };
        let key = (packet.mid, packet.rid);
        if self.streams.get(&key).is_none_or(|told| told.ssrc != ssrc) {
            self.streams.insert(key, new);
            return self.set_back;
        }
        let Some(told) = self.streams.get_mut(&key) else { return self.set_back };
        if told.report == report {
            return told.set_back;
        }
        let rate = f64::from(packet.format.clock_rate());
        let media = report.timestamp.saturating_sub(told.report.timestamp) as f64 / rate;
        let wall = report.wall.as_secs_f64() - told.report.wall.as_secs_f64();
        let set = wall - media;
        // A report is made from both clocks and may show either as the one that leapt: the packets tell which it was.
        let sent = timestamp.wrapping_sub(told.timestamp).cast_signed() as f64 / rate;
        let leapt = (sent - at.saturating_duration_since(told.at).as_secs_f64()).abs() > set.abs() / 2.0;
        if set.abs() > SET && !leapt && !told.broken {
            told.set_back -= set;
            told.set_at = Some(at);
            self.set_back = told.set_back;
        }
        (told.report, told.at, told.timestamp, told.broken) = (report, at, timestamp, false);
        let (set_back, quiet) = (told.set_back, told.set_at.is_none_or(|since| at >= since + ALONE));
        // This stream's clock was not set for long: what another says alone has had its time.
        let alone = |told: &&mut Told| told.set_at.is_some_and(|since| at >= since + ALONE);
        if quiet {
            for other in self.streams.values_mut().filter(alone) {
                other.set_at = None;
                if (other.set_back - set_back).abs() > SET / 2.0 {
                    other.set_back = set_back;
                    self.set_back = set_back;
                }
            }
        }
        set_back
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
            let sound = clock.captured(&sent(Format::Opus, at, 20)).0;
            let picture = clock.captured(&sent(Format::Vp8, at, late)).0;
            let apart = sound.max(picture) - sound.min(picture);
            assert!(apart < ms(1), "{apart:?} at {at}");
        }
    }

    /// Ten seconds of both streams with a report a second each, the picture's half a second later; `wall` is what the
    /// publisher's clock says at a moment, for sound and for picture. By how far sound and picture captured together are
    /// ever apart, and how old a packet ever seems, in milliseconds.
    fn worst(wall: impl Fn(u64, Format) -> u64) -> (u64, u64) {
        let (mut clock, mut reports) = (WallClock::default(), HashMap::new());
        let (mut apart, mut oldest) = (0, 0);
        for at in (1000_u64..20_000).step_by(20) {
            let captures = [(Format::Opus, 0_u64), (Format::Vp8, 500)].map(|(format, later)| {
                let rate = u64::from(format.clock_rate());
                if (at - later).is_multiple_of(1000) {
                    let timestamp = (5_000_000 + at * rate / 1000).cast_signed();
                    let wall = ms(1_700_000_000_000) + ms(wall(at, format));
                    reports.insert(later, Report { wall, timestamp });
                }
                let mut packet = packet(format, at, 5_000_000 + at * rate / 1000);
                packet.mid = Mid::from(if later == 0 { "0" } else { "1" });
                packet.report = reports.get(&later).copied();
                packet.arrived = epoch() + ms(at + 20);
                let captured = clock.captured(&packet).0;
                oldest = oldest.max((packet.arrived - captured).as_millis() as u64);
                captured
            });
            apart = apart.max((captures[0].max(captures[1]) - captures[0].min(captures[1])).as_millis() as u64);
        }
        (apart, oldest)
    }

    #[test]
    fn a_wall_clock_that_is_set_shifts_nothing() {
        assert_eq!(worst(|at, _| at), (0, 0));
        for (before, after) in [(1000, 0), (0, 1000), (0, 5_000_000)] {
            let (apart, oldest) = worst(|at, _| at + if at < 8_000 { before } else { after });
            assert!(apart < 10 && oldest < 10, "{before} {after}: {apart} {oldest}");
        }
    }

    #[test]
    fn a_report_from_a_capture_set_back_shifts_nothing() {
        let mut clock = WallClock::default();
        let at = |told: u64, ahead: u64| {
            let timestamp = 5_000_000 + (told + ahead).cast_signed() * 48;
            Report { wall: ms(1_700_000_000_000 + told), timestamp }
        };
        for n in (1000_u64..20_000).step_by(20) {
            let told = n / 1000 * 1000;
            let mut packet = packet(Format::Opus, n, 5_000_000 + n * 48);
            // Senders report the present, with the timestamp that it would have: a second more after the change.
            packet.report = Some(at(told, if told < 8_000 { 0 } else { 1000 }));
            packet.arrived = epoch() + ms(n + 20);
            let age = packet.arrived - clock.captured(&packet).0;
            assert!(age < ms(10), "{age:?} at {n}");
        }
    }

    #[test]
    fn a_media_clock_that_leaps_is_no_wall_clock_that_was_set() {
        let mut clock = WallClock::default();
        let mut late = Duration::ZERO;
        for n in (1000_u64..20_000).step_by(20) {
            // The device is opened anew in the eighth second: its timestamps leap by two seconds.
            let leap = |at: u64| if at < 8_000 { 0 } else { 2_000 };
            let told = n / 1000 * 1000;
            let mut packet = packet(Format::Opus, n, 5_000_000 + (n + leap(n)) * 48);
            let timestamp = 5_000_000 + (told + leap(told)).cast_signed() * 48;
            packet.report = Some(Report { wall: ms(1_700_000_000_000 + told), timestamp });
            packet.arrived = epoch() + ms(n + 20);
            late = packet.arrived - clock.captured(&packet).0;
        }
        assert!(late < ms(10), "{late:?}");
    }

    /// Twenty seconds of sound with a report each 5 s, its timestamps off by `leap` ms after the second one: how many packets
    /// seem older than 10 ms then, and how old the last one does.
    fn after_a_change(leap: i64) -> (usize, Duration) {
        let mut clock = WallClock::default();
        let of =
            |at: u64| (5_000_000 + at.saturating_add_signed(if at < 10_100 { 0 } else { leap }) * 48).cast_signed();
        let ages = (5_000_u64..20_000).step_by(20).map(|n| {
            let told = n / 5000 * 5000;
            let mut packet = packet(Format::Opus, n, of(n).cast_unsigned());
            packet.report = Some(Report { wall: ms(1_700_000_000_000 + told), timestamp: of(told) });
            packet.arrived = epoch() + ms(n + 20);
            packet.arrived - clock.captured(&packet).0
        });
        let ages: Vec<Duration> = ages.collect();
        (ages.iter().filter(|age| **age > ms(10)).count(), ages[ages.len() - 1])
    }

    #[test]
    fn a_media_clock_that_stands_still_spoils_nothing_until_its_next_report() {
        // 200 ms of packets are watched.
        for leap in [-300, -1000, -3000] {
            let (old, last) = after_a_change(leap);
            assert!(old <= 12 && last < ms(10), "{leap}: {old} packets, {last:?}");
        }
    }

    #[test]
    fn sound_and_picture_stay_together_while_no_report_is_right() {
        let mut clock = WallClock::default();
        let mut captured = |format: Format, mid: &str, n: u64, late: u64, leap: u64| {
            let told = n / 5000 * 5000;
            let rate = u64::from(format.clock_rate());
            let of = |at: u64| 5_000_000 + (at + if at < 10_100 { 0 } else { leap }) * rate / 1000;
            let mut packet = packet(format, n, of(n));
            packet.mid = Mid::from(mid);
            packet.report = Some(Report { wall: ms(1_700_000_000_000 + told), timestamp: of(told).cast_signed() });
            packet.arrived = epoch() + ms(n + late);
            clock.captured(&packet).0
        };
        // A camera takes longer than a microphone; then another one is taken.
        let apart = (5_000_u64..20_000).step_by(20).map(|n| {
            let sound = captured(Format::Opus, "0", n, 20, 0);
            let picture = captured(Format::Vp8, "1", n, 80, 2000);
            sound.max(picture) - sound.min(picture)
        });
        assert!(apart.max().is_some_and(|apart| apart < ms(1)));
    }

    #[test]
    fn a_report_from_while_the_media_clock_stood_still_sets_no_clock() {
        let mut clock = WallClock::default();
        let mut age = Duration::ZERO;
        for n in (5_000_u64..20_000).step_by(20).filter(|n| !(10_000..11_000).contains(n)) {
            // Senders report the present, with the timestamp that it would have if nothing had happened.
            let told = n.saturating_sub(5_500) / 5000 * 5000 + 5_500;
            let of = |at: u64, stood: u64| 5_000_000 + (at - stood) * 48;
            let mut packet = packet(Format::Opus, n, of(n, if n < 11_000 { 0 } else { 1000 }));
            let timestamp = of(told, if told < 11_000 { 0 } else { 1000 }).cast_signed();
            packet.report = Some(Report { wall: ms(1_700_000_000_000 + told), timestamp });
            packet.arrived = epoch() + ms(n + 20);
            age = packet.arrived - clock.captured(&packet).0;
        }
        assert!(age < ms(10), "{age:?}");
    }

    #[test]
    fn a_media_clock_that_leaps_before_its_report_spoils_nothing() {
        for leap in [300, 2000, 20_000] {
            let (old, last) = after_a_change(leap);
            assert!(old == 0 && last < ms(1), "{leap}: {old} packets, {last:?}");
        }
    }

    /// Sound and picture each 20 ms, captured and sent together, `late` ms after a moment of the publisher's clock; how
    /// often one of their media clocks is said to be broken.
    fn broken(late: impl Fn(u64, Format) -> u64) -> usize {
        let mut clock = WallClock::default();
        let moments = (0..10_000_u64).step_by(20).flat_map(|at| [(at, Format::Opus), (at, Format::Vp8)]);
        let packet = |(at, format): (u64, Format)| {
            let mut packet = packet(format, at, at * u64::from(format.clock_rate()) / 1000);
            packet.mid = Mid::from(if format == Format::Opus { "0" } else { "1" });
            packet.arrived = epoch() + ms(at + late(at, format));
            packet
        };
        moments.map(packet).filter(|packet| clock.captured(packet).1).count()
    }

    #[test]
    fn a_queue_that_drains_slowly_holds_up_all_streams() {
        for percent in [50, 85, 95] {
            // 300 ms of nothing, and then the link is busy with what waits for so much of the time.
            let queue =
                |at: u64, _| if at < 1000 { 0 } else { 300_u64.saturating_sub((at - 1000) * (100 - percent) / 100) };
            assert_eq!(broken(queue), 0, "{percent}");
        }
        // A device that is changed is not one.
        assert_eq!(broken(|at, format| if at < 1000 || format == Format::Vp8 { 0 } else { 300 }), 1);
        // Where all of them stand still for good, they are believed after a second.
        assert_eq!(broken(|at, _| if at < 1000 { 0 } else { 300 }), 2);
    }

    #[test]
    fn a_stream_that_is_corrected_alone_is_believed() {
        let mut clock = WallClock::default();
        let mut apart = Duration::ZERO;
        for at in (1000_u64..20_000).step_by(20) {
            let captures = [Format::Opus, Format::Vp8].map(|format| {
                let rate = u64::from(format.clock_rate());
                // Until the eighth second the picture's reports are half a second wrong.
                let wrong = if format == Format::Vp8 && at < 8_000 { 500 } else { 0 };
                let told = at / 1000 * 1000;
                let mut packet = packet(format, at, 5_000_000 + at * rate / 1000);
                packet.mid = Mid::from(if format == Format::Opus { "0" } else { "1" });
                let timestamp = (5_000_000 + told * rate / 1000).cast_signed();
                packet.report = Some(Report { wall: ms(1_700_000_000_000 + told - wrong), timestamp });
                packet.arrived = epoch() + ms(at + 20);
                clock.captured(&packet).0
            });
            apart = captures[0].max(captures[1]) - captures[0].min(captures[1]);
        }
        assert!(apart < ms(10), "{apart:?}");
    }

    #[test]
    fn a_capture_is_never_in_the_future_nor_absurdly_old() {
        let mut clock = WallClock::default();
        let fast = sent(Format::Opus, 2000, 5);
        assert_eq!(clock.captured(&fast).0, fast.arrived);
        let mut odd = sent(Format::Opus, 2000, 5);
        odd.timestamp = 0;
        assert_eq!(clock.captured(&odd).0, odd.arrived);
        odd.timestamp = u64::MAX / 2;
        assert!(clock.captured(&odd).0 <= odd.arrived);
    }

    #[test]
    fn without_reports_arrival_counts() {
        let mut packet = sent(Format::Vp8, 2000, 77);
        packet.report = None;
        assert_eq!(WallClock::default().captured(&packet).0, packet.arrived);
    }
}
