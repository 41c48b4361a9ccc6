//! `[relay]`, read once at the edge: texts become addresses and ranges, and each mistake becomes one sentence.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use turn::{Family, Key, Policy};

use crate::config::{RelayConfig, RelayUser};

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
    pub(super) realm: String,
    /// One a family at most.
    pub(super) relay_addresses: Vec<RelayAddress>,
    pub(super) min_port: u16,
    pub(super) max_port: u16,
    pub(super) users: Vec<(String, Key)>,
    pub(super) secrets: Vec<String>,
    pub(super) per_user: u32,
    pub(super) rfc5766_channels: bool,
    pub(super) unproven_replies: u32,
    allow_peers: Vec<String>,
    deny_peers: Vec<String>,
}

impl Settings {
    pub(super) fn read(config: &RelayConfig) -> Result<Self, RelayError> {
        if config.listen.is_empty() {
            return Err(wrong("listen", "empty; name at least one address, such as \"0.0.0.0:3478\""));
        }
        if config.min_port < 1024 || config.min_port > config.max_port {
            let why = format!("{} to {} is no range of ports from 1024 up", config.min_port, config.max_port);
            return Err(wrong("min_port", &why));
        }
        let realm_fits = !config.realm.is_empty() && config.realm.len() < 128;
        if !realm_fits {
            return Err(wrong("realm", "must have 1 to 127 characters (RFC 8489 section 14.9)"));
        }
        let keyed = |user: &RelayUser| Ok((user.name.clone(), user.signing_key(&config.realm)?));
        let users =
            config.users.iter().map(keyed).collect::<Result<_, String>>().map_err(|why| wrong("users", &why))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = if config.workers == 0 { cores.min(64) } else { usize::from(config.workers) };
        Ok(Self {
            workers,
            realm: config.realm.clone(),
            relay_addresses: relay_addresses(config)?,
            min_port: config.min_port,
            max_port: config.max_port,
            users,
            secrets: config.secrets.clone(),
            per_user: config.allocations_per_user,
            rfc5766_channels: config.rfc5766_channels,
            unproven_replies: config.unproven_replies,
            allow_peers: config.allow_peers.clone(),
            deny_peers: config.deny_peers.clone(),
        })
    }

    /// Families that relayed addresses can have.
    pub(super) fn families(&self) -> Vec<Family> {
        self.relay_addresses.iter().map(|address| Family::of(address.bind)).collect()
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
        Policy::new(own, &self.allow_peers, &self.deny_peers).map_err(|error| wrong("deny_peers", &error.to_string()))
    }
}

fn wrong(key: &'static str, why: &str) -> RelayError {
    RelayError::Config { key, why: why.into() }
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
        assert!(sentence(|config| config.realm.clear()).starts_with("[relay] realm"));
        let user = RelayUser { name: "alice".into(), password: "pw".into(), key: Some("00".into()) };
        let both = read(|config| config.users = vec![user]).unwrap_err();
        assert_eq!(both, "[relay] users: \"alice\" has both a password and a key");
        assert!(sentence(|config| config.listen.clear()).starts_with("[relay] listen"));
        assert!(sentence(|config| config.allow_peers = vec!["10/8".into()]).starts_with("[relay] allow_peers: `10/8`"));
        assert!(sentence(|config| config.deny_peers = vec!["10/8".into()]).starts_with("[relay] deny_peers: `10/8`"));
    }
}
