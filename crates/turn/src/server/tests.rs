//! The server under virtual time, spoken to through the codec. `rig` is the shell of these tests: it executes outputs
//! with a real registrar and real credentials.

mod abuse;
mod allocation;
mod binding;
mod connect;
mod credentials;
mod data;
mod dual;
mod expiry;
mod floods;
mod limits;
mod mobility;
mod never;
mod peers;
mod rig;
mod rules;
mod sha256;
