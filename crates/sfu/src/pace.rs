//! Whether the media clock of a stream goes on with time. A device that is changed makes it stand still or leap, and
//! until the next report what the last one said of it is wrong. Packets that wait in a queue look like the first for a
//! moment; but a queue drains, and it holds up all streams of a publisher, while a device has one.

use std::time::{Duration, Instant};

use crate::engine::Packet;

/// A media clock that is ahead of time by so much more than at the packet before has leapt, seconds.
const LEAP: f64 = 0.25;
/// One that is behind by so much more stands still, or its packets waited.
const BEHIND: f64 = 0.2;
/// What was less behind than this was a queue and has been sent.
const CAUGHT_UP: f64 = 0.1;
/// How long packets are watched for whether they catch up.
const WATCH: Duration = Duration::from_millis(200);
/// The same while other streams of the publisher are behind, too: a queue beside a picture that nearly fills the link
/// drains slowly.
const QUEUE_WATCH: Duration = Duration::from_secs(1);
/// No queue is longer than this, seconds: what is farther behind, after hours of mute, say, stood still.
const LONGEST_QUEUE: f64 = 5.0;
/// By how much a queue that drains is shorter after each watch, seconds; more than jitter.
const DRAINED: f64 = 0.04;

/// The pace of one stream.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    last: Option<Last>,
    lag: Option<Lag>,
}

/// The newest packet.
#[derive(Debug, Clone, Copy)]
struct Last {
    ssrc: u32,
    sequence: u64,
    timestamp: u64,
    arrived: Instant,
}

/// How far packets are behind what was usual, seconds, and since when that is watched.
#[derive(Debug, Clone, Copy)]
struct Lag {
    now: f64,
    since: Instant,
    /// The least of this watch and of the one before.
    least: f64,
    before: f64,
}

impl Pace {
    /// Takes note of a packet; `true`: the clock leapt or stood still, no report so far is right for it. `queued`:
    /// other streams are behind, too.
    pub(crate) fn handle_packet(&mut self, packet: &Packet, queued: bool) -> bool {
        let Packet { ssrc, sequence, timestamp, arrived, .. } = *packet;
        let new = Last { ssrc, sequence, timestamp, arrived };
        let Some(last) = self.last.filter(|last| last.ssrc == ssrc) else {
            *self = Self { last: Some(new), lag: None };
            return false;
        };
        // What was overtaken or sent again says nothing new.
        if sequence <= last.sequence {
            return false;
        }
        self.last = Some(new);
        let ticks = timestamp.wrapping_sub(last.timestamp).cast_signed() as f64;
        let passed = arrived.saturating_duration_since(last.arrived).as_secs_f64();
        let fell_behind = passed - ticks / f64::from(packet.format.clock_rate());
        let watch = if queued { QUEUE_WATCH } else { WATCH };
        let broken = match self.lag {
            _ if self.lag.map_or(0.0, |lag| lag.now) + fell_behind < -LEAP => true,
            None => {
                let lag = Lag { now: fell_behind, since: arrived, least: fell_behind, before: fell_behind };
                self.lag = Some(lag).filter(|_| fell_behind > BEHIND);
                return false;
            }
            Some(lag) => {
                let now = lag.now + fell_behind;
                let lag = Lag { now, least: lag.least.min(now), ..lag };
                let over = arrived.saturating_duration_since(lag.since) >= watch;
                let next = Lag { since: arrived, least: now, before: lag.least, ..lag };
                self.lag = Some(if over { next } else { lag }).filter(|_| now > CAUGHT_UP);
                now > CAUGHT_UP && over && lag.least > lag.before - DRAINED
            }
        };
        if broken {
            self.lag = None;
        }
        broken
    }

    /// Whether packets are behind, as in a queue.
    pub(crate) fn lags(&self) -> bool {
        self.lag.is_some_and(|lag| lag.now < LONGEST_QUEUE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Format;
    use crate::testing::{epoch, packet};

    /// Packets of sound each 20 ms, captured at `n * 20` ms and `stamp`ed and `arrive`d as told, ms; at which of them the
    /// clock is said to be broken.
    fn broken(stamp: impl Fn(u64) -> u64, arrive: impl Fn(u64) -> u64) -> Vec<u64> {
        let mut pace = Pace::default();
        let each = (0..300_u64).filter(|n| {
            let mut packet = packet(Format::Opus, *n, 1_000_000 + stamp(n * 20) * 48);
            packet.arrived = epoch() + Duration::from_millis(arrive(n * 20));
            pace.handle_packet(&packet, false)
        });
        each.map(|n| n * 20).collect()
    }

    #[test]
    fn a_clock_that_leaps_is_seen_at_once_and_once() {
        assert_eq!(broken(|at| at + if at < 1000 { 0 } else { 300 }, |at| at), [1000]);
        assert_eq!(broken(|at| at + if at < 1000 { 0 } else { 240 }, |at| at), []);
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_is_seen_soon() {
        // A device is opened for a while, and its clock goes on where it was.
        assert_eq!(broken(|at| at, |at| at + if at < 1000 { 0 } else { 300 }), [1200]);
        assert_eq!(broken(|at| at + 2000 - if at < 1000 { 0 } else { 1000 }, |at| at), [1200]);
        // The first packet came late itself.
        let late = |at: u64| if at < 1000 { at } else { (at + 300).max(1360) };
        assert_eq!(broken(|at| at, late), [1460]);
    }

    #[test]
    fn what_waited_in_a_queue_is_no_clock_that_stood_still() {
        // A second of packets arrives at once; at twice the speed; at five quarters of it. One that hardly drains looks like
        // a clock that stood still.
        for (percent, seen) in [(1, false), (50, false), (80, false), (85, true), (95, true)] {
            let stall = |at: u64| if at < 1000 { at } else { at.max(2000 + (at - 1000) * percent / 100) };
            assert_eq!(!broken(|at| at, stall).is_empty(), seen, "{percent}");
        }
        let jitter = |at: u64| at + at * 7919 % 100;
        assert_eq!(broken(|at| at, jitter), []);
    }

    #[test]
    fn what_is_hours_behind_is_in_no_queue() {
        for (behind, in_queue) in [(0, false), (1000, true), (7 * 3_600_000, false)] {
            let mut pace = Pace::default();
            for (n, at) in [(0, 0), (1, 20 + behind)] {
                let mut packet = packet(Format::Opus, n, n * 960);
                packet.arrived = epoch() + Duration::from_millis(at);
                assert!(!pace.handle_packet(&packet, false));
            }
            assert_eq!(pace.lags(), in_queue, "{behind} ms");
        }
    }

    #[test]
    fn what_is_sent_again_is_no_leap() {
        let mut pace = Pace::default();
        let order = [0, 1, 2, 30, 3, 31, 32, 4, 33];
        let broken = order.iter().enumerate().any(|(n, at)| {
            let mut packet = packet(Format::Opus, *at, at * 960);
            packet.arrived = epoch() + Duration::from_millis(if n < 3 { at * 20 } else { 600 + n as u64 * 5 });
            pace.handle_packet(&packet, false)
        });
        assert!(!broken);
    }
}
