//! What goes into `RTCConfiguration.iceServers`: our relay under the address that the client reached us at, with
//! credentials that live for a while (draft-uberti-behave-turn-rest-00).

use std::net::{IpAddr, SocketAddr};

use signalling::message::IceServer;

/// A user name with its expiry, and the password that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: String,
}

/// Mints credentials that are good until `expires`, seconds since 1970; `secret` is an entry of `[relay] secrets`.
pub(crate) fn mint(secret: &str, user: &str, expires: u64) -> Option<Credentials> {
    let username = format!("{expires}:{user}");
    Some(Credentials { password: turn::Secret::parse(secret).ok()?.password(&username), username })
}

/// Where the relay is reached.
#[derive(Debug, Clone)]
pub(crate) struct RelayUrls {
    /// As configured; empty: derived.
    pub(crate) advertised: Vec<String>,
    /// What the relay listens on.
    pub(crate) listeners: Vec<SocketAddr>,
    /// Whether over TCP as well.
    pub(crate) tcp: bool,
    /// Where it takes TLS with a certificate that clients can verify.
    pub(crate) secure: Vec<SocketAddr>,
}

impl RelayUrls {
    /// The TURN URLs for a client that reached us under `host` (no port, IPv6 in brackets), best first.
    pub(crate) fn turn(&self, host: &str) -> Vec<String> {
        if !self.advertised.is_empty() {
            return self.advertised.iter().filter(|url| url.starts_with("turn")).cloned().collect();
        }
        let places = places(&self.listeners, |listener| reached_under(listener, host));
        let by = |transport: &str| {
            places.iter().map(move |place| format!("turn:{place}?transport={transport}")).collect::<Vec<_>>()
        };
        let tcp = if self.tcp { by("tcp") } else { Vec::new() };
        // Last, because it costs most; where nothing else passes, nothing else is left.
        let secure = places_of_tls(&self.secure, host);
        let tls = secure.iter().map(|place| format!("turns:{place}?transport=tcp")).collect();
        [by("udp"), tcp, tls].concat()
    }

    /// The STUN URLs likewise.
    pub(crate) fn stun(&self, host: &str) -> Vec<String> {
        if !self.advertised.is_empty() {
            return self.advertised.iter().filter(|url| url.starts_with("stun")).cloned().collect();
        }
        let places = places(&self.listeners, |listener| reached_under(listener, host));
        places.iter().map(|place| format!("stun:{place}")).collect()
    }

    /// The entries for a client.
    pub(crate) fn ice_servers(&self, host: &str, credentials: Credentials) -> Vec<IceServer> {
        let stun = self.stun(host);
        let turn = self.turn(host);
        let mut servers = Vec::new();
        if !stun.is_empty() {
            servers.push(IceServer { urls: stun, username: None, credential: None });
        }
        if !turn.is_empty() {
            let Credentials { username, password } = credentials;
            servers.push(IceServer { urls: turn, username: Some(username), credential: Some(password) });
        }
        servers
    }
}

/// Each `host:port` once.
fn places(listeners: &[SocketAddr], host: impl Fn(SocketAddr) -> Option<String>) -> Vec<String> {
    let mut places: Vec<String> = Vec::new();
    for listener in listeners {
        let place = match host(*listener) {
            Some(host) => format!("{host}:{}", listener.port()),
            None => continue,
        };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// A certificate is for a name: where the client knows one of ours, it must use that and no address.
fn places_of_tls(listeners: &[SocketAddr], host: &str) -> Vec<String> {
    let is_name = host != "localhost" && !host.starts_with('[') && host.parse::<IpAddr>().is_err();
    places(listeners, |listener| if is_name { Some(host.to_owned()) } else { reached_under(listener, host) })
}

/// Under which host a client reaches a listener that reached us under `host`; `None`: not at all.
fn reached_under(listener: SocketAddr, host: &str) -> Option<String> {
    let (ip, is_v6_literal) = (listener.ip(), host.starts_with('['));
    match (ip, host) {
        // A listener on one address is reached there and nowhere else; one on all is reached like we were.
        _ if !ip.is_unspecified() => Some(if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }),
        // Names of this machine mean either family to a browser, but only one of them listens.
        (IpAddr::V4(_), "localhost") => Some("127.0.0.1".into()),
        (IpAddr::V6(_), "localhost") => Some("[::1]".into()),
        (IpAddr::V4(_), _) if is_v6_literal => None,
        _ => Some(host.to_owned()),
    }
}

/// The host part of a `Host` header: without port, IPv6 with its brackets.
pub(crate) fn host_of(header: &str) -> &str {
    match header.rfind(']') {
        Some(end) => &header[..=end],
        None => header.split(':').next().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_that_coturn_computes() {
        // printf 1700000000:alice | openssl dgst -sha1 -hmac secret -binary | base64
        let credentials = mint("2026:secret", "alice", 1_700_000_000).expect("a secret");
        assert_eq!(credentials.username, "1700000000:alice");
        assert_eq!(credentials.password, "d8soP47RbdIKLDUOpnJPVQyq5Ts=");
    }

    #[test]
    fn tls_is_reached_under_the_name_that_the_certificate_is_for() {
        let listeners: Vec<SocketAddr> = vec!["192.0.2.1:3478".parse().expect("an address")];
        let secure = vec!["192.0.2.1:443".parse().expect("an address"), "[::]:443".parse().expect("an address")];
        let urls = RelayUrls { advertised: Vec::new(), listeners, tcp: false, secure };
        let wanted = ["turn:192.0.2.1:3478?transport=udp", "turns:a.example:443?transport=tcp"];
        assert_eq!(urls.turn("a.example"), wanted);
        assert_eq!(urls.turn("[::1]")[1..], ["turns:192.0.2.1:443?transport=tcp", "turns:[::1]:443?transport=tcp"]);
        let advertised = vec!["turns:turn.example:443?transport=tcp".to_owned(), "stun:stun.example".to_owned()];
        assert_eq!(RelayUrls { advertised, ..urls }.turn("a.example"), ["turns:turn.example:443?transport=tcp"]);
    }

    #[test]
    fn urls_follow_the_way_the_client_came() {
        let listeners = vec!["0.0.0.0:3478".parse().expect("an address"), "[::]:3478".parse().expect("an address")];
        let urls = RelayUrls { advertised: Vec::new(), listeners, tcp: true, secure: Vec::new() };
        assert_eq!(urls.turn("a.example"), ["turn:a.example:3478?transport=udp", "turn:a.example:3478?transport=tcp"]);
        assert_eq!(urls.stun("[::1]"), ["stun:[::1]:3478"]);
        assert_eq!(urls.stun("localhost"), ["stun:127.0.0.1:3478", "stun:[::1]:3478"]);
        let listeners = vec!["127.0.0.1:9".parse().expect("an address")];
        let one = RelayUrls { advertised: Vec::new(), listeners, tcp: false, secure: Vec::new() };
        assert_eq!(one.turn("localhost"), ["turn:127.0.0.1:9?transport=udp"]);
        assert_eq!(one.stun("localhost"), ["stun:127.0.0.1:9"]);
        assert_eq!((host_of("a:80"), host_of("[::1]:80"), host_of("a")), ("a", "[::1]", "a"));
    }
}
