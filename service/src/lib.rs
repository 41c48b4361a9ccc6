//! What both binaries need from the outside world: configuration, logging, shutdown, metrics, object storage, batched UDP.

pub mod log;
pub mod storage;
pub mod udp;
