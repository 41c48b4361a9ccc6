//! Credentials of a configuration, with and without a running relay.

use turn::{Credentials, Key, Minted};

use super::settings::{RelayError, Settings};
use crate::config::{RelayConfig, RelayUser};

/// Users and secrets of the settings, as the core wants them.
pub(super) fn of(settings: &Settings) -> Credentials {
    let keyed = |user: &RelayUser| Key::of_password(&user.name, &settings.realm, &user.password);
    let users = settings.users.iter().map(|user| (user.name.as_str(), keyed(user)));
    Credentials::new(&settings.realm, users, settings.secrets.iter().map(String::as_str))
}

/// Time-limited credentials for `user` as this configuration signs them; `None`: it has no secret.
///
/// # Errors
/// One sentence naming the key that is wrong.
pub fn mint(config: &RelayConfig, user: &str, ttl: u64, now: u64) -> Result<Option<Minted>, RelayError> {
    Ok(of(&Settings::read(config)?).mint(user, ttl, now))
}
