//! The secrets of a running server: from the configuration and its files, exchangeable by reload.

use hmac::{Hmac, KeyInit, Mac};
use rand::RngExt as _;
use service::config::{ConfigError, Origin};
use sha2::{Digest, Sha256};
use signalling::token::{Key, Keyring};
use subtle::ConstantTimeEq;

use crate::config::{Config, WebhooksConfig};
use crate::webhooks::SigningKey;

/// See the module.
pub(crate) struct Secrets {
    api_keys: Vec<String>,
    recorder_keys: Vec<String>,
    /// Signs and checks room tokens.
    pub(crate) rooms: Keyring,
    /// Signs download links.
    links: Vec<u8>,
    /// Sign webhooks, all of them.
    pub(crate) webhooks: Vec<SigningKey>,
    /// Shared with the relay: the first one signs its credentials.
    pub(crate) relay: Vec<String>,
    made: Made,
}

/// What a process makes up where the configuration has nothing. It stays for the life of the process: what was signed with it
/// outlives a reload.
#[derive(Clone)]
struct Made {
    relay: String,
    tokens: String,
    links: String,
}

impl Secrets {
    /// Collects the secrets of a configuration. What is absent and needed inside this process only is made up, or was by
    /// those `before`.
    ///
    /// # Errors
    /// A file that cannot be read, or a key of the wrong form.
    pub(crate) fn collect(config: &Config, origin: &Origin, before: Option<&Self>) -> Result<Self, ConfigError> {
        let make = || Made { relay: random(), tokens: random(), links: random() };
        let made = before.map_or_else(make, |before| before.made.clone());
        let merged = |key: &str, values: &[String], file: Option<&std::path::Path>| {
            Ok([values.to_vec(), origin.secrets(key, file)?].concat())
        };
        let api_keys = merged("api.keys_file", &config.api.keys, config.api.keys_file.as_deref())?;
        let recorder_keys =
            merged("recording.keys_file", &config.recording.keys, config.recording.keys_file.as_deref())?;
        let mut relay = merged("relay.secrets_file", &config.relay.secrets, config.relay.secrets_file.as_deref())?;
        let tokens =
            merged("rooms.token_keys_file", &config.rooms.token_keys, config.rooms.token_keys_file.as_deref())?;
        let mut keys = Vec::new();
        for token in &tokens {
            let (id, secret) =
                token.split_once(':').filter(|(id, secret)| !id.is_empty() && !secret.is_empty()).ok_or_else(|| {
                    origin.meaning("rooms.token_keys", "an entry must be kid:secret, such as 2026:a-long-random-text")
                })?;
            keys.push(Key::new(id, secret));
        }
        if keys.is_empty() {
            // Tokens for recorders and for the API are signed by us and for us, so a key of this process is enough.
            keys.push(Key::new("process", made.tokens.clone()));
        }
        if let Some(error) = relay.iter().find_map(|secret| turn::Secret::parse(secret).err()) {
            return Err(origin.meaning("relay.secrets", error.to_string()));
        }
        if relay.is_empty() && config.api.enabled {
            // The API hands out credentials, and nobody else must know their secret.
            relay.push(made.relay.clone());
        }
        let links = tokens.first().unwrap_or(&made.links).clone().into_bytes();
        let rooms = Keyring::new(keys).expect("there is at least one key");
        let webhooks = webhook_keys(&config.webhooks, origin)?;
        Ok(Self { api_keys, recorder_keys, rooms, links, webhooks, relay, made })
    }

    /// Whether this is a key of the REST API.
    pub(crate) fn is_api_key(&self, key: &str) -> bool {
        contains(&self.api_keys, key)
    }

    /// Whether this is a recorder's key.
    pub(crate) fn is_recorder_key(&self, key: &str) -> bool {
        contains(&self.recorder_keys, key)
    }

    /// The signature of a download link that is good until `expires`, seconds since 1970.
    pub(crate) fn sign_link(&self, path: &str, expires: u64) -> String {
        service::storage::hex(&self.link_mac(path, expires).finalize().into_bytes())
    }

    /// Whether [`Secrets::sign_link`] made this signature.
    pub(crate) fn is_link(&self, path: &str, expires: u64, signature: &str) -> bool {
        self.sign_link(path, expires).as_bytes().ct_eq(signature.as_bytes()).into()
    }

    fn link_mac(&self, path: &str, expires: u64) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.links).expect("HMAC takes keys of any length");
        mac.update(format!("download\n{expires}\n{path}").as_bytes());
        mac
    }
}

fn webhook_keys(config: &WebhooksConfig, origin: &Origin) -> Result<Vec<SigningKey>, ConfigError> {
    let own = Some(config.secret.clone()).filter(|secret| !secret.is_empty());
    let of_file = origin.secrets("webhooks.secret_file", config.secret_file.as_deref())?;
    let keys = own.iter().chain(&of_file).map(|secret| {
        SigningKey::parse(secret).ok_or_else(|| {
            origin.meaning("webhooks.secret", "must be base64 of 24 to 64 bytes, with or without whsec_ before it")
        })
    });
    let keys: Vec<_> = keys.collect::<Result<_, _>>()?;
    if !config.urls.is_empty() && keys.is_empty() {
        return Err(origin.meaning("webhooks.secret_file", "webhooks are signed: it holds no secret"));
    }
    Ok(keys)
}

/// A new secret of 192 bits.
pub(crate) fn random() -> String {
    let bytes: [u8; 24] = rand::rng().random();
    service::storage::hex(&bytes)
}

/// Compares with every key in a time that tells nothing; digests are compared because lengths would tell.
fn contains(keys: &[String], key: &str) -> bool {
    let key = Sha256::digest(key);
    keys.iter().fold(subtle::Choice::from(0), |found, known| found | Sha256::digest(known).ct_eq(&key)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(edit: impl FnOnce(&mut Config)) -> Result<Secrets, ConfigError> {
        let mut config = Config::default();
        edit(&mut config);
        Secrets::collect(&config, &Origin::default(), None)
    }

    #[test]
    fn keys_are_compared_whole() {
        let secrets = secrets(|config| config.api.keys = vec!["abc".into(), "def".into()]).expect("collects");
        assert!(secrets.is_api_key("abc") && secrets.is_api_key("def"));
        assert!(!secrets.is_api_key("ab") && !secrets.is_api_key("") && !secrets.is_recorder_key("abc"));
    }

    #[test]
    fn links_are_good_for_one_path_and_time() {
        let secrets = secrets(|_| {}).expect("collects");
        let signature = secrets.sign_link("/a", 5);
        assert!(secrets.is_link("/a", 5, &signature));
        assert!(!secrets.is_link("/b", 5, &signature) && !secrets.is_link("/a", 6, &signature));
    }

    #[test]
    fn what_was_made_up_outlives_a_reload() {
        let (config, origin) = (Config::default(), Origin::default());
        let collect = |before: Option<&Secrets>| Secrets::collect(&config, &origin, before).expect("collects");
        let first = collect(None);
        let again = collect(Some(&first));
        assert_eq!((first.relay.len(), &first.relay), (1, &again.relay));
        assert!(again.is_link("/a", 5, &first.sign_link("/a", 5)));
        assert_eq!(first.made.tokens, again.made.tokens);
        assert_ne!(first.relay, collect(None).relay, "another process has others");
    }

    #[test]
    fn a_token_key_needs_an_id() {
        let error = secrets(|config| config.rooms.token_keys = vec!["abc".into()]).map(|_| ()).expect_err("refused");
        assert!(error.to_string().contains("kid:secret"), "{error}");
    }
}
