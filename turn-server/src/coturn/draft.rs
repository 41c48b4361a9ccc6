//! What the lines of a file say, before it means anything: one field an option that is used.

use std::net::{IpAddr, SocketAddr};

use super::values::{External, Set, User};
use turn::AddressRange;

/// The family of relayed addresses that nobody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DefaultFamily {
    V4,
    V6,
    /// That of the client's own address.
    Keep,
}

impl DefaultFamily {
    pub(super) fn read(value: &str) -> Result<Self, String> {
        match value {
            "ipv4" => Ok(Self::V4),
            "ipv6" => Ok(Self::V6),
            "keep" => Ok(Self::Keep),
            _ => Err(format!("{value:?} must be ipv4, ipv6 or keep")),
        }
    }
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verbosity {
    Error,
    Warn,
    Info,
    Debug,
}

impl Verbosity {
    pub(super) fn read(value: &str) -> Result<Self, String> {
        match value.to_ascii_lowercase().as_str() {
            "error" => Ok(Self::Error),
            "warning" | "warn" => Ok(Self::Warn),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            _ => Err(format!("{value:?} must be debug, info, warning or error")),
        }
    }

    /// The level of ours.
    pub(super) fn level(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// See the module. Fields are named by what they mean, in the order of coturn's own manual.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) listening: Vec<Set<IpAddr>>,
    pub(super) port: Option<Set<u16>>,
    pub(super) tls_port: Option<Set<u16>>,
    pub(super) more_listeners: Vec<Set<SocketAddr>>,
    pub(super) alt_port: Option<Set<u16>>,
    pub(super) proxy_port: Option<Set<u16>>,
    pub(super) relay: Vec<Set<IpAddr>>,
    pub(super) external: Vec<Set<External>>,
    pub(super) min_port: Option<Set<u16>>,
    pub(super) max_port: Option<Set<u16>>,
    pub(super) threads: Option<Set<u8>>,
    pub(super) no_udp: Option<Set<bool>>,
    pub(super) no_tcp: Option<Set<bool>>,
    pub(super) default_family: Option<Set<DefaultFamily>>,
    pub(super) long_term: Option<Set<bool>>,
    pub(super) use_secret: Option<Set<bool>>,
    pub(super) secrets: Vec<Set<String>>,
    pub(super) users: Vec<Set<User>>,
    pub(super) realm: Option<Set<String>>,
    pub(super) separator: Option<Set<String>>,
    pub(super) allowed: Vec<Set<AddressRange>>,
    pub(super) denied: Vec<Set<AddressRange>>,
    pub(super) per_user: Option<Set<u32>>,
    pub(super) total: Option<Set<u32>>,
    /// Bytes a second of one session, each way.
    pub(super) session_bytes: Option<Set<u64>>,
    /// Bytes a second of the whole server, each way.
    pub(super) total_bytes: Option<Set<u64>>,
    pub(super) limit_replies: Option<Set<bool>>,
    pub(super) replies: Option<Set<u32>>,
    /// Seconds, as the other lifetimes.
    pub(super) max_lifetime: Option<Set<u32>>,
    pub(super) channel_lifetime: Option<Set<u32>>,
    pub(super) permission_lifetime: Option<Set<u32>>,
    pub(super) no_udp_relay: Option<Set<bool>>,
    pub(super) no_tcp_relay: Option<Set<bool>>,
    pub(super) stun_only: Option<Set<bool>>,
    pub(super) mobility: Option<Set<bool>>,
    pub(super) behaviour: Option<Set<bool>>,
    pub(super) old_channels: Option<Set<bool>>,
    pub(super) nonce_life: Option<Set<u32>>,
    pub(super) cert: Option<Set<String>>,
    pub(super) key: Option<Set<String>>,
    pub(super) no_tls: Option<Set<bool>>,
    pub(super) dtls: Option<Set<bool>>,
    pub(super) no_dtls: Option<Set<bool>>,
    pub(super) metrics: Option<Set<bool>>,
    pub(super) metrics_port: Option<Set<u16>>,
    pub(super) metrics_address: Option<Set<IpAddr>>,
    pub(super) metrics_path: Option<Set<String>>,
    pub(super) verbosity: Option<Set<Verbosity>>,
}
