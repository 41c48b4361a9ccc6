//! A STUN and TURN server without IO: bytes and time in, effects out.
//!
//! [`Server`] is one worker's share of a TURN server (RFC 8656 with RFC 8489's long-term authentication): it owns the
//! allocations of the 5-tuples that arrive there. [`Registrar`] holds what spans 5-tuples: quotas, ports, reservations;
//! there is one beside any number of servers. [`Credentials`] answers which keys a user name may have signed with.
//!
//! The shell feeds [`Server::handle_client`], [`Server::handle_peer`] and [`Server::handle_timeout`], executes what
//! [`Server::poll_output`] says, and answers with [`Server::handle_key`] and [`Server::handle_bound`]. The data path
//! does not go through outputs: it returns a route and a range of the buffer that was handed in.
//!
//! Sockets, files, clocks, threads, configuration files and metrics formats do not belong here.

mod account;
mod address;
mod allocation;
mod auth;
mod channel;
pub mod dtls_hello;
pub mod framing;
mod integrity;
mod key;
mod limit;
mod mobility;
mod nonce;
mod permission;
mod policy;
mod ports;
pub mod proxy;
mod quota;
mod registrar;
mod reply;
mod report;
mod revocation;
mod route;
mod secret;
mod server;
mod source_budget;
mod stats;
mod stream;
#[cfg(test)]
mod vectors;
mod wire;

pub use account::Account;
pub use address::{Family, FiveTuple, PeerAddress, Transport};
pub use allocation::{AllocationId, Snapshot, Usage};
pub use auth::{AuthFailure, Candidates, Credentials, Minted, Origin, RestNames, UserName};
pub use key::Key;
pub use limit::{Direction, Limits, Meter, Rates, Trunk};
pub use nonce::Nonces;
pub use policy::{AddressRange, OpenPorts, Policy, PolicyError, Verdict};
pub use quota::{QuotaKey, Quotas};
pub use registrar::{Grant, Lease, PortWish, Registrar, RegistrarConfig, Reserved, Unavailable};
pub use report::Report;
pub use revocation::Revocations;
pub use route::{Handled, Head, Route, ToClient, ToPeer};
pub use secret::{Secret, SecretError};
pub use server::{
    Alternate, BoundRelay, BoundRelays, Context, IcmpError, Options, Output, Relaying, RequestId, Server, ServerConfig,
    Way,
};
pub use source_budget::SourceBudget;
pub use stats::{Drop, Flow, Limit, Stats};
pub use stream::{ConnectionId, Join};

/// Some moment: tests count from it, and never wait.
#[cfg(test)]
fn some_instant() -> std::time::Instant {
    #[allow(clippy::disallowed_methods, reason = "an Instant cannot be made in any other way")]
    std::time::Instant::now()
}
