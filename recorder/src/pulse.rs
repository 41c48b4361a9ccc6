//! Whether this process stood still: stopped, frozen or starved for so long that the server has given its rooms to another
//! recorder. What the sockets hold after that is not ours to write.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The server takes a link for lost after 3 s without a word, and gives the room away a second later.
const STILL: Duration = Duration::from_secs(3);
const BEAT: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Beats {
    last: Instant,
    /// How often it stood still, and since when the last time.
    stood_still: (u64, Instant),
}

/// The heartbeat of this process; cheap to clone. It has a thread of its own: a disk that blocks the others is no reason
/// to give up a room.
#[derive(Debug, Clone)]
pub(crate) struct Pulse(Arc<Mutex<Beats>>);

/// Tells whoever has it whether the process stood still since a moment; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pulse: Pulse,
    /// How often it had before.
    before: u64,
}

impl Pulse {
    /// Starts beating, until the last clone is gone.
    ///
    /// # Errors
    /// If there can be no thread for it.
    pub(crate) fn start() -> std::io::Result<Self> {
        let now = Instant::now();
        let pulse = Self(Arc::new(Mutex::new(Beats { last: now, stood_still: (0, now) })));
        let beating = Arc::downgrade(&pulse.0);
        std::thread::Builder::new().name("pulse".into()).spawn(move || keep_beating(&beating))?;
        Ok(pulse)
    }

    /// Watches from now on.
    pub(crate) fn watch(&self) -> Watch {
        Watch { before: self.beat().stood_still.0, pulse: self.clone() }
    }

    /// Whoever runs first after a standstill may not be the thread that beats: so whoever asks beats, too.
    fn beat(&self) -> MutexGuard<'_, Beats> {
        beat(&self.0)
    }
}

impl Watch {
    /// When the process was last known to run, if it stood still since [`Pulse::watch`].
    pub(crate) fn stood_still(&self) -> Option<Instant> {
        let (times, since) = self.pulse.beat().stood_still;
        (times > self.before).then_some(since)
    }
}

fn beat(beats: &Mutex<Beats>) -> MutexGuard<'_, Beats> {
    let mut beats = beats.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    if now.saturating_duration_since(beats.last) >= STILL {
        beats.stood_still = (beats.stood_still.0 + 1, beats.last);
    }
    beats.last = now;
    beats
}

fn keep_beating(beats: &Weak<Mutex<Beats>>) {
    while let Some(beats) = beats.upgrade() {
        drop(beat(&beats));
        drop(beats);
        std::thread::sleep(BEAT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_first_notices_a_standstill() {
        let now = Instant::now();
        let pulse = Pulse(Arc::new(Mutex::new(Beats { last: now, stood_still: (0, now) })));
        let watch = pulse.watch();
        assert_eq!(watch.stood_still(), None);
        let since = now.checked_sub(Duration::from_secs(5)).expect("an older machine");
        pulse.0.lock().expect("nobody panics").last = since;
        let late = pulse.watch();
        assert_eq!((watch.stood_still(), late.stood_still()), (Some(since), None));
        assert_eq!(watch.stood_still(), Some(since), "it stays so");
    }
}
