//! One rate that all users share, so that a full server slows the greedy and nobody else.
//!
//! Each user may use up to a common share. The share is found, not computed: from how much passes under the present one it
//! follows which one would just fill the total (max-min fairness, as in core-stateless fair queueing, Stoica 1998). Who
//! needs less than the share loses nothing; what they leave belongs to the others; the share never settles below the
//! total divided by the number of users. No list of users is kept.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::pace::{Nanos, Pace, SECOND, cost};

/// How often the share is found anew; sooner where more passes than should.
const WINDOW: Nanos = SECOND / 10;
/// A window with fewer units says little: it may last for a second.
const FEW: u64 = 16;
/// A user's debt against the share: as long as a key frame takes at its usual rate.
const USER_BURST: Nanos = SECOND / 2;
/// The debt of all: what passes until the share is found.
const TOTAL_BURST: Nanos = SECOND;
/// The share aims at this part below the total, so that the total's own bound strikes nobody at random.
const SLACK: u64 = 50;
/// The share grows by this factor in a window at most: the window may have been an odd one.
const FASTEST: u128 = 16;
/// No share is smaller than this part of the total: it must find its way back up.
const SMALLEST: u64 = 65_536;

/// See the module. Units are bytes or packets.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// Units a second for each user; 0: not found yet, which is the total.
    rate: AtomicU64,
    /// Begin of the window.
    since: AtomicU64,
    /// Units in the window that users' shares let pass.
    passed: AtomicU64,
    /// Whether the share held somebody back in the window.
    refused: AtomicBool,
    total: Pace,
}

impl Share {
    /// Whether a user is within its share of `total` units a second.
    pub(crate) fn admits(&self, now: Nanos, user: &Pace, total: u64) -> bool {
        self.find(now, total);
        let admits = user.has_room(now, USER_BURST);
        if !admits {
            self.refused.store(true, Ordering::Relaxed);
        }
        admits
    }

    /// Notes what a share let pass.
    pub(crate) fn note(&self, units: u64) {
        self.passed.fetch_add(units, Ordering::Relaxed);
    }

    /// Whether the total has room.
    pub(crate) fn has_room(&self, now: Nanos) -> bool {
        self.total.has_room(now, TOTAL_BURST)
    }

    /// Takes note of what passed both.
    pub(crate) fn charge(&self, now: Nanos, user: &Pace, units: u64, total: u64) {
        user.charge(now, cost(units, self.rate(total)).min(USER_BURST));
        self.total.charge(now, cost(units, total));
    }

    /// Units a second that a user may have now.
    pub(crate) fn rate(&self, total: u64) -> u64 {
        match self.rate.load(Ordering::Relaxed) {
            0 => total,
            rate => rate.min(total),
        }
    }

    fn find(&self, now: Nanos, total: u64) {
        let since = self.since.load(Ordering::Relaxed);
        let elapsed = now.saturating_sub(since);
        let passed = self.passed.load(Ordering::Relaxed);
        let full = passed > (total / 8).max(FEW) && elapsed >= WINDOW / 64;
        let over = elapsed >= WINDOW && (passed >= FEW || elapsed >= SECOND);
        let mine =
            (full || over) && self.since.compare_exchange(since, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !mine {
            return;
        }
        let passed = self.passed.swap(0, Ordering::Relaxed);
        let refused = self.refused.swap(false, Ordering::Relaxed);
        let seen = u128::from(passed) * u128::from(SECOND) / u128::from(elapsed);
        let aim = u128::from(total - total / SLACK);
        let rate = u128::from(self.rate(total));
        // What passes grows with the share and is bent towards it: in proportion one comes closer and never too far.
        let proportional = rate * aim / seen.max(1);
        let next = if seen > aim || refused { proportional.min(rate * FASTEST) } else { rate * 2 };
        let next = u64::try_from(next).unwrap_or(total).clamp(total / SMALLEST + 1, total.max(1));
        self.rate.store(next, Ordering::Relaxed);
    }
}
