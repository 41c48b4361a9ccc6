//! How busy this process is: its own CPU time over wall time, of the cores that it may use.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Over how long it is measured: long enough that one upload is no load, short enough that a full recorder stops soon.
const WINDOW: Duration = Duration::from_secs(5);

/// Samples of the process's CPU time.
#[derive(Debug)]
pub(crate) struct Load {
    cores: f64,
    samples: VecDeque<(Instant, Duration)>,
}

impl Load {
    /// Of so many cores.
    pub(crate) fn of(cores: usize) -> Self {
        Self { cores: cores as f64, samples: VecDeque::new() }
    }

    /// Of the cores that affinity and cgroups leave to this process.
    pub(crate) fn of_this_process() -> Self {
        Self::of(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Takes a sample: the CPU time that the process has used by now. Returns the load, 1 being all cores; 0 until there
    /// is something to compare with.
    pub(crate) fn handle_sample(&mut self, now: Instant, used: Duration) -> f64 {
        self.samples.push_back((now, used));
        // The oldest sample is the youngest one that is a whole window old.
        while self.samples.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= WINDOW) {
            self.samples.pop_front();
        }
        let Some((since, before)) = self.samples.front() else { return 0.0 };
        let wall = now.saturating_duration_since(*since).as_secs_f64();
        // A single moment says nothing.
        if wall < 1.0 { 0.0 } else { used.saturating_sub(*before).as_secs_f64() / wall / self.cores }
    }
}

/// The CPU time that this process has used.
pub(crate) fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_that_of_the_last_seconds() {
        let mut load = Load::of(2);
        let start = Instant::now();
        let mut used = Duration::ZERO;
        let mut seen = Vec::new();
        for second in 0..16 {
            seen.push((load.handle_sample(start + Duration::from_secs(second), used) * 100.0).round());
            // Idle for 5 s, then one and a half of two cores.
            used += if second < 5 { Duration::ZERO } else { Duration::from_millis(1500) };
        }
        assert_eq!((seen[0], seen[5], seen[15]), (0.0, 0.0, 75.0));
        assert!(seen.windows(2).all(|pair| pair[0] <= pair[1]), "{seen:?}");
    }

    #[test]
    fn the_process_uses_time() {
        let before = cpu_time();
        let mut sum = 0_u64;
        while cpu_time() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_time() > before);
    }
}
