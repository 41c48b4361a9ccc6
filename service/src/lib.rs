//! What both binaries need from the outside world: configuration, logging, shutdown, metrics, object storage, batched UDP.

pub mod anybody;
pub mod config;
pub mod log;
pub mod open_files;
pub mod shutdown;
pub mod storage;
pub mod udp;
