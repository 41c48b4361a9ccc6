//! Credentials of a configuration, with and without a running relay.

use turn::{Credentials, Minted};

use super::settings::{RelayError, Settings};
use crate::config::RelayConfig;

/// Users and secrets of the settings, as the core wants them.
pub(super) fn of(settings: &Settings) -> Credentials {
    let users = settings.users.iter().map(|(name, key)| (name.as_str(), *key));
    Credentials::new(&settings.realm, users, settings.secrets.clone()).with_rest_names(settings.rest_names)
}

/// Time-limited credentials for `user` as this configuration signs them; `None`: it has no secret.
///
/// # Errors
/// One sentence naming the key that is wrong.
pub fn mint(config: &RelayConfig, user: &str, ttl: u64, now: u64) -> Result<Option<Minted>, RelayError> {
    Ok(of(&Settings::read(config)?).mint(user, ttl, now))
}
