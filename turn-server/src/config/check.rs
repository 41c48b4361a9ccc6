//! What the values of a configuration must mean, checked before anything is bound.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use service::config::{ConfigError, Origin};
use service::storage::{StorageKind, Store};

use super::{Config, RelayConfig, TlsMode};
use crate::recording;
use crate::relay::RelayError;
use crate::secrets::Secrets;

impl Config {
    /// Checks what types cannot say. Reads the secrets' files, too.
    ///
    /// # Errors
    /// The first value that cannot work, where it is, and what is allowed.
    pub fn check(&self, origin: &Origin) -> Result<(), ConfigError> {
        service::log::filter(&self.log.level).map_err(|why| origin.meaning("log.level", why))?;
        self.check_api(origin)?;
        self.check_relay(origin)?;
        self.check_rooms(origin)?;
        self.check_storage(origin)?;
        self.check_recording(origin)?;
        Secrets::collect(self, origin, None).map(drop)
    }

    fn check_api(&self, origin: &Origin) -> Result<(), ConfigError> {
        let api = &self.api;
        if self.rooms.enabled && !api.enabled {
            return Err(
                origin.meaning("api.enabled", "rooms are signalled over HTTP; set rooms.enabled = false as well")
            );
        }
        certificate(origin, api.tls, [("api.tls_cert", &api.tls_cert), ("api.tls_key", &api.tls_key)])?;
        if api.tls != TlsMode::Off && api.tls_listen == api.listen && api.listen.port() != 0 {
            return Err(origin.meaning("api.tls_listen", "must differ from api.listen"));
        }
        at_least_one(origin, "api.max_sockets", api.max_sockets)?;
        if api.idle_timeout_s == 0 {
            return Err(origin.meaning("api.idle_timeout_s", "must be at least 1"));
        }
        at_least_one(origin, "api.max_connections", api.max_connections)
    }

    fn check_relay(&self, origin: &Origin) -> Result<(), ConfigError> {
        let relay = &self.relay;
        if relay.enabled && relay.listen.is_empty() {
            return Err(origin.meaning("relay.listen", "needs at least one address, or set relay.enabled = false"));
        }
        if relay.enabled {
            let files = [("relay.tls_cert", &relay.tls_cert), ("relay.tls_key", &relay.tls_key)];
            certificate(origin, relay.tls, files)?;
        }
        let shared = relay.tls_listen.iter().find(|address| address.port() != 0 && relay.listen.contains(address));
        if let Some(address) = shared.filter(|_| relay.tls != TlsMode::Off) {
            let why = format!("{address} is in relay.listen, and every listener takes TLS");
            return Err(origin.meaning("relay.tls_listen", why));
        }
        if relay.credential_ttl_s == 0 {
            return Err(origin.meaning("relay.credential_ttl_s", "must be at least 1"));
        }
        for external in &relay.external_addresses {
            external_ip(external).ok_or_else(|| {
                let why = format!("{external:?} must be an address, or public/private, such as 203.0.113.5/10.0.0.5");
                origin.meaning("relay.external_addresses", why)
            })?;
        }
        for url in &relay.advertise_urls {
            if !["stun:", "stuns:", "turn:", "turns:"].iter().any(|scheme| url.starts_with(scheme)) {
                let why = format!("{url:?} must begin with stun:, stuns:, turn: or turns:");
                return Err(origin.meaning("relay.advertise_urls", why));
            }
        }
        if !relay.auth_hook_url.is_empty() && !crate::plain_http::is_url(&relay.auth_hook_url) {
            return Err(origin.meaning("relay.auth_hook_url", "must be http://host[:port][/path], or https"));
        }
        if !(1..=5000).contains(&relay.auth_hook_timeout_ms) {
            return Err(origin.meaning("relay.auth_hook_timeout_ms", "must be 1 to 5000: clients do not wait longer"));
        }
        if !relay.enabled {
            return Ok(());
        }
        // Its secrets are read elsewhere.
        let section = RelayConfig { secrets_file: None, ..relay.clone() };
        crate::relay::check(&section).map_err(|error| match error {
            RelayError::Config { key, why } => origin.meaning(&format!("relay.{key}"), why),
            error => origin.meaning("relay", error.to_string()),
        })
    }

    fn check_rooms(&self, origin: &Origin) -> Result<(), ConfigError> {
        let rooms = &self.rooms;
        at_least_one(origin, "rooms.max_participants", rooms.max_participants)?;
        at_least_one(origin, "rooms.joins_per_second", rooms.joins_per_second)?;
        at_least_one(origin, "rooms.workers", u32::from(rooms.workers))?;
        for address in &rooms.advertise {
            advertised_ip(address).ok_or_else(|| {
                let why = format!("{address:?} must be an address or address:port");
                origin.meaning("rooms.advertise", why)
            })?;
        }
        Ok(())
    }

    fn check_storage(&self, origin: &Origin) -> Result<(), ConfigError> {
        let storage = &self.storage;
        if storage.link_ttl_s == 0 {
            return Err(origin.meaning("storage.link_ttl_s", "must be at least 1"));
        }
        if storage.kind == StorageKind::S3 && storage.bucket.is_empty() {
            return Err(origin.meaning("storage.bucket", "kind = \"s3\" needs a bucket"));
        }
        Store::open(storage).map(drop).map_err(|error| origin.meaning("storage.kind", error.to_string()))
    }

    fn check_recording(&self, origin: &Origin) -> Result<(), ConfigError> {
        let template = recording::check_folder(&self.recording.folder);
        template.map_err(|error| origin.meaning("recording.folder", error.to_string()))?;
        let webhooks = &self.webhooks;
        if let Some(url) = webhooks.urls.iter().find(|url| !crate::plain_http::is_url(url)) {
            let why = format!("{url:?} must be http://host[:port][/path], or https");
            return Err(origin.meaning("webhooks.urls", why));
        }
        if !webhooks.urls.is_empty() && webhooks.secret.is_empty() && webhooks.secret_file.is_none() {
            return Err(origin.meaning("webhooks.secret", "webhooks are signed: urls need a secret, or secret_file"));
        }
        Ok(())
    }

    /// The addresses that this host is known under beside those of its interfaces.
    pub(crate) fn public_ips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let external = self.relay.external_addresses.iter().filter_map(|text| external_ip(text));
        let advertised = self.rooms.advertise.iter().filter_map(|text| advertised_ip(text));
        external.chain(advertised)
    }
}

/// The files of `tls = "files"` can be read.
fn certificate(origin: &Origin, tls: TlsMode, files: [(&str, &Option<PathBuf>); 2]) -> Result<(), ConfigError> {
    for (key, path) in files.into_iter().filter(|_| tls == TlsMode::Files) {
        let path = path.as_ref().ok_or_else(|| origin.meaning(key, "tls = \"files\" needs a PEM file here"))?;
        origin.secret(key, path)?;
    }
    Ok(())
}

fn at_least_one(origin: &Origin, key: &str, value: u32) -> Result<(), ConfigError> {
    if value == 0 { Err(origin.meaning(key, "must be at least 1")) } else { Ok(()) }
}

/// The public address of `public` or `public/private`.
fn external_ip(text: &str) -> Option<IpAddr> {
    let (public, private) = text.split_once('/').map_or((text, None), |(public, private)| (public, Some(private)));
    if let Some(private) = private {
        private.trim().parse::<IpAddr>().ok()?;
    }
    public.trim().parse().ok()
}

/// The address of `ip` or `ip:port`.
fn advertised_ip(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RelayUser;

    fn refused(edit: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        edit(&mut config);
        config.check(&Origin::default()).expect_err("refused").to_string()
    }

    #[test]
    fn the_defaults_work() {
        Config::default().check(&Origin::default()).expect("works");
    }

    fn user(password: &str, key: Option<&str>) -> RelayUser {
        RelayUser { name: "alice".into(), password: password.into(), key: key.map(Into::into) }
    }

    #[test]
    fn each_section_is_checked() {
        for (key, text) in [
            ("log.level", refused(|config| config.log.level = "=loud".into())),
            ("api.tls_cert", refused(|config| config.api.tls = TlsMode::Files)),
            (
                "relay.tls_key",
                refused(|config| {
                    config.relay.tls = TlsMode::Files;
                    config.relay.tls_cert = Some("Cargo.toml".into());
                }),
            ),
            (
                "relay.tls_listen",
                refused(|config| {
                    config.relay.tls = TlsMode::SelfSigned;
                    config.relay.tls_listen = config.relay.listen.clone();
                }),
            ),
            ("api.enabled", refused(|config| config.api.enabled = false)),
            ("relay.users", refused(|config| config.relay.users = vec![user("", None)])),
            ("relay.users", refused(|config| config.relay.users = vec![user("pw", Some("00"))])),
            ("relay.users", refused(|config| config.relay.users = vec![user("", Some("hush"))])),
            ("relay.min_port", refused(|config| config.relay.max_port = 5)),
            ("relay.min_port_v6", refused(|config| config.relay.max_port_v6 = 49_000)),
            ("relay.listen", refused(|config| config.relay.listen.clear())),
            ("relay.external_addresses", refused(|config| config.relay.external_addresses = vec!["host".into()])),
            ("relay.advertise_urls", refused(|config| config.relay.advertise_urls = vec!["http://x".into()])),
            ("relay.allow_peers", refused(|config| config.relay.allow_peers = vec!["10.0.0.0/33".into()])),
            ("relay.proxy_protocol_from", refused(|config| config.relay.proxy_protocol_from = vec!["lb".into()])),
            ("relay.auth_hook_url", refused(|config| config.relay.auth_hook_url = "ftp://x/".into())),
            ("relay.auth_hook_timeout_ms", refused(|config| config.relay.auth_hook_timeout_ms = 0)),
            ("relay.secrets", refused(|config| config.relay.secrets = vec!["two words:secret".into()])),
            ("relay.peer_ports", refused(|config| config.relay.peer_ports = vec!["0-80".into()])),
            ("rooms.advertise", refused(|config| config.rooms.advertise = vec!["a:b".into()])),
            ("rooms.max_participants", refused(|config| config.rooms.max_participants = 0)),
            ("rooms.token_keys", refused(|config| config.rooms.token_keys = vec!["x".into()])),
            ("storage.bucket", refused(|config| config.storage.kind = StorageKind::S3)),
            ("recording.folder", refused(|config| config.recording.folder = "../{room}".into())),
            ("webhooks.urls", refused(|config| config.webhooks.urls = vec!["ftp://x/".into()])),
            ("webhooks.secret", refused(|config| config.webhooks.urls = vec!["http://x/".into()])),
            ("webhooks.secret", refused(|config| config.webhooks.secret = "short".into())),
            ("recording.keys_file", refused(|config| config.recording.keys_file = Some("/absent".into()))),
        ] {
            assert!(text.contains(key), "{key}: {text}");
        }
    }
}
