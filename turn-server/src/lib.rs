//! STUN/TURN relay, rooms, SFU, signalling and REST API in one binary.

pub mod config;
pub mod handover;
pub mod init;
pub mod plain_http;
pub mod ready;
pub mod relay;
pub mod sfu;
