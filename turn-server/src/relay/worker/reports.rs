//! What the core reports, as lines of the log. Messages and field names are a promise: filters (fail2ban) read them.

use std::net::IpAddr;
use std::time::Instant;

use service::log::Address;
use turn::{AuthFailure, Report, SourceBudget};

/// Lines a second for each /24 or /64 of clients: who guesses or scans must not fill the disk. The metrics count on.
const LINES: u32 = 5;
/// The same for permissions: more than calls need, so that what must be traced is there.
const PERMITS: u32 = 50;
/// Who may be reached by whom is for tracing abuse, and can be switched off by this name.
const PERMISSIONS: &str = "turn_server::permissions";

/// See the module.
pub(super) struct Reports {
    peers: SourceBudget,
    failures: SourceBudget,
    permits: SourceBudget,
}

impl Default for Reports {
    fn default() -> Self {
        let (lines, permits) = (|| SourceBudget::new(LINES), SourceBudget::new(PERMITS));
        Self { peers: lines(), failures: lines(), permits }
    }
}

/// Who pays, for the log. Time-limited credentials without an id are paid for by the client's address.
fn payer(user: &str) -> String {
    user.parse::<IpAddr>().map_or_else(|_| user.to_owned(), |ip| Address(ip).to_string())
}

impl Reports {
    pub(super) fn write(&mut self, now: Instant, report: &Report) {
        // A name as `str` is written escaped, whatever bytes somebody put into it.
        match report {
            Report::PeerDenied { client, username, peer, rule } => {
                if self.peers.take(now, client.client.ip()) {
                    let (user, rule) = (username.as_str(), rule.as_str());
                    let (client, peer) = (Address(client.client), Address(*peer));
                    tracing::info!(%client, user, %peer, rule, "peer denied");
                }
            }
            Report::PeerPermitted { client, .. } if !self.permits.take(now, client.client.ip()) => {}
            Report::PeerPermitted { client, username, relayed, peer } => tracing::info!(
                target: PERMISSIONS,
                client = %Address(client.client),
                user = username.as_str(),
                relayed = %relayed,
                peer = %Address(*peer),
                "peer permitted"
            ),
            Report::AllocationEnded { client, username, user, relayed, since, usage } => tracing::info!(
                client = %Address(client.client),
                user = payer(user.as_str()),
                username = username.as_str(),
                relayed = %relayed,
                seconds = now.saturating_duration_since(*since).as_secs(),
                bytes_to_peers = usage.to_peers.bytes,
                packets_to_peers = usage.to_peers.packets,
                bytes_to_client = usage.to_client.bytes,
                packets_to_client = usage.to_client.packets,
                "allocation ended"
            ),
            Report::AuthenticationFailed { client, username, reason: AuthFailure::Revoked } => {
                // A client that leaves a room gives back what the room has already ended.
                tracing::debug!(client = %Address(client.client), user = username.as_str(), "credentials were taken back");
            }
            Report::AuthenticationFailed { client, username, reason } => {
                if self.failures.take(now, client.client.ip()) {
                    let (user, reason) = (username.as_str(), reason.label());
                    tracing::info!(client = %Address(client.client), user, reason, "authentication failed");
                }
            }
        }
    }
}
