//! The configuration of the recorder: `config/recorder.toml` is its reference, and equals [`Config::default`].

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use service::config::{ConfigError, Origin};
use service::storage::{StorageConfig, Store};

use crate::dial::Target;

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[log]`
    pub log: service::log::LogConfig,
    /// `[server]`
    pub server: ServerConfig,
    /// `[recorder]`
    pub recorder: RecorderConfig,
    /// `[storage]`
    pub storage: StorageConfig,
}

/// `[server]`: the turn-server that gives us work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Its API.
    pub url: String,
    /// Our key there, one of its `recording.keys`.
    pub key: String,
    /// A file with the key.
    pub key_file: Option<PathBuf>,
    /// Certificates (PEM) to trust beside the system's, for https.
    pub ca_file: Option<PathBuf>,
    /// Trust any certificate: for a self-signed server that is reached over a network you trust.
    pub insecure: bool,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { url: "http://127.0.0.1:8080".into(), key: String::new(), key_file: None, ca_file: None, insecure: false }
    }
}

/// `[recorder]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecorderConfig {
    /// The folder where recordings grow until storage has them.
    pub spool: PathBuf,
    /// Rooms at once.
    pub capacity: u32,
    /// No more rooms are offered while this process uses more than this of the CPU time that it may use, 1 being all.
    pub max_load: f64,
    /// `/healthz`, `/readyz` and `/metrics`.
    pub listen: SocketAddr,
    /// Recordings end while the spool's disk has this much left, megabytes.
    pub min_free_mb: u64,
    /// After a SIGTERM, uploads may go on for so many seconds; what is left is done at the next start.
    pub stop_timeout_s: u64,
}

impl Default for RecorderConfig {
    fn default() -> Self {
        Self {
            spool: PathBuf::from("data/spool"),
            capacity: 50,
            max_load: 0.8,
            listen: SocketAddr::from(([127, 0, 0, 1], 8090)),
            min_free_mb: 512,
            stop_timeout_s: 20,
        }
    }
}

impl Config {
    /// Checks what the values mean and reads the key's file.
    ///
    /// # Errors
    /// [`ConfigError`] with the key that is wrong.
    pub fn check(&mut self, origin: &Origin) -> Result<(), ConfigError> {
        if let Some(path) = &self.server.key_file {
            self.server.key = origin.secret("server.key_file", path)?;
        }
        if self.server.key.is_empty() {
            return Err(
                origin.meaning("server.key", "is empty; set it, or key_file, to one of the server's recording.keys")
            );
        }
        Target::parse(&self.server).map_err(|why| origin.meaning("server.url", why))?;
        if self.recorder.spool.as_os_str().is_empty() {
            return Err(origin.meaning("recorder.spool", "is empty; it must name a folder"));
        }
        if self.recorder.capacity == 0 {
            return Err(origin.meaning("recorder.capacity", "is 0; at least 1"));
        }
        if self.recorder.max_load.is_nan() || self.recorder.max_load <= 0.0 {
            return Err(origin.meaning("recorder.max_load", "must be more than 0; 1 is all cores"));
        }
        service::log::filter(&self.log.level).map_err(|why| origin.meaning("log.level", why))?;
        Store::open(&self.storage).map(drop).map_err(|error| origin.meaning("storage", error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_the_default() {
        let sample = include_str!("../../config/recorder.toml");
        assert_eq!(toml::from_str::<Config>(sample).expect("the sample reads"), Config::default());
        // Keys without a default stand in the sample as comments.
        for key in toml::Table::try_from(Config::default()).expect("a table").values().filter_map(toml::Value::as_table)
        {
            for name in key.keys() {
                assert!(sample.contains(&format!("\n{name} = ")), "{name} is missing");
            }
        }
        for name in ["key_file", "ca_file", "access_key_file", "secret_key_file", "session_token_file"] {
            assert!(sample.contains(&format!("\n# {name} = ")), "{name} is missing");
        }
    }

    #[test]
    fn what_cannot_work_is_told_before_anything_runs() {
        let origin = Origin::default();
        let with = |change: fn(&mut Config)| {
            let mut config = Config::default();
            config.server.key = "k".into();
            change(&mut config);
            config.check(&origin).map_err(|error| error.to_string())
        };
        assert_eq!(with(|_| {}), Ok(()));
        for (key, change) in [
            ("server.key", (|c| c.server.key.clear()) as fn(&mut Config)),
            ("server.url", |c| c.server.url = "ftp://x".into()),
            ("recorder.capacity", |c| c.recorder.capacity = 0),
            ("recorder.max_load", |c| c.recorder.max_load = 0.0),
            ("storage", |c| c.storage.prefix = "..".into()),
            ("log.level", |c| c.log.level = "a=b=c".into()),
        ] {
            let error = with(change).expect_err(key);
            assert!(error.contains(key), "{error}");
        }
    }
}
