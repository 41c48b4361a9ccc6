//! The end-to-end tests: one binary, one module an area, each through public interfaces.
// Helpers of tests fail the test that calls them; clippy excuses only the functions with #[test].
#![allow(clippy::panic, clippy::unwrap_used)]

mod call;
mod page;
mod playback;
mod relay;
mod tidy;
mod webm;
