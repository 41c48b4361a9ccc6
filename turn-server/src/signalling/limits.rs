//! How often one client may ask. Too often is answered, not punished: `rate_limited` with the time to come back.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use signalling::code::{Code, Refusal};

/// Requests a second on one socket, and how many may come at once.
const REQUESTS: (NonZeroU32, NonZeroU32) = (nonzero(50), nonzero(300));

/// Refused credentials a second from one address, and how many at once: guessing is slow.
const FAILURES: (NonZeroU32, NonZeroU32) = (nonzero(2), nonzero(20));

const fn nonzero(value: u32) -> NonZeroU32 {
    match NonZeroU32::new(value) {
        Some(value) => value,
        None => NonZeroU32::MIN,
    }
}

fn quota((rate, burst): (NonZeroU32, NonZeroU32)) -> Quota {
    Quota::per_second(rate).allow_burst(burst)
}

/// The limit of one socket.
pub(crate) struct SocketLimit(DefaultDirectRateLimiter);

impl SocketLimit {
    pub(crate) fn new() -> Self {
        Self(RateLimiter::direct(quota(REQUESTS)))
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`Code::RateLimited`].
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        self.0.check().map_err(|until| refusal(until.wait_time_from(DefaultClock::default().now())))
    }
}

/// The limits of addresses, over all their sockets.
pub(crate) struct AddressLimits {
    joins: DefaultKeyedRateLimiter<IpAddr>,
    failures: DefaultKeyedRateLimiter<IpAddr>,
}

impl AddressLimits {
    /// `joins` a second from one address, four times as many at once.
    pub(crate) fn new(joins: u32) -> Self {
        let joins = NonZeroU32::new(joins).unwrap_or(NonZeroU32::MIN);
        Self {
            joins: RateLimiter::keyed(quota((joins, joins.saturating_mul(nonzero(4))))),
            failures: RateLimiter::keyed(quota(FAILURES)),
        }
    }

    /// Counts a join.
    ///
    /// # Errors
    /// [`Code::RateLimited`].
    pub(crate) fn join(&self, address: IpAddr) -> Result<(), Refusal> {
        check(&self.joins, address)
    }

    /// Counts a refused credential.
    ///
    /// # Errors
    /// [`Code::RateLimited`].
    pub(crate) fn failure(&self, address: IpAddr) -> Result<(), Refusal> {
        check(&self.failures, address)
    }

    /// Forgets addresses that have been quiet.
    pub(crate) fn shrink(&self) {
        self.joins.retain_recent();
        self.failures.retain_recent();
    }
}

fn check(limiter: &DefaultKeyedRateLimiter<IpAddr>, address: IpAddr) -> Result<(), Refusal> {
    limiter.check_key(&address).map_err(|until| refusal(until.wait_time_from(DefaultClock::default().now())))
}

fn refusal(wait: std::time::Duration) -> Refusal {
    let retry_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    Refusal { code: Code::RateLimited, message: "too many requests".into(), retry_ms }
}
