//! Object storage: S3 and a local folder behind one set of verbs.
//!
//! Keys are relative to the configured prefix and are ours (`[a-z0-9./-]`), never text that a user chose.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where recordings end up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageKind {
    /// A folder that both binaries share.
    #[default]
    Disk,
    /// Any S3 endpoint.
    S3,
}

/// `[storage]`, the same in both binaries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Which kind.
    pub kind: StorageKind,
    /// The folder of `disk`.
    pub path: PathBuf,
    /// S3: the endpoint's URL; empty: AWS.
    pub endpoint: String,
    /// S3: the endpoint that users reach, for presigned links; empty: `endpoint`.
    pub public_endpoint: String,
    /// S3: the region.
    pub region: String,
    /// S3: the bucket.
    pub bucket: String,
    /// Prepended to every key, without slashes at its ends.
    pub prefix: String,
    /// S3: key id.
    pub access_key: String,
    /// S3: secret.
    pub secret_key: String,
    /// A file with the key id.
    pub access_key_file: Option<PathBuf>,
    /// A file with the secret.
    pub secret_key_file: Option<PathBuf>,
    /// Life of download links, seconds.
    pub link_ttl_s: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            kind: StorageKind::Disk,
            path: PathBuf::from("data/recordings"),
            endpoint: String::new(),
            public_endpoint: String::new(),
            region: "us-east-1".into(),
            bucket: String::new(),
            prefix: String::new(),
            access_key: String::new(),
            secret_key: String::new(),
            access_key_file: None,
            secret_key_file: None,
            link_ttl_s: 3600,
        }
    }
}
