//! `[relay]`, read once at the edge: texts become addresses and ranges, and each mistake becomes one sentence.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::time::Duration;

use turn::proxy::Proxies;
use turn::{Alternate, Credentials, Family, Key, Limits, Options, Policy, Quotas, Rates, RestNames, Secret};

use super::hook::HookSettings;
use crate::config::{self, DefaultFamily, Peers, RelayConfig, RelayUser};

/// Why the relay cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// A value of the configuration.
    #[error("[relay] {key}: {why}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong, and what is allowed.
        why: String,
    },
    /// A listener's address.
    #[error("cannot listen on {protocol} {address}: {why}")]
    Listen {
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// The address.
        address: SocketAddr,
        /// For people: taken, not ours, not allowed.
        why: String,
    },
    /// The system refuses something that it should not.
    #[error("the system refuses what the relay needs: {0}")]
    System(#[source] io::Error),
}

/// An address that relayed sockets are bound to, and what peers know it as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RelayAddress {
    pub(super) bind: IpAddr,
    pub(super) public: IpAddr,
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) workers: usize,
    /// Where clients are served, over UDP and TCP.
    pub(super) listen: Vec<SocketAddr>,
    pub(super) realm: String,
    /// One a family at most.
    pub(super) relay_addresses: Vec<RelayAddress>,
    ports_v4: RangeInclusive<u16>,
    ports_v6: RangeInclusive<u16>,
    pub(super) users: Vec<(String, Key)>,
    pub(super) secrets: Vec<Secret>,
    pub(super) rest_names: RestNames,
    pub(super) hook: Option<HookSettings>,
    pub(super) alternate: Option<Alternate>,
    options: Options,
    pub(super) quotas: Quotas,
    pub(super) limits: Limits,
    pub(super) unproven_replies: u32,
    pub(super) proxies: Proxies,
    peers: Peers,
    peer_ports: Vec<String>,
    allow_peers: Vec<String>,
    deny_peers: Vec<String>,
}

impl Settings {
    pub(super) fn read(config: &RelayConfig) -> Result<Self, RelayError> {
        if config.listen.is_empty() {
            return Err(wrong("listen", "empty; name at least one address, such as \"0.0.0.0:3478\""));
        }
        let ports_v4 = ports("min_port", config.min_port, config.max_port)?;
        let or = |port: u16, otherwise: u16| if port == 0 { otherwise } else { port };
        let (min_v6, max_v6) = (or(config.min_port_v6, config.min_port), or(config.max_port_v6, config.max_port));
        let ports_v6 = ports("min_port_v6", min_v6, max_v6)?;
        let realm_fits = !config.realm.is_empty() && config.realm.len() < 128;
        if !realm_fits {
            return Err(wrong("realm", "must have 1 to 127 characters (RFC 8489 section 14.9)"));
        }
        if config.secrets_file.is_some() {
            return Err(wrong("secrets_file", "only turn-server itself reads it: put what it holds into secrets"));
        }
        let keyed = |user: &RelayUser| Ok((user.name.clone(), user.signing_key(&config.realm)?));
        let users =
            config.users.iter().map(keyed).collect::<Result<_, String>>().map_err(|why| wrong("users", &why))?;
        let secrets = config.secrets.iter().map(|text| Secret::parse(text)).collect::<Result<_, _>>();
        let secrets = secrets.map_err(|error| wrong("secrets", &error.to_string()))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = if config.workers == 0 { cores.min(64) } else { usize::from(config.workers) };
        let alternate = alternate(config)?;
        let mut listen = config.listen.clone();
        for address in alternate.iter().flat_map(Alternate::addresses) {
            if !listen.contains(&address) {
                listen.push(address);
            }
        }
        Ok(Self {
            workers,
            listen,
            realm: config.realm.clone(),
            relay_addresses: relay_addresses(config)?,
            ports_v4,
            ports_v6,
            users,
            secrets,
            rest_names: match config.rest_names {
                config::RestNames::StampFirst => RestNames::StampFirst,
                config::RestNames::Either => RestNames::Either,
            },
            hook: hook(config),
            options: Options {
                // Who the users are is not known yet.
                anonymity: false,
                keep_family: config.default_family == DefaultFamily::Keep,
                mobility: config.mobility,
                tcp_relay: config.tcp_relay,
                rfc5766_channels: config.rfc5766_channels,
                strict_expiry: config.strict_expiry,
                ask_only_our_own_sources: !config.auth_hook_url.is_empty(),
            },
            alternate,
            quotas: quotas(config),
            limits: limits(config),
            unproven_replies: config.unproven_replies,
            proxies: Proxies::new(&config.proxy_protocol_from)
                .map_err(|error| wrong("proxy_protocol_from", &error.to_string()))?,
            peers: config.peers,
            peer_ports: config.peer_ports.clone(),
            allow_peers: config.allow_peers.clone(),
            deny_peers: config.deny_peers.clone(),
        })
    }

    /// What the cores may do with these users and secrets.
    pub(super) fn options(&self, credentials: &Credentials) -> Options {
        // Whoever is asked elsewhere knows more names than we do.
        Options { anonymity: self.hook.is_none() && credentials.names_are_known(), ..self.options }
    }

    /// Families that relayed addresses can have.
    pub(super) fn families(&self) -> Vec<Family> {
        self.relay_addresses.iter().map(|address| Family::of(address.bind)).collect()
    }

    /// Relayed ports of a family.
    pub(super) fn ports(&self, family: Family) -> RangeInclusive<u16> {
        if family == Family::V4 { self.ports_v4.clone() } else { self.ports_v6.clone() }
    }

    /// The relay address of a family.
    pub(super) fn relay_address(&self, family: Family) -> Option<RelayAddress> {
        self.relay_addresses.iter().copied().find(|address| Family::of(address.bind) == family)
    }

    /// Addresses that are ours because the configuration says so.
    pub(super) fn own_addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.relay_addresses.clone().into_iter().flat_map(|address| [address.bind, address.public])
    }

    /// The peer policy of a host with these own addresses.
    pub(super) fn policy(&self, own: impl IntoIterator<Item = IpAddr>) -> Result<Policy, RelayError> {
        // Each list on its own first, so that the message names the right key.
        Policy::new([], &self.allow_peers, &[]).map_err(|error| wrong("allow_peers", &error.to_string()))?;
        let policy = Policy::new(own, &self.allow_peers, &self.deny_peers)
            .map_err(|error| wrong("deny_peers", &error.to_string()))?
            .with_ports(&self.peer_ports)
            .map_err(|error| wrong("peer_ports", &error.to_string()))?;
        Ok(match self.peers {
            Peers::Any => policy,
            Peers::MediaOnly => policy.media_only(),
        })
    }
}

fn hook(config: &RelayConfig) -> Option<HookSettings> {
    (!config.auth_hook_url.is_empty()).then(|| HookSettings {
        url: config.auth_hook_url.clone(),
        timeout: Duration::from_millis(config.auth_hook_timeout_ms),
        cache: Duration::from_secs(config.auth_hook_cache_s),
        realm: config.realm.clone(),
    })
}

fn quotas(config: &RelayConfig) -> Quotas {
    Quotas {
        per_user: config.allocations_per_user,
        per_address: config.allocations_per_address,
        total: config.allocations_total,
    }
}

fn limits(config: &RelayConfig) -> Limits {
    Limits {
        allocation: Rates { bytes: config.allocation_bytes_per_second, packets: config.allocation_packets_per_second },
        user: Rates { bytes: config.user_bytes_per_second, packets: config.user_packets_per_second },
        total: Rates { bytes: config.total_bytes_per_second, packets: config.total_packets_per_second },
        new_peers: config.new_peers_per_second,
    }
}

pub(super) fn wrong(key: &'static str, why: &str) -> RelayError {
    RelayError::Config { key, why: why.into() }
}

/// The first listener and the alternate one: both named, of one family, with different IPs and ports.
fn alternate(config: &RelayConfig) -> Result<Option<Alternate>, RelayError> {
    let Some(other) = config.stun_alternate else { return Ok(None) };
    let fits = |listen: &&SocketAddr| listen.is_ipv4() == other.is_ipv4();
    let primary =
        *config.listen.iter().find(fits).ok_or_else(|| wrong("stun_alternate", "no listener has its family"))?;
    if [primary, other].iter().any(|address| address.ip().is_unspecified() || address.port() == 0) {
        return Err(wrong(
            "stun_alternate",
            "it and the first listener of its family need an IP and a port of their own",
        ));
    }
    if primary.ip() == other.ip() || primary.port() == other.port() {
        return Err(wrong("stun_alternate", &format!("must differ from {primary} in both IP and port (RFC 5780)")));
    }
    Ok(Some(Alternate { primary, other }))
}

fn ports(key: &'static str, min: u16, max: u16) -> Result<RangeInclusive<u16>, RelayError> {
    let good = min >= 1024 && min <= max;
    good.then_some(min..=max).ok_or_else(|| wrong(key, &format!("{min} to {max} is no range of ports from 1024 up")))
}

fn relay_addresses(config: &RelayConfig) -> Result<Vec<RelayAddress>, RelayError> {
    let mut bind = config.relay_addresses.clone();
    if let Some(ip) = bind.iter().find(|ip| ip.is_unspecified() || ip.is_multicast()) {
        return Err(wrong("relay_addresses", &format!("{ip} is not an address of an interface")));
    }
    if bind.is_empty() {
        let routes = [SocketAddr::from(([192, 0, 2, 1], 9)), SocketAddr::from((Ipv6Addr::from(0x2001_0db8 << 96), 9))];
        bind.extend(routes.into_iter().filter_map(default_route));
        if bind.is_empty() {
            bind.push(Ipv4Addr::LOCALHOST.into());
        }
    }
    let mut addresses: Vec<_> = bind.into_iter().map(|bind| RelayAddress { bind, public: bind }).collect();
    addresses.sort_by_key(|address| Family::of(address.bind));
    if addresses.windows(2).any(|two| Family::of(two[0].bind) == Family::of(two[1].bind)) {
        return Err(wrong("relay_addresses", "one IPv4 and one IPv6 address at most"));
    }
    for text in &config.external_addresses {
        apply_external(&mut addresses, text)?;
    }
    Ok(addresses)
}

/// `public` or `public/private`: peers of a relay behind NAT know it by the public address.
fn apply_external(addresses: &mut [RelayAddress], text: &str) -> Result<(), RelayError> {
    let bad = || wrong("external_addresses", &format!("`{text}` is not an address, or two as public/private"));
    let (public, private) = match text.split_once('/') {
        Some((public, private)) => (public, Some(private.trim().parse::<IpAddr>().map_err(|_| bad())?)),
        None => (text, None),
    };
    let public: IpAddr = public.trim().parse().map_err(|_| bad())?;
    let fits = |address: &&mut RelayAddress| {
        private.map_or(address.bind.is_ipv4() == public.is_ipv4(), |private| private == address.bind)
    };
    let address = addresses.iter_mut().find(fits);
    let why = format!("`{text}` belongs to no relay address; set relay_addresses");
    address.ok_or_else(|| wrong("external_addresses", &why))?.public = public;
    Ok(())
}

/// The address that packets to the internet leave from. Nothing is sent to find out.
fn default_route(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(edit: impl FnOnce(&mut RelayConfig)) -> Result<Settings, String> {
        let mut config = RelayConfig { relay_addresses: vec![[10, 0, 0, 5].into()], ..RelayConfig::default() };
        edit(&mut config);
        Settings::read(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn external_addresses_map_public_to_private() {
        let wanted = |public: &str| RelayAddress { bind: [10, 0, 0, 5].into(), public: public.parse().unwrap() };
        let of = |text: &str| read(|config| config.external_addresses = vec![text.into()]).unwrap().relay_addresses;
        assert_eq!(of("198.20.0.1"), [wanted("198.20.0.1")]);
        assert_eq!(of("198.20.0.1/10.0.0.5"), [wanted("198.20.0.1")]);
    }

    #[test]
    fn ipv6_has_ports_of_its_own_where_the_configuration_says_so() {
        let of = |edit: fn(&mut RelayConfig)| {
            let settings = read(edit).unwrap();
            (settings.ports(Family::V4), settings.ports(Family::V6))
        };
        assert_eq!(of(|_| {}), (49152..=65535, 49152..=65535));
        let (v4, v6) =
            of(|config| (config.max_port, config.min_port_v6, config.max_port_v6) = (50_000, 50_001, 50_009));
        assert_eq!((v4, v6), (49152..=50_000, 50_001..=50_009));
        assert_eq!(of(|config| config.max_port_v6 = 50_000).1, 49152..=50_000);
    }

    #[test]
    fn each_mistake_is_one_sentence_with_its_key() {
        let sentence = |edit: fn(&mut RelayConfig)| {
            let settings = read(edit);
            settings.and_then(|settings| settings.policy([]).map_err(|error| error.to_string())).unwrap_err()
        };
        let external = |config: &mut RelayConfig| config.external_addresses = vec!["198.20.0.1/10.0.0.6".into()];
        assert_eq!(
            sentence(external),
            "[relay] external_addresses: `198.20.0.1/10.0.0.6` belongs to no relay address; set relay_addresses"
        );
        assert!(sentence(|config| config.external_addresses = vec!["x".into()]).contains("`x` is not an address"));
        assert!(sentence(|config| config.relay_addresses.push([0, 0, 0, 0].into())).contains("0.0.0.0"));
        assert!(sentence(|config| config.min_port = 80).starts_with("[relay] min_port: 80 to 65535"));
        assert!(sentence(|config| config.min_port_v6 = 80).starts_with("[relay] min_port_v6: 80 to 65535"));
        assert!(sentence(|config| config.realm.clear()).starts_with("[relay] realm"));
        let user = RelayUser { name: "alice".into(), password: "pw".into(), key: Some("00".into()) };
        let both = read(|config| config.users = vec![user]).unwrap_err();
        assert_eq!(both, "[relay] users: \"alice\" has both a password and a key");
        assert!(sentence(|config| config.listen.clear()).starts_with("[relay] listen"));
        let alternate = |config: &mut RelayConfig| config.stun_alternate = Some(([10, 0, 0, 6], 3479).into());
        assert!(sentence(alternate).starts_with("[relay] stun_alternate: it and the first listener"));
        assert!(
            sentence(|config| {
                config.listen = vec![([10, 0, 0, 5], 3478).into()];
                config.stun_alternate = Some(([10, 0, 0, 6], 3478).into());
            })
            .contains("must differ from 10.0.0.5:3478")
        );
        assert!(sentence(|config| config.allow_peers = vec!["10/8".into()]).starts_with("[relay] allow_peers: `10/8`"));
        assert!(sentence(|config| config.deny_peers = vec!["10/8".into()]).starts_with("[relay] deny_peers: `10/8`"));
    }
}
