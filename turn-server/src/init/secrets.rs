//! The secrets as files, one each, readable by their owner only: random, made once, never shown.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use super::InitError;

/// Bearer key of the REST API.
pub(super) const API_KEY: &str = "api-key";
/// Bearer key of the recorders' link.
pub(super) const RECORDER_KEY: &str = "recorder-key";
/// Shared secret of time-limited TURN credentials.
pub(super) const RELAY_SECRET: &str = "relay-secret";
/// Key that signs room tokens, as `kid:secret`.
pub(super) const TOKEN_KEY: &str = "token-key";
/// Key id of the object storage.
pub(super) const STORAGE_ACCESS_KEY: &str = "storage-access-key";
/// Secret of the object storage.
pub(super) const STORAGE_SECRET_KEY: &str = "storage-secret-key";
/// What garage's nodes know each other by.
pub(super) const GARAGE_RPC_SECRET: &str = "garage-rpc-secret";
/// Bearer token of garage's admin API.
pub(super) const GARAGE_ADMIN_TOKEN: &str = "garage-admin-token";

/// Makes the files that are missing; returns a line for each of them.
///
/// # Errors
/// [`InitError::File`].
pub(super) fn make(folder: &Path, storage: bool) -> Result<Vec<String>, InitError> {
    let file_error = |path: &Path| {
        let path = path.to_path_buf();
        move |why| InitError::File { path, why }
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(file_error(folder))?;
    let mut secrets = vec![
        (API_KEY, hex::<24>()),
        (RECORDER_KEY, hex::<32>()),
        (RELAY_SECRET, hex::<32>()),
        (TOKEN_KEY, format!("k1:{}", hex::<32>())),
    ];
    if storage {
        secrets.extend([
            // The form that garage gives its own keys.
            (STORAGE_ACCESS_KEY, format!("GK{}", hex::<12>())),
            (STORAGE_SECRET_KEY, hex::<32>()),
            (GARAGE_RPC_SECRET, hex::<32>()),
            (GARAGE_ADMIN_TOKEN, hex::<32>()),
        ]);
    }
    let mut made = Vec::new();
    for (name, secret) in secrets {
        let path = folder.join(name);
        if write_new(&path, &secret).map_err(file_error(&path))? {
            made.push(format!("made {}", path.display()));
        }
    }
    Ok(made)
}

/// Writes a file unless it exists; a crash leaves the whole file or none.
fn write_new(path: &Path, secret: &str) -> std::io::Result<bool> {
    if path.exists() {
        return Ok(false);
    }
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    // A link, because a rename would replace what another `init` made meanwhile.
    let made = match fs::hard_link(&unfinished, path) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    fs::remove_file(&unfinished)?;
    Ok(made)
}

/// The secret in a file, without its line end.
///
/// # Errors
/// [`InitError::File`].
pub(super) fn read(folder: &Path, name: &str) -> Result<String, InitError> {
    let path = folder.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(why) => Err(InitError::File { path, why }),
    }
}

/// N random bytes as hexadecimal digits.
fn hex<const N: usize>() -> String {
    let bytes: [u8; N] = std::array::from_fn(|_| rand::random());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_are_made_once_and_belong_to_their_owner() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("a/secrets");
        assert_eq!(make(&folder, false).unwrap().len(), 4);
        let first = read(&folder, API_KEY).unwrap();
        assert_eq!(first.len(), 48);
        assert!(read(&folder, TOKEN_KEY).unwrap().starts_with("k1:"));

        assert_eq!(make(&folder, true).unwrap().len(), 4, "only the storage's are new");
        assert_eq!(read(&folder, API_KEY).unwrap(), first);
        assert!(read(&folder, STORAGE_ACCESS_KEY).unwrap().starts_with("GK"));
        assert!(make(&folder, true).unwrap().is_empty());

        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = make(&file.path().join("secrets"), false).unwrap_err().to_string();
        assert!(error.contains("/secrets: "), "{error}");
    }
}
