//! Rooms in virtual time: real participants (rtc-client), the real core, a network that loses, delays and reorders.
// Helpers of tests fail the test that calls them; clippy excuses only the functions with #[test].
#![allow(clippy::panic, clippy::unwrap_used)]

mod client;
mod data;
mod forwarding;
mod hostile;
mod keyframes;
mod media;
mod membership;
mod mute;
mod paths;
mod recording;
mod refusals;
mod simulcast;
mod skew;
mod slots;
mod world;
