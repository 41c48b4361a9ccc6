//! When to ask a publisher for a key frame: at once, not too often, and again until one comes.
//!
//! Requests get lost, and a screen that does not change sends nothing that would tell; so a request stays open until a
//! key frame arrived. Many receivers asking at once are one request.

use std::time::{Duration, Instant};

/// Not asked again within this time after a key frame, which is large.
const THROTTLE: Duration = Duration::from_millis(500);
/// Never more than one request in this time: encoders need a round trip, and each key frame costs the picture its quality.
/// An unanswered one is repeated after it, then after twice as long, up to [`SLOWEST`].
const REPEAT: Duration = Duration::from_secs(1);
/// The slowest repetition.
const SLOWEST: Duration = Duration::from_secs(5);

/// The request for one encoding of one track.
#[derive(Debug, Default)]
pub(crate) struct KeyFrames {
    /// When to ask; `None`: nobody waits.
    due: Option<Instant>,
    repeat: Option<Duration>,
    asked: Option<Instant>,
    came: Option<Instant>,
}

impl KeyFrames {
    /// A receiver cannot go on without a key frame.
    pub(crate) fn want(&mut self, now: Instant) {
        if self.due.is_none() {
            let earliest = [self.asked.map(|at| at + REPEAT), self.came.map(|at| at + THROTTLE), Some(now)];
            self.due = earliest.into_iter().max().flatten();
            self.repeat = None;
        }
    }

    /// A key frame begins to arrive.
    pub(crate) fn handle_key_frame(&mut self, now: Instant) {
        self.due = None;
        self.came = Some(now);
    }

    /// Nobody waits any more.
    pub(crate) fn forget(&mut self) {
        self.due = None;
    }

    /// Whether to ask now.
    pub(crate) fn poll(&mut self, now: Instant) -> bool {
        if self.due.is_none_or(|due| now < due) {
            return false;
        }
        let wait = self.repeat.map_or(REPEAT, |wait| (wait * 2).min(SLOWEST));
        self.repeat = Some(wait);
        self.asked = Some(now);
        self.due = Some(now + wait);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;

    /// Times in ms at which a request goes out within the first `until` ms, `act` being called each 10 ms before.
    fn asked(until: u64, mut act: impl FnMut(&mut KeyFrames, u64, Instant)) -> Vec<u64> {
        let mut frames = KeyFrames::default();
        let steps = (0..until).step_by(10);
        steps
            .filter(|&ms| {
                let now = epoch() + Duration::from_millis(ms);
                act(&mut frames, ms, now);
                frames.poll(now)
            })
            .collect()
    }

    #[test]
    fn lost_requests_are_repeated_until_a_key_frame_comes() {
        let times = asked(30_000, |frames, ms, now| match ms {
            0 => frames.want(now),
            20_000 => frames.handle_key_frame(now),
            _ => {}
        });
        assert_eq!(times, [0, 1000, 3000, 7000, 12_000, 17_000]);
    }

    #[test]
    fn a_storm_of_wishes_is_no_storm_of_requests() {
        let times = asked(4000, |frames, ms, now| {
            frames.want(now);
            if ms % 700 == 50 {
                frames.handle_key_frame(now);
            }
        });
        assert_eq!(times, [0, 1250, 2650]);
    }

    #[test]
    fn who_comes_after_a_key_frame_waits_for_the_next_a_little() {
        let times = asked(3000, |frames, ms, now| match ms {
            100 => frames.handle_key_frame(now),
            200 => frames.want(now),
            _ => {}
        });
        assert_eq!(times, [600, 1600]);
    }
}
