//! Rooms in virtual time: real participants (rtc-client), the real core, a network that loses, delays and reorders.

mod client;
mod forwarding;
mod media;
mod membership;
mod world;
