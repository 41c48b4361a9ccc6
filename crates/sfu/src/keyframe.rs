//! When to ask a publisher for a key frame: at once, not too often, and again until one comes.
//!
//! Requests get lost, and a screen that does not change sends nothing that would tell; so a request stays open until a
//! key frame arrived. Many receivers asking at once are one request.

use std::time::{Duration, Instant};

/// Not asked again within this time after a request or after a key frame: encoders need a round trip, and a key frame
/// is large.
const THROTTLE: Duration = Duration::from_millis(500);
/// An unanswered request is repeated after this time, then after twice as long, up to [`SLOWEST`].
const REPEAT: Duration = Duration::from_millis(300);
/// The slowest repetition.
const SLOWEST: Duration = Duration::from_secs(2);

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
            let last = self.asked.max(self.came);
            self.due = Some(last.map_or(now, |last| (last + THROTTLE).max(now)));
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
        let times = asked(8000, |frames, ms, now| match ms {
            0 => frames.want(now),
            3000 => frames.handle_key_frame(now),
            _ => {}
        });
        assert_eq!(times, [0, 300, 900, 2100]);
    }

    #[test]
    fn a_storm_of_wishes_is_a_few_requests() {
        let times = asked(2000, |frames, ms, now| {
            frames.want(now);
            if ms % 100 == 50 {
                frames.handle_key_frame(now);
            }
        });
        assert_eq!(times.first(), Some(&0));
        assert!(times.len() <= 4, "{times:?}");
    }
}
