//! What of a new configuration a running server takes, and what waits for its next start.

use toml::{Table, Value};

use super::Config;

/// Keys that sockets, threads and files were made by.
const NEXT_START: [(&str, &[&str]); 6] = [
    ("log", &["format"]),
    ("api", &["enabled", "listen", "tls", "tls_listen", "state_dir", "max_connections", "idle_timeout_s"]),
    (
        "relay",
        &[
            "enabled",
            "listen",
            "listen_tcp",
            "tls",
            "tls_listen",
            "workers",
            "realm",
            "relay_addresses",
            "external_addresses",
            "min_port",
            "max_port",
            "min_port_v6",
            "max_port_v6",
            "stun_alternate",
        ],
    ),
    ("rooms", &["enabled", "listen", "workers", "advertise"]),
    ("recording", &[]),
    (
        "storage",
        &[
            "kind",
            "path",
            "endpoint",
            "public_endpoint",
            "region",
            "bucket",
            "prefix",
            "access_key",
            "secret_key",
            "access_key_file",
            "secret_key_file",
            "session_token",
            "session_token_file",
            "sse",
            "sse_kms_key",
            "tagging",
            "request_timeout_s",
        ],
    ),
];

const TLS_FILES: [&str; 2] = ["tls_cert", "tls_key"];

impl Config {
    /// This configuration with what a running server can take of `new`, and the keys that wait for its next start.
    pub(crate) fn followed_by(&self, new: &Self) -> (Self, Vec<String>) {
        let table = |config: &Self| Table::try_from(config).expect("a configuration is a table");
        let (old, mut taken) = (table(self), table(new));
        let mut waiting = Vec::new();
        for (section, keys) in NEXT_START {
            let Some(Value::Table(taken)) = taken.get_mut(section) else { continue };
            let old = old.get(section).and_then(Value::as_table);
            let keeps_tls = old.and_then(|old| old.get("tls")) != taken.get("tls");
            // With the kind of encryption goes what it is made of.
            let files = if keeps_tls { &TLS_FILES[..] } else { &[] };
            for key in keys.iter().chain(files) {
                let before = old.and_then(|old| old.get(*key));
                if before == taken.get(*key) {
                    continue;
                }
                if !files.contains(key) {
                    waiting.push(format!("{section}.{key}"));
                }
                match before {
                    Some(before) => drop(taken.insert((*key).into(), before.clone())),
                    None => drop(taken.remove(*key)),
                }
            }
        }
        (taken.try_into().expect("it is made of two configurations"), waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_exists() {
        let all = Table::try_from(super::super::tests::with_every_key()).expect("a table");
        for (section, keys) in NEXT_START {
            let section = all[section].as_table().expect("a section");
            assert!(keys.iter().all(|key| section.contains_key(*key)), "{keys:?}");
        }
    }

    #[test]
    fn what_can_is_taken_and_the_rest_waits() {
        let mut new = Config::default();
        new.relay.credential_ttl_s = 77;
        new.relay.realm = "other".into();
        new.rooms.relay_only = true;
        new.api.tls_cert = Some("cert.pem".into());
        new.storage.secret_key_file = Some("key".into());
        let (config, waiting) = Config::default().followed_by(&new);
        assert_eq!(waiting, ["relay.realm", "storage.secret_key_file"]);
        let mut wanted = new.clone();
        wanted.relay.realm = Config::default().relay.realm;
        wanted.storage.secret_key_file = None;
        assert_eq!(config, wanted);
        let (config, waiting) = new.followed_by(&Config::default());
        assert_eq!(waiting, ["relay.realm", "storage.secret_key_file"]);
        assert_eq!((config.relay.realm.as_str(), config.storage.secret_key_file), ("other", Some("key".into())));
        assert_eq!(new.followed_by(&new), (new.clone(), Vec::new()));
    }

    #[test]
    fn encryption_waits_with_its_files() {
        let mut old = Config::default();
        old.relay.tls = crate::config::TlsMode::Files;
        (old.relay.tls_cert, old.relay.tls_key) = (Some("cert".into()), Some("key".into()));
        let (config, waiting) = old.followed_by(&Config::default());
        assert_eq!((config, waiting), (old, vec!["relay.tls".to_owned()]));
    }
}
