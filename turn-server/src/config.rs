//! The configuration of turn-server: `config/turn-server.toml` is its reference, and equals [`Config::default`].
//!
//! One struct a section. Loading (file, environment, `*_file`) is `service::config`; meaning is checked in
//! `Config::check`, before anything is bound.

mod check;
mod dev;
mod reload;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use signalling::recording::RecordingOptions;

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[log]`
    pub log: service::log::LogConfig,
    /// `[api]`
    pub api: ApiConfig,
    /// `[relay]`
    pub relay: RelayConfig,
    /// `[rooms]`
    pub rooms: RoomsConfig,
    /// `[recording]`
    pub recording: RecordingConfig,
    /// `[webhooks]`
    pub webhooks: WebhooksConfig,
    /// `[storage]`
    pub storage: service::storage::StorageConfig,
}

/// Where a listener's certificate comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Nothing is encrypted.
    #[default]
    Off,
    /// A certificate made at start, kept in `state_dir`.
    SelfSigned,
    /// `tls_cert` and `tls_key`.
    Files,
}

/// `[api]`: HTTP, WebSocket, the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ApiConfig {
    /// Whether HTTP is served: without it a server only relays, and is neither asked nor watched.
    pub enabled: bool,
    /// Plain HTTP.
    pub listen: SocketAddr,
    /// Encryption of `tls_listen`.
    pub tls: TlsMode,
    /// HTTPS, unless `tls = "off"`.
    pub tls_listen: SocketAddr,
    /// PEM chain for `tls = "files"`.
    pub tls_cert: Option<PathBuf>,
    /// PEM key for `tls = "files"`.
    pub tls_key: Option<PathBuf>,
    /// Bearer keys of the REST API; none: only room tokens work.
    pub keys: Vec<String>,
    /// A file with one key a line, added to `keys`.
    pub keys_file: Option<PathBuf>,
    /// Where the server keeps what must survive a restart (self-signed certificate, secrets of `--dev`).
    pub state_dir: PathBuf,
    /// rooms/1 sockets at once.
    pub max_sockets: u32,
    /// HTTP connections at once, sockets included.
    pub max_connections: u32,
    /// How long a connection may take over the head of a request, and wait for the next one, in seconds.
    pub idle_timeout_s: u64,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            tls: TlsMode::Off,
            tls_listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            tls_cert: None,
            tls_key: None,
            keys: Vec::new(),
            keys_file: None,
            state_dir: PathBuf::from("data/turn-server"),
            max_sockets: 10_000,
            max_connections: 16_000,
            idle_timeout_s: 60,
        }
    }
}

/// Which family is relayed for clients that do not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DefaultFamily {
    /// As RFC 8656 says.
    #[default]
    Ipv4,
    /// The family in which the client reaches us.
    Keep,
}

/// How time-limited (REST) user names are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestNames {
    /// `expiry` and `expiry:id`.
    #[default]
    StampFirst,
    /// `id:expiry` too.
    Either,
}

/// Whom the relay reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peers {
    /// Everybody whom the lists and `peer_ports` allow, and live allocations of this server.
    #[default]
    Any,
    /// The media ports of this server only: for rooms, and no use to anybody who looks for a tunnel.
    MediaOnly,
}

/// A long-term user of the relay: a name, and either a password or a key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayUser {
    /// Name.
    pub name: String,
    /// Password.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub password: String,
    /// MD5 over `name:realm:password` as 32 hexadecimal digits, for whoever must not know the password. Such a user cannot
    /// sign with SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl RelayUser {
    /// What this user signs with in a realm.
    ///
    /// # Errors
    /// One sentence, without the password.
    pub(crate) fn signing_key(&self, realm: &str) -> Result<turn::Key, String> {
        let name = &self.name;
        match &self.key {
            _ if name.is_empty() => Err("a user has a name".into()),
            None if self.password.is_empty() => Err(format!("{name:?} has neither a password nor a key")),
            None => Ok(turn::Key::of_password(name, realm, &self.password)),
            Some(_) if !self.password.is_empty() => Err(format!("{name:?} has both a password and a key")),
            Some(key) => {
                turn::Key::from_hex(key).ok_or_else(|| format!("the key of {name:?} has not 32 hexadecimal digits"))
            }
        }
    }
}

/// `[relay]`: STUN and TURN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelayConfig {
    /// Whether the relay runs.
    pub enabled: bool,
    /// UDP and TCP listeners.
    pub listen: Vec<SocketAddr>,
    /// Whether `listen` takes TCP; off: UDP only there, where a web server has the TCP port.
    pub listen_tcp: bool,
    /// TLS beside plain TCP, on every listener.
    pub tls: TlsMode,
    /// More listeners, unless `tls = "off"`.
    pub tls_listen: Vec<SocketAddr>,
    /// PEM chain for `tls = "files"`.
    pub tls_cert: Option<PathBuf>,
    /// PEM key for `tls = "files"`.
    pub tls_key: Option<PathBuf>,
    /// DTLS beside plain UDP, on every listener, unless `tls = "off"`.
    pub dtls: bool,
    /// Ranges of proxies whose TCP connections begin with a PROXY header of version 2; nobody else's may.
    pub proxy_protocol_from: Vec<String>,
    /// Threads; 0: one a core.
    pub workers: u8,
    /// Realm of long-term credentials.
    pub realm: String,
    /// Addresses that relayed sockets are bound to; empty: the address of the default route, else loopback.
    pub relay_addresses: Vec<IpAddr>,
    /// The public address of a relay address behind NAT: `public` or `public/private`.
    pub external_addresses: Vec<String>,
    /// Lowest relayed port.
    pub min_port: u16,
    /// Highest relayed port.
    pub max_port: u16,
    /// Lowest relayed port over IPv6; 0: as `min_port`.
    pub min_port_v6: u16,
    /// Highest relayed port over IPv6; 0: as `max_port`.
    pub max_port_v6: u16,
    /// Long-term users.
    pub users: Vec<RelayUser>,
    /// Shared secrets of time-limited (REST) credentials, as `id:secret` or `secret`; the first one signs ours, all are
    /// accepted.
    pub secrets: Vec<String>,
    /// A file with one secret a line, added to `secrets`.
    pub secrets_file: Option<PathBuf>,
    /// Life of the credentials that we hand out, seconds.
    pub credential_ttl_s: u64,
    /// How time-limited names are written.
    pub rest_names: RestNames,
    /// Whether expired credentials, and those of secrets and users that a reload removed, end more than new allocations.
    pub strict_expiry: bool,
    /// Asked by POST for the keys of users that neither `users` nor `secrets` know; empty: nobody is asked.
    pub auth_hook_url: String,
    /// How long an answer of it is remembered, seconds; refusals for 10 s at most.
    pub auth_hook_cache_s: u64,
    /// How long it may take, milliseconds.
    pub auth_hook_timeout_ms: u64,
    /// Who may be reached at all.
    pub peers: Peers,
    /// Ports (`443`, `1024-65535`) that peers outside may have; open ports of this server are always allowed.
    pub peer_ports: Vec<String>,
    /// CIDR ranges that are allowed although the built-in list denies them.
    pub allow_peers: Vec<String>,
    /// CIDR ranges that are denied beside the built-in list.
    pub deny_peers: Vec<String>,
    /// Allocations at once for one user id (REST names: the id part); 0: no limit, as for all limits below.
    pub allocations_per_user: u32,
    /// Allocations at once from one client address; IPv6 by /64.
    pub allocations_per_address: u32,
    /// Allocations at once.
    pub allocations_total: u32,
    /// Payload bytes a second of one allocation, each way for itself; one second's worth may pass at once.
    pub allocation_bytes_per_second: u64,
    /// Packets a second of one allocation, likewise.
    pub allocation_packets_per_second: u64,
    /// Payload bytes a second of one user id, over all its allocations, each way.
    pub user_bytes_per_second: u64,
    /// Packets a second of one user id, likewise.
    pub user_packets_per_second: u64,
    /// Payload bytes a second of the server, each way; shared fairly among the users where they want more.
    pub total_bytes_per_second: u64,
    /// Packets a second of the server, likewise.
    pub total_packets_per_second: u64,
    /// Peers a second that one user id may permit and has not had lately; ten seconds' worth may come at once.
    pub new_peers_per_second: u32,
    /// The family that is relayed for clients that name none.
    pub default_family: DefaultFamily,
    /// A second address, with another IP and another port than the first of `listen`, for RFC 5780; none: it is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stun_alternate: Option<SocketAddr>,
    /// Relay TCP connections to peers as well (RFC 6062): browsers never ask for it, and whoever abuses a relay does.
    pub tcp_relay: bool,
    /// Let an allocation follow its client to another address or transport (RFC 8016).
    pub mobility: bool,
    /// Accept channel numbers up to 0x7FFF, as clients older than RFC 8656 choose them (coturn's tools up to 4.6 do).
    pub rfc5766_channels: bool,
    /// Answers a second (of each worker) to the sources of a /24 or /64 that have not shown a password, over UDP, where a
    /// source may be forged; 0: no limit.
    pub unproven_replies: u32,
    /// URLs handed to clients; empty: derived from `listen` and the address that the client reached us at.
    pub advertise_urls: Vec<String>,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 3478))],
            listen_tcp: true,
            tls: TlsMode::Off,
            tls_listen: vec![SocketAddr::from(([0, 0, 0, 0], 5349))],
            tls_cert: None,
            tls_key: None,
            dtls: true,
            proxy_protocol_from: Vec::new(),
            workers: 0,
            realm: "tern".into(),
            relay_addresses: Vec::new(),
            external_addresses: Vec::new(),
            min_port: 49152,
            max_port: 65535,
            min_port_v6: 0,
            max_port_v6: 0,
            users: Vec::new(),
            secrets: Vec::new(),
            secrets_file: None,
            credential_ttl_s: 12 * 3600,
            rest_names: RestNames::StampFirst,
            strict_expiry: false,
            auth_hook_url: String::new(),
            auth_hook_cache_s: 60,
            auth_hook_timeout_ms: 2000,
            peers: Peers::Any,
            peer_ports: vec!["443".into(), "1024-65535".into()],
            allow_peers: Vec::new(),
            deny_peers: Vec::new(),
            allocations_per_user: 24,
            allocations_per_address: 0,
            allocations_total: 0,
            allocation_bytes_per_second: 0,
            allocation_packets_per_second: 0,
            user_bytes_per_second: 12_500_000,
            user_packets_per_second: 20_000,
            total_bytes_per_second: 0,
            total_packets_per_second: 0,
            new_peers_per_second: 20,
            default_family: DefaultFamily::Ipv4,
            stun_alternate: None,
            tcp_relay: false,
            mobility: false,
            rfc5766_channels: true,
            unproven_replies: 500,
            advertise_urls: Vec::new(),
        }
    }
}

/// How media travels in rooms that are made by joining.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoomMode {
    /// Between participants.
    Mesh,
    /// Through the server.
    #[default]
    Sfu,
}

/// What guests (participants without a token) may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Guests {
    /// Nothing: a token is needed.
    #[default]
    Off,
    /// Join, publish, subscribe.
    Join,
    /// And moderate: mute, kick, lock, record. For development and trusted networks.
    Moderate,
}

/// `[rooms]`: signalling and SFU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoomsConfig {
    /// Whether rooms are served.
    pub enabled: bool,
    /// The media port, UDP and TCP; worker n uses port + n.
    pub listen: SocketAddr,
    /// SFU threads.
    pub workers: u8,
    /// Addresses put into answers (`ip` or `ip:port`), best first; interface addresses and 127.0.0.1 are added.
    pub advertise: Vec<String>,
    /// Guests' rights.
    pub guests: Guests,
    /// Whether joining makes a room that does not exist.
    pub create_on_join: bool,
    /// Mode of rooms made by joining.
    pub mode: RoomMode,
    /// Visible participants at most, unless the room says otherwise.
    pub max_participants: u32,
    /// Secrets that sign room tokens, as `kid:secret`; the first one signs, all are accepted.
    pub token_keys: Vec<String>,
    /// A file with one `kid:secret` a line, added to `token_keys`.
    pub token_keys_file: Option<PathBuf>,
    /// Joins a second from one address; four times as many may come at once.
    pub joins_per_second: u32,
    /// How long a room that joining made outlives its last participant, and a recording its room's, in seconds.
    pub empty_timeout_s: u64,
    /// Relay-only: hand clients `iceTransportPolicy: relay` advice in `features`.
    pub relay_only: bool,
}

impl Default for RoomsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            listen: SocketAddr::from(([0, 0, 0, 0], 8189)),
            workers: 1,
            advertise: Vec::new(),
            guests: Guests::Off,
            create_on_join: true,
            mode: RoomMode::Sfu,
            max_participants: 50,
            token_keys: Vec::new(),
            token_keys_file: None,
            joins_per_second: 50,
            empty_timeout_s: 30,
            relay_only: false,
        }
    }
}

/// `[recording]`: the recorder link, and how rooms are recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecordingConfig {
    /// Bearer keys of recorders; none: no recorder may connect.
    pub keys: Vec<String>,
    /// A file with one key a line, added to `keys`.
    pub keys_file: Option<PathBuf>,
    /// Record every room from its first participant on.
    pub automatic: bool,
    /// What becomes a file, unless the start says otherwise.
    pub mode: signalling::recording::Mode,
    /// Recordings stop by themselves after so many seconds, unless the start says otherwise; 0: never.
    pub max_duration_s: u64,
    /// They stop by themselves once they have so many megabytes, unless the start says otherwise; 0: never.
    pub max_size_mb: u64,
    /// Where they lie below the storage's prefix, each in a folder with its id.
    pub folder: String,
    /// Recordings that are over are deleted after so many days, unless the start said otherwise; 0: never.
    pub keep_days: u32,
}

impl Default for RecordingConfig {
    fn default() -> Self {
        let RecordingOptions { mode, max_duration_s, max_size_mb, tags: _ } = RecordingOptions::default();
        Self {
            keys: Vec::new(),
            keys_file: None,
            automatic: false,
            mode,
            max_duration_s,
            max_size_mb,
            folder: "{room_id}".into(),
            keep_days: 0,
        }
    }
}

/// `[webhooks]`: who is told of recordings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhooksConfig {
    /// Each gets every message by POST.
    pub urls: Vec<String>,
    /// What messages are signed with, as Standard Webhooks says: base64 of 24 to 64 bytes, with `whsec_` before it or not.
    pub secret: String,
    /// A file with one secret a line, added to `secret`: all of them sign.
    pub secret_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../config/turn-server.toml");

    #[test]
    fn the_sample_is_the_defaults() {
        let sample: Config = toml::from_str(SAMPLE).expect("the sample parses");
        assert_eq!(sample, Config::default());
    }

    /// A configuration in which every key is set.
    pub(super) fn with_every_key() -> Config {
        let mut all = Config::default();
        let file = Some(PathBuf::from("x"));
        (all.api.tls_cert, all.api.tls_key, all.api.keys_file) = (file.clone(), file.clone(), file.clone());
        all.relay.stun_alternate = Some(all.rooms.listen);
        (all.relay.tls_cert, all.relay.tls_key) = (file.clone(), file.clone());
        (all.relay.secrets_file, all.rooms.token_keys_file) = (file.clone(), file.clone());
        (all.recording.keys_file, all.storage.access_key_file) = (file.clone(), file.clone());
        (all.storage.secret_key_file, all.storage.session_token_file) = (file.clone(), file.clone());
        all.webhooks.secret_file = file;
        all
    }

    #[test]
    fn the_sample_has_every_key_with_a_comment() {
        let all = with_every_key();
        let all = toml::Table::try_from(all).expect("a configuration is a table");
        for (section, keys) in &all {
            let (_, rest) = SAMPLE.split_once(&format!("\n[{section}]\n")).expect("each section is there");
            let lines: Vec<_> = rest.lines().take_while(|line| !line.starts_with('[')).collect();
            for key in keys.as_table().expect("a section is a table").keys() {
                let is_key = |line: &&str| line.trim_start_matches("# ").starts_with(&format!("{key} ="));
                let at = lines.iter().position(is_key).unwrap_or_else(|| panic!("[{section}] {key} is missing"));
                assert!(at > 0 && lines[at - 1].starts_with("# "), "[{section}] {key} has no comment");
            }
        }
    }
}
