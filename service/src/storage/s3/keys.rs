//! The keys that sign requests. Files are read again for every request: it is nothing beside the request, and a key that
//! was rotated counts at once, without a restart.

use std::path::{Path, PathBuf};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_s3::config::ProvideCredentials;

use crate::storage::{Error, StorageConfig};

/// One of them, written down or in a file.
#[derive(Debug, Clone)]
enum Source {
    Value(String),
    File(PathBuf),
}

/// Where they are.
#[derive(Clone)]
pub(super) struct Keys {
    access: Source,
    secret: Source,
    /// With temporary keys.
    token: Option<Source>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

impl Keys {
    /// Reads all once, so that what is missing is told at start.
    pub(super) fn open(config: &StorageConfig) -> Result<Self, Error> {
        let access = source("access_key", &config.access_key, config.access_key_file.as_deref())?;
        let secret = source("secret_key", &config.secret_key, config.secret_key_file.as_deref())?;
        let is_temporary = !config.session_token.trim().is_empty() || config.session_token_file.is_some();
        let token = is_temporary
            .then(|| source("session_token", &config.session_token, config.session_token_file.as_deref()))
            .transpose()?;
        Ok(Self { access, secret, token })
    }

    fn read(&self) -> std::io::Result<Credentials> {
        let token = self.token.as_ref().map(Source::read).transpose()?;
        Ok(Credentials::new(self.access.read()?, self.secret.read()?, token, None, "configuration"))
    }
}

impl ProvideCredentials for Keys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(self.read().map_err(CredentialsError::provider_error))
    }
}

impl Source {
    fn read(&self) -> std::io::Result<String> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File(path) => Ok(std::fs::read_to_string(path)?.trim().to_owned()),
        }
    }
}

fn source(name: &str, value: &str, file: Option<&Path>) -> Result<Source, Error> {
    let source = match file {
        Some(file) if value.trim().is_empty() => Source::File(file.to_owned()),
        _ => Source::Value(value.trim().to_owned()),
    };
    let path = || file.unwrap_or(Path::new("")).display().to_string();
    let text = source.read().map_err(|error| Error::Config(format!("{name}_file: {}: {error}", path())))?;
    if text.is_empty() {
        return Err(Error::Config(format!("{name} is empty; kind = \"s3\" needs it or {name}_file")));
    }
    Ok(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_key_counts_without_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        let config =
            StorageConfig { access_key: "id".into(), secret_key_file: Some(file.clone()), ..StorageConfig::default() };
        let missing = Keys::open(&config).expect_err("no file").to_string();
        assert!(missing.contains("secret_key_file"), "{missing}");
        std::fs::write(&file, "one\n").expect("written");
        let keys = Keys::open(&config).expect("opens");
        assert_eq!(keys.read().expect("reads").secret_access_key(), "one");
        std::fs::write(&file, "two\n").expect("written");
        assert_eq!(keys.read().expect("reads").secret_access_key(), "two");
        assert_eq!(format!("{keys:?}"), "Keys");
    }

    #[test]
    fn temporary_keys_have_a_token_that_is_rotated_with_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        let lasting =
            StorageConfig { access_key: "id".into(), secret_key: "secret".into(), ..StorageConfig::default() };
        assert_eq!(Keys::open(&lasting).expect("opens").read().expect("reads").session_token(), None);
        let written = StorageConfig { session_token: "t".into(), ..lasting.clone() };
        assert_eq!(Keys::open(&written).expect("opens").read().expect("reads").session_token(), Some("t"));
        let config = StorageConfig { session_token_file: Some(file.clone()), ..lasting };
        let missing = Keys::open(&config).expect_err("no file").to_string();
        assert!(missing.contains("session_token_file"), "{missing}");
        std::fs::write(&file, "one\n").expect("written");
        let keys = Keys::open(&config).expect("opens");
        std::fs::write(&file, "two\n").expect("written");
        assert_eq!(keys.read().expect("reads").session_token(), Some("two"));
    }

    #[test]
    fn an_empty_key_is_told() {
        let error = Keys::open(&StorageConfig::default()).expect_err("no key").to_string();
        assert!(error.contains("access_key is empty"), "{error}");
    }
}
