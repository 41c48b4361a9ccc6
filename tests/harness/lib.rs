//! What the end-to-end tests share: running products on free ports, outside tools, browsers, media checks.
//!
//! One noun a module. Nothing here pretends to be a part of the product.

pub mod auth_service;
pub mod binary;
pub mod bot;
pub mod browser;
pub mod cable;
pub mod capture;
pub mod churn;
pub mod conformance;
pub mod crowd;
pub mod dtls;
pub mod fault_proxy;
pub mod firefox;
pub mod foreign;
pub mod garage;
pub mod guest;
pub mod log;
pub mod media_check;
pub mod media_source;
pub mod nat;
pub mod netns;
pub mod pki;
pub mod playback;
pub mod program;
pub mod range_server;
pub mod recorder_link;
pub mod recorder_process;
pub mod recording;
pub mod relay;
pub mod s3;
pub mod server;
pub mod stack;
pub mod turn_client;
pub mod turn_tools;
pub mod ways;
pub mod webhook_receiver;
pub mod wire;
