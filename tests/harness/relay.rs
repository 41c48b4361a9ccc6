//! A relay with two workers in this process, on free ports of loopback, stopped when it is dropped.

use std::net::SocketAddr;
use std::sync::Arc;

use turn_server::config::{RelayConfig, RelayUser, TlsMode};
use turn_server::handover::{Handover, Lane, OwnAddresses};
use turn_server::relay::{self, Relay};

use crate::pki::Pki;

/// Name and password of the long-term user.
pub const USER: (&str, &str) = ("user1", "pass1");
/// The shared secret of time-limited names.
pub const SECRET: &str = "north";

/// Starts a relay; `edit` changes its configuration before.
pub fn start(edit: impl FnOnce(&mut RelayConfig)) -> (Relay, SocketAddr) {
    let (relay, address, _) = start_beside(Vec::new(), edit);
    (relay, address)
}

/// Serves TLS on the port of TCP, with the certificate of this authority.
pub fn with_tls(pki: &Pki, config: &mut RelayConfig) {
    config.tls = TlsMode::Files;
    (config.tls_cert, config.tls_key) = (Some(pki.cert()), Some(pki.key()));
    config.tls_listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
}

/// Starts a relay beside others of the process with a media port and a lane.
pub fn start_beside(media: Vec<(u16, Lane)>, edit: impl FnOnce(&mut RelayConfig)) -> (Relay, SocketAddr, Handover) {
    let mut config = RelayConfig {
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        workers: 2,
        relay_addresses: vec![[127, 0, 0, 1].into()],
        users: vec![RelayUser { name: USER.0.into(), password: USER.1.into(), key: None }],
        secrets: vec![SECRET.into(), "south".into()],
        ..RelayConfig::default()
    };
    edit(&mut config);
    let bound = relay::bind(&config).expect("the configuration is good");
    let address = bound.addresses()[0];
    let handover = Handover {
        live: Arc::default(),
        relay: bound.lanes().into(),
        media: media.into(),
        own: Arc::new(OwnAddresses::of_host(bound.external_addresses()).expect("interfaces can be listed")),
    };
    let relay = bound.start(handover.clone()).expect("threads can be made");
    (relay, address, handover)
}
