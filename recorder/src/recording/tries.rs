//! Tries of what has to work in the end, ever more slowly.

use crate::upload::Backoff;

/// How often something failed.
#[derive(Debug, Default)]
pub(super) struct Tries(u32);

impl Tries {
    /// How often it did.
    pub(super) fn failures(&self) -> u32 {
        self.0
    }

    /// It did again: waits until the next try is due.
    pub(super) async fn pause(&mut self) {
        tokio::time::sleep(Backoff::default().after(self.0)).await;
        self.0 = self.0.saturating_add(1);
    }
}
