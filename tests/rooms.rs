//! rooms/1 and the REST API from outside: who may enter, what is refused and how, what survives bad input.

mod api;
mod door;
mod pause;
mod recording_rules;
mod recording_trouble;
mod recordings;
mod relay;
mod rough;
mod talk;
mod webhooks;

use std::time::{Duration, Instant};

use tests::wire::DEADLINE;

/// Waits until something is so.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not so in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
