//! What the core reports, as lines of the log. Messages and field names are a promise: filters (fail2ban) read them.

use std::time::Instant;

use turn::{Report, SourceBudget};

/// Lines a second for each /24 or /64 of clients: who guesses or scans must not fill the disk. The metrics count on.
const LINES: u32 = 5;

/// See the module.
pub(super) struct Reports {
    budget: SourceBudget,
}

impl Default for Reports {
    fn default() -> Self {
        Self { budget: SourceBudget::new(LINES) }
    }
}

impl Reports {
    pub(super) fn write(&mut self, now: Instant, report: &Report) {
        match report {
            Report::PeerDenied { client, username, peer, rule } => {
                if self.budget.take(now, client.client.ip()) {
                    // A name as `str` is written escaped, whatever bytes somebody put into it.
                    let (user, rule) = (username.as_str(), rule.as_str());
                    tracing::info!(client = %client.client, user, peer = %peer, rule, "peer denied");
                }
            }
        }
    }
}
