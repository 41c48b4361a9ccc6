//! Who may send: all uploads of a process share its memory, its line and its disk. A line that is too slow for several parts
//! at once carries one at a time, which gets more time with each try that was not enough.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Parts that are in memory at once, of all uploads of a process: it stays as small with 300 recordings as with one.
pub const LANES: usize = 4;

/// Files that are read whole at once, to be repaired or digested.
const READERS: usize = 2;

/// No try takes longer than this, unless the configured time is longer.
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Doublings of a second that are more than [`LONGEST`].
const MAX_SLOWNESS: u32 = 10;

/// The lanes of a process.
#[derive(Debug)]
pub struct Lanes {
    places: Semaphore,
    readers: Semaphore,
    /// What parts are read into; as many as there are lanes at most.
    buffers: Mutex<Vec<BytesMut>>,
    /// How often the time for a try was doubled; 0: the line is fast enough for all lanes.
    slowness: AtomicU32,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            places: Semaphore::new(LANES),
            readers: Semaphore::new(READERS),
            buffers: Mutex::default(),
            slowness: AtomicU32::new(0),
        }
    }
}

/// A place among those who may send, until it is dropped.
#[derive(Debug)]
pub struct Lane<'a> {
    lanes: &'a Lanes,
    slowness: u32,
    _places: Option<SemaphorePermit<'a>>,
}

impl Lanes {
    /// A place among those who read whole files: after a crash that is everybody.
    pub async fn reader(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes it.
        self.readers.acquire().await.ok()
    }

    /// Memory for a part; what was given back is used again, for an allocator may keep so large a piece for each thread.
    pub fn buffer(&self) -> BytesMut {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Gives memory back, unless somebody still holds on to it.
    pub fn reuse(&self, bytes: Bytes) {
        let mut buffers = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.len() < LANES
            && let Ok(buffer) = bytes.try_into_mut()
        {
            buffers.push(buffer);
        }
    }

    /// A place to send: on a slow line, all of them.
    pub async fn lane(&self) -> Lane<'_> {
        loop {
            let slowness = self.slowness.load(Ordering::Relaxed);
            let all = if slowness > 0 { LANES as u32 } else { 1 };
            let places = self.places.acquire_many(all).await.ok();
            // It may have become slow or fast meanwhile.
            let now = self.slowness.load(Ordering::Relaxed);
            if (now > 0) == (slowness > 0) {
                return Lane { lanes: self, slowness: now, _places: places };
            }
        }
    }
}

impl Lane<'_> {
    /// How long a try may take, where `usual` is the configured time.
    pub fn patience(&self, usual: Duration) -> Duration {
        usual.saturating_mul(1 << self.slowness.min(MAX_SLOWNESS)).min(LONGEST.max(usual))
    }

    /// A try used up its time although storage is there: it is the line that is slow.
    pub fn handle_slow(&self) {
        // Those that were sent together fail together, which counts once.
        self.lanes.slowness.fetch_max((self.slowness + 1).min(MAX_SLOWNESS), Ordering::Relaxed);
    }

    /// A try succeeded and took so long.
    pub fn handle_sent(&self, usual: Duration, took: Duration) {
        // All lanes together would need half of the usual time.
        if took.saturating_mul(2 * LANES as u32) <= usual {
            let _ = self.lanes.slowness.compare_exchange(self.slowness, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const USUAL: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_slow_line_carries_one_part_at_a_time_with_ever_more_time() {
        let lanes = Lanes::default();
        let together = [lanes.lane().await, lanes.lane().await, lanes.lane().await];
        together.iter().for_each(Lane::handle_slow);
        drop(together);
        for minutes in [2, 4, 8, 15, 15] {
            let alone = lanes.lane().await;
            assert!(lanes.lane().now_or_never().is_none(), "nobody sends beside it");
            assert_eq!(alone.patience(USUAL), Duration::from_secs(60 * minutes));
            alone.handle_slow();
        }
    }

    #[tokio::test]
    async fn a_line_is_slow_until_all_lanes_would_fit_again() {
        let lanes = Lanes::default();
        lanes.lane().await.handle_slow();
        let alone = lanes.lane().await;
        // A part that only just came through says nothing of the line.
        alone.handle_sent(USUAL, Duration::from_secs(20));
        drop(alone);
        assert_eq!(lanes.lane().await.patience(USUAL), 2 * USUAL);
        lanes.lane().await.handle_sent(USUAL, Duration::from_secs(5));
        let together = [lanes.lane().await, lanes.lane().await];
        assert_eq!(together.map(|lane| lane.patience(USUAL)), [USUAL; 2]);
    }

    #[test]
    fn memory_is_used_again_unless_somebody_holds_it() {
        let lanes = Lanes::default();
        let mut buffer = lanes.buffer();
        buffer.resize(1000, 1);
        let sent = buffer.freeze();
        let held = sent.clone();
        lanes.reuse(sent);
        assert_eq!(lanes.buffer().capacity(), 0, "it is still being sent");
        lanes.reuse(held);
        assert!(lanes.buffer().capacity() >= 1000);
    }
}
