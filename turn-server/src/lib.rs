//! STUN/TURN relay, rooms, SFU, signalling and REST API in one binary.
//!
//! As a library: `start(config)` runs a server inside the caller's tokio runtime, [`Running`] is its handle.

mod api;
mod app;
pub mod cli;
mod clock;
pub mod config;
pub mod coturn;
pub mod handover;
mod http;
pub mod init;
mod metrics;
mod orders;
pub mod plain_http;
pub mod ready;
mod recording;
pub mod relay;
mod rooms;
mod secrets;
mod server;
pub mod sfu;
mod signalling;
mod tls;
mod web;
mod webhooks;

pub use api::openapi;
pub use orders::Order;
pub use rooms::Rooms;
pub use server::{Addresses, Running, StartError, start};
