//! Permissions of one allocation: which IPs may exchange data with its client (RFC 8656 section 9).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// RFC 8656 section 9: exactly 300 s, refreshed by CreatePermission and ChannelBind only.
pub(crate) const LIFE: Duration = Duration::from_secs(300);
/// Permissions at once; more is 508.
pub(crate) const MAX: usize = 256;

/// A permission for one IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Permission {
    /// Not valid at or after this.
    pub(crate) until: Instant,
    /// For an address of ours: covers its open ports only, and packets for it never take the kernel's way.
    pub(crate) own: bool,
}

/// The permissions of an allocation.
#[derive(Debug, Default)]
pub(crate) struct Permissions(BTreeMap<IpAddr, Permission>);

impl Permissions {
    /// The permission for this IP, if it is valid.
    pub(crate) fn get(&self, now: Instant, ip: IpAddr) -> Option<Permission> {
        self.0.get(&ip).copied().filter(|permission| permission.until > now)
    }

    /// Whether all of `ips` fit beside the present ones.
    pub(crate) fn has_room(&self, ips: &[(IpAddr, bool)]) -> bool {
        let new = ips.iter().filter(|(ip, _)| !self.0.contains_key(ip)).count();
        self.0.len() + new <= MAX
    }

    /// Installs or refreshes; gives the time it ends.
    pub(crate) fn install(&mut self, now: Instant, ip: IpAddr, own: bool) -> Instant {
        let until = now + LIFE;
        self.0.insert(ip, Permission { until, own });
        until
    }

    /// Removes what `keep` does not want.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(IpAddr, Permission) -> bool) {
        self.0.retain(|ip, permission| keep(*ip, *permission));
    }

    /// When the first one ends.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        self.0.values().map(|permission| permission.until).min()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
