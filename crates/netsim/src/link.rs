//! How one direction between two addresses behaves.

use std::time::Duration;

/// A link. The default is perfect.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Link {
    /// Share of datagrams that are lost, 0 to 1.
    pub loss: f64,
    /// Time that every datagram takes.
    pub delay: Duration,
    /// Up to so much more, evenly distributed; larger than the distance of two datagrams, it reorders them.
    pub jitter: Duration,
    /// Share of datagrams that arrive twice, 0 to 1.
    pub duplicate: f64,
}
