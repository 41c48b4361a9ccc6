//! What the unit tests share: one fixed moment and packets to fill in.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::codec::Picture;
use crate::engine::{Format, Mid, Packet};

/// The moment at which every test begins.
pub(crate) fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    *EPOCH.get_or_init(Instant::now)
}

/// A packet without anything special.
pub(crate) fn packet(format: Format, sequence: u64, timestamp: u64) -> Packet {
    Packet {
        mid: Mid::from("0"),
        rid: None,
        ssrc: 1,
        format,
        sequence,
        timestamp,
        marker: false,
        payload: Arc::from([]),
        picture: Picture::default(),
        arrived: epoch(),
        captured: epoch(),
        report: None,
        level: None,
        extensions: Default::default(),
    }
}
