//! How long to wait before a step is tried again: for ever, ever more slowly.

use std::time::Duration;

/// The pauses between tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first pause; each is twice the one before it.
    pub min: Duration,
    /// The longest.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { min: Duration::from_millis(500), max: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// The pause after this many failures in a row, the first being 0.
    pub fn after(self, failures: u32) -> Duration {
        self.min.saturating_mul(1 << failures.min(16)).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff::default();
        let pauses = [0, 1, 2, 5, 6, 1000].map(|failures| backoff.after(failures).as_millis());
        assert_eq!(pauses, [500, 1000, 2000, 16_000, 30_000, 30_000]);
    }
}
