//! Whether this process stood still: stopped, frozen or starved for so long that the server has given its rooms to another
//! recorder. What the sockets hold after that is not ours to write.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// The server takes a link for lost after 3 s without a word, and gives the room away a second later.
const STILL: Duration = Duration::from_secs(3);
const BEAT: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Shared {
    start: Instant,
    /// When it last beat, milliseconds after `start`.
    beat: AtomicU64,
    /// How often it stood still.
    stood_still: AtomicU64,
    started: AtomicBool,
}

/// The heartbeat of this process; cheap to clone. It has a thread of its own: a disk that blocks the others is no reason
/// to give up a room.
#[derive(Debug, Clone)]
pub(crate) struct Pulse(Arc<Shared>);

impl Pulse {
    /// Starts beating, until the last clone is gone.
    pub(crate) fn start() -> Self {
        let start = Instant::now();
        let shared = Shared { start, beat: 0.into(), stood_still: 0.into(), started: false.into() };
        let pulse = Self(Arc::new(shared));
        let beating = Arc::downgrade(&pulse.0);
        let thread = std::thread::Builder::new().name("pulse".into()).spawn(move || beat(&beating));
        match thread {
            Ok(_) => pulse.0.started.store(true, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "no thread to notice that the process stood still"),
        }
        pulse
    }

    /// How often the process stood still, up to this moment.
    pub(crate) fn standstills(&self) -> u64 {
        // Whoever runs first after a standstill may not be the thread that counts it.
        let beat = self.0.start + Duration::from_millis(self.0.beat.load(Ordering::Acquire));
        let missed = self.0.started.load(Ordering::Relaxed) && beat.elapsed() >= STILL;
        self.0.stood_still.load(Ordering::Acquire) + u64::from(missed)
    }
}

fn beat(shared: &Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        let now = u64::try_from(shared.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let before = shared.beat.load(Ordering::Relaxed);
        if Duration::from_millis(now.saturating_sub(before)) >= STILL {
            shared.stood_still.fetch_add(1, Ordering::Release);
        }
        shared.beat.store(now, Ordering::Release);
        drop(shared);
        std::thread::sleep(BEAT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_beat_counts_before_and_after_it_is_noticed() {
        let start = Instant::now().checked_sub(Duration::from_secs(10)).expect("an older machine");
        let shared = Shared { start, beat: 9_500.into(), stood_still: 0.into(), started: true.into() };
        let pulse = Pulse(Arc::new(shared));
        assert_eq!(pulse.standstills(), 0);
        pulse.0.beat.store(5_000, Ordering::Relaxed);
        assert_eq!(pulse.standstills(), 1, "nobody has noticed yet");
        let weak = Arc::downgrade(&pulse.0);
        let thread = std::thread::spawn(move || beat(&weak));
        while pulse.0.stood_still.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        assert_eq!(pulse.standstills(), 1, "it is counted once");
        drop(pulse);
        thread.join().expect("ends with the last clone");
    }
}
