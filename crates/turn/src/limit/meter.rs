//! The same limits for the bytes of a connection to a peer (RFC 6062). They cannot be dropped: beyond a limit they wait
//! in their sender's kernel, unread.

use std::sync::Arc;
use std::time::Instant;

use super::{Direction, Gate, Paces};
use crate::account::Account;

/// Whom the bytes of a connection are charged to. Goes wherever the connection goes; clones charge the same.
#[derive(Debug, Clone)]
pub struct Meter {
    /// All connections of an allocation share it.
    pub(crate) paces: Arc<Paces>,
    pub(crate) account: Account,
}

/// Meters are equal if they charge the same.
impl PartialEq for Meter {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.paces, &other.paces)
    }
}

impl Eq for Meter {}

impl Gate {
    /// Whether more bytes of a connection may be taken now. How many come is not known before they are taken, so what
    /// is beyond a limit makes the next ones wait longer.
    pub(crate) fn is_open(&self, now: Instant, direction: Direction, meter: &Meter) -> bool {
        let now = self.trunk.nanos(now);
        self.is_within(now, direction, &meter.paces, &meter.account).is_ok()
            && self.trunk.ways[direction as usize].have_room(now, self.limits.total)
    }

    /// Charges bytes that were taken, as one packet.
    pub(crate) fn take(&self, now: Instant, direction: Direction, meter: &Meter, bytes: usize) {
        let (now, bytes) = (self.trunk.nanos(now), bytes as u64);
        self.trunk.ways[direction as usize].note(self.limits.total, bytes);
        self.charge(now, direction, &meter.paces, &meter.account, bytes);
    }
}
