//! `--dev`: everything on this machine, for nobody else, without a file. Secrets are made once and kept in `state_dir`.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{Config, Guests};
use crate::secrets;

/// The file of the recorder's key in `state_dir`: `recorder --dev` looks for it there.
pub(crate) const RECORDER_KEY: &str = "recorder.key";

impl Config {
    /// Lays the development settings over a configuration; ports stay as they are.
    ///
    /// # Errors
    /// What the system says about a secret's file.
    pub fn for_development(mut self) -> Result<Self, String> {
        let home = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.api.listen.set_ip(home);
        self.api.tls_listen.set_ip(home);
        for listen in self.relay.listen.iter_mut().chain(&mut self.relay.tls_listen) {
            listen.set_ip(home);
        }
        self.relay.relay_addresses = vec![home];
        self.rooms.listen.set_ip(home);
        self.rooms.guests = Guests::Moderate;
        let state = self.api.state_dir.clone();
        self.api.keys.push(kept(&state, "api.key")?);
        self.relay.secrets.push(kept(&state, "relay.secret")?);
        self.rooms.token_keys.push(format!("dev:{}", kept(&state, "token.key")?));
        self.recording.keys.push(kept(&state, RECORDER_KEY)?);
        Ok(self)
    }
}

/// A secret from its file, made if there is none.
fn kept(folder: &Path, name: &str) -> Result<String, String> {
    let path: PathBuf = folder.join(name);
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    match std::fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail(error)),
    }
    std::fs::create_dir_all(folder).map_err(fail)?;
    let secret = secrets::random();
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(fail)?;
    file.write_all(format!("{secret}\n").as_bytes()).map_err(fail)?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn development_is_for_this_machine_and_keeps_its_secrets() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = Config::default();
        config.api.state_dir = folder.path().join("state");
        let first = config.clone().for_development().expect("made");
        assert!(
            first.api.listen.ip().is_loopback() && first.relay.listen.iter().all(|listen| listen.ip().is_loopback())
        );
        assert!(first.rooms.listen.ip().is_loopback());
        let key = std::fs::read_to_string(folder.path().join("state").join(RECORDER_KEY)).expect("written");
        assert_eq!(first.recording.keys, [key.trim()]);
        assert_eq!(config.for_development().expect("made again"), first);
    }
}
