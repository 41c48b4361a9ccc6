//! Whether this process stood still: stopped, frozen or starved for so long that the server has given its rooms to another
//! recorder. What the sockets hold after that is not ours to write.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The server takes a link for lost after 3 s without a word, and gives the room away a second later.
const STILL: Duration = Duration::from_secs(3);
const BEAT: Duration = Duration::from_millis(100);
/// A recording that says nothing for 20 s is given away, too: so long may a disk keep it.
const HUNG: Duration = Duration::from_secs(15);

#[derive(Debug)]
struct Beats {
    last: Instant,
    /// Since when it stood still, each time.
    stood_still: Vec<Instant>,
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
    before: usize,
    /// The last turn of whoever is watched besides, and since when it had none for too long.
    turned: Arc<Mutex<(Instant, Option<Instant>)>>,
}

impl Pulse {
    /// Starts beating, until the last clone is gone.
    ///
    /// # Errors
    /// If there can be no thread for it.
    pub(crate) fn start() -> std::io::Result<Self> {
        let now = Instant::now();
        let pulse = Self(Arc::new(Mutex::new(Beats { last: now, stood_still: Vec::new() })));
        let beating = Arc::downgrade(&pulse.0);
        std::thread::Builder::new().name("pulse".into()).spawn(move || keep_beating(&beating))?;
        Ok(pulse)
    }

    /// Watches from now on.
    pub(crate) fn watch(&self) -> Watch {
        let before = self.beat().stood_still.len();
        Watch { pulse: self.clone(), before, turned: Arc::new(Mutex::new((Instant::now(), None))) }
    }

    /// Whoever runs first after a standstill may not be the thread that beats: so whoever asks beats, too.
    fn beat(&self) -> MutexGuard<'_, Beats> {
        beat(&self.0)
    }
}

impl Watch {
    /// When the process was last known to run, if it stood still since [`Pulse::watch`]; or up to when the recording may
    /// have written, if it hung.
    pub(crate) fn stood_still(&self) -> Option<Instant> {
        let hung = hung(&self.turned).1;
        self.pulse.beat().stood_still.get(self.before).copied().into_iter().chain(hung).min()
    }

    /// The recording does its work: what follows once it has hung on the disk is noticed all the same.
    pub(crate) fn turn(&self) {
        hung(&self.turned).0 = Instant::now();
    }
}

fn hung(turned: &Mutex<(Instant, Option<Instant>)>) -> MutexGuard<'_, (Instant, Option<Instant>)> {
    let mut turned = turned.lock().unwrap_or_else(PoisonError::into_inner);
    if turned.1.is_none() && turned.0.elapsed() >= HUNG {
        turned.1 = Some(turned.0 + HUNG);
    }
    turned
}

fn beat(beats: &Mutex<Beats>) -> MutexGuard<'_, Beats> {
    let mut beats = beats.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    if now.saturating_duration_since(beats.last) >= STILL {
        let since = beats.last;
        beats.stood_still.push(since);
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
        let pulse = Pulse(Arc::new(Mutex::new(Beats { last: now, stood_still: Vec::new() })));
        let watch = pulse.watch();
        assert_eq!(watch.stood_still(), None);
        let since = now.checked_sub(Duration::from_secs(5)).expect("an older machine");
        pulse.0.lock().expect("nobody panics").last = since;
        let late = pulse.watch();
        assert_eq!((watch.stood_still(), late.stood_still()), (Some(since), None));
        pulse.0.lock().expect("nobody panics").last = since + Duration::from_secs(1);
        assert_eq!(watch.stood_still(), Some(since), "the first one counts");
    }

    #[test]
    fn a_recording_that_hung_is_noticed_by_whoever_asks_even_itself() {
        let now = Instant::now();
        let pulse = Pulse(Arc::new(Mutex::new(Beats { last: now, stood_still: Vec::new() })));
        for asks_first in [true, false] {
            let watch = pulse.watch();
            watch.turn();
            assert_eq!(watch.stood_still(), None);
            let last = now.checked_sub(HUNG * 2).expect("an older machine");
            watch.turned.lock().expect("nobody panics").0 = last;
            if !asks_first {
                watch.turn();
            }
            assert_eq!(watch.stood_still(), Some(last + HUNG));
        }
    }
}
