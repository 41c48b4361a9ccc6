//! What the relay's listeners encrypt with, read from the configuration. Connections keep what they began with, so a
//! reload touches none.

use std::sync::Arc;

use rustls::ServerConfig;

use super::dtls::DtlsIdentity;
use super::settings::{RelayError, wrong};
use crate::config::{RelayConfig, TlsMode};
use crate::tls::Identity;

/// RFC 7443: accepted when offered. Whoever offers only others means to talk to another program.
const ALPN: [&str; 2] = ["stun.turn", "stun.nat-discovery"];

/// See the module.
pub(super) struct Encryption {
    pub(super) tls: Arc<ServerConfig>,
    /// `None`: switched off, or not possible with this key.
    pub(super) dtls: Option<DtlsIdentity>,
}

impl Encryption {
    /// `None` for `tls = "off"`.
    pub(super) fn read(config: &RelayConfig) -> Result<Option<Self>, RelayError> {
        let identity = match config.tls {
            TlsMode::Off => return Ok(None),
            TlsMode::SelfSigned => Identity::made(),
            TlsMode::Files => match (&config.tls_cert, &config.tls_key) {
                (Some(cert), Some(key)) => Identity::read(cert, key),
                _ => return Err(wrong("tls", "\"files\" needs tls_cert and tls_key")),
            },
        };
        let identity = identity.map_err(|why| wrong("tls_cert", &why))?;
        let dtls = config.dtls.then(|| DtlsIdentity::new(&identity)).transpose();
        // Not worth refusing to start: TLS, which everybody wants, works with such a key.
        let dtls = dtls.unwrap_or_else(|why| {
            tracing::warn!("no DTLS with [relay] tls_key: {why}; set dtls = false to have this said no more");
            None
        });
        let tls = identity.acceptor(&ALPN).map_err(|why| wrong("tls_cert", &why))?;
        Ok(Some(Self { tls, dtls }))
    }
}
