//! How fast something may go: the generic cell rate algorithm (ITU-T I.371) in one number, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Nanoseconds since the server started.
pub(crate) type Nanos = u64;

/// A second of [`Nanos`].
pub(crate) const SECOND: Nanos = 1_000_000_000;

/// When everything that passed so far will have been paid for. Workers may share one: what each of them sees is at most
/// a packet of every other worker behind.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// Whether one more may pass where the debt may reach `burst`.
    pub(crate) fn has_room(&self, now: Nanos, burst: Nanos) -> bool {
        self.0.load(Ordering::Relaxed).saturating_sub(now) <= burst
    }

    /// Takes note of what passed.
    pub(crate) fn charge(&self, now: Nanos, cost: Nanos) {
        // It never gives up: the closure always has an answer.
        let _ =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |paid| Some(paid.max(now).saturating_add(cost)));
    }

    /// Takes `cost` if it fits whole below `burst`.
    pub(crate) fn take(&self, now: Nanos, cost: Nanos, burst: Nanos) -> bool {
        let fits = |paid: Nanos| {
            let after = paid.max(now).saturating_add(cost);
            (after - now <= burst).then_some(after)
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }
}

/// The time that `units` take at `rate` a second, which is not 0.
pub(crate) fn cost(units: u64, rate: u64) -> Nanos {
    units.saturating_mul(SECOND) / rate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate() {
        let pace = Pace::default();
        let pass = |now: Nanos, tries: usize| {
            let passes = |_: &usize| {
                let room = pace.has_room(now, SECOND);
                if room {
                    pace.charge(now, cost(100, 10_000));
                }
                room
            };
            (0..tries).filter(passes).count()
        };
        assert_eq!(pass(0, 1000), 101, "a second's worth, and the one that reaches it");
        assert_eq!(pass(SECOND / 2, 1000), 50);
        assert_eq!(pass(100 * SECOND, 1000), 101, "rest earns no more than the burst");
    }

    #[test]
    fn what_is_taken_whole_fits_or_is_not_taken() {
        let pace = Pace::default();
        assert!(!pace.take(0, cost(11, 1), 10 * SECOND));
        assert!(pace.take(0, cost(10, 1), 10 * SECOND));
        assert!(!pace.take(SECOND, cost(2, 1), 10 * SECOND));
        assert!(pace.take(SECOND, cost(1, 1), 10 * SECOND));
    }
}
