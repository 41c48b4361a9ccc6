//! Listeners, relayed addresses and certificates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::is_on;
use crate::config::{DefaultFamily, RelayConfig, TlsMode};
use crate::coturn::draft::{DefaultFamily as Family, Draft};
use crate::coturn::values::Set;
use crate::coturn::{Fortune, Host, Notes};

/// coturn's defaults.
const PORT: u16 = 3478;
const TLS_PORT: u16 = 5349;
const MIN_PORT: u16 = 49152;
const MAX_PORT: u16 = 65535;

pub(super) fn listeners(draft: &Draft, host: &Host, relay: &mut RelayConfig, notes: &mut Notes) {
    relay.listen = listening_ips(draft, host).map(|ip| SocketAddr::new(ip, of(draft.port, PORT))).collect();
    relay.listen.extend(draft.more_listeners.iter().map(|listener| listener.value));
    relay.listen_tcp = is_on(draft.no_tcp).is_none();
    if let Some(line) = is_on(draft.no_udp) {
        let text = "every listener takes UDP, whose sources can be forged; close it in a firewall and leave this out";
        notes.add(Some(line), "no-udp", Fortune::Refused, text);
    }
    if let Some(family) = draft.default_family {
        relay.default_family = match family.value {
            Family::V4 => DefaultFamily::Ipv4,
            Family::Keep => DefaultFamily::Keep,
            Family::V6 => {
                let text = "clients that name no family get IPv4 (RFC 8656 section 7.2) or, by `keep`, their own";
                notes.add(Some(family.line), "allocation-default-address-family", Fortune::Refused, text);
                relay.default_family
            }
        };
    }
    if let Some(proxy) = draft.proxy_port {
        let text = "whoever reaches that port could say to come from any address; name your proxies by \
                    [relay] proxy_protocol_from, and every listener believes them";
        notes.add(Some(proxy.line), "tcp-proxy-port", Fortune::Refused, text);
    }
}

fn listening_ips(draft: &Draft, host: &Host) -> impl Iterator<Item = IpAddr> {
    let named: Vec<IpAddr> = draft.listening.iter().map(|ip| ip.value).collect();
    let v6 = host.has_ipv6().then_some(Ipv6Addr::UNSPECIFIED.into());
    let any = [Some(Ipv4Addr::UNSPECIFIED.into()), v6].into_iter().flatten().filter(|_| draft.listening.is_empty());
    named.into_iter().chain(any)
}

pub(super) fn relayed_addresses(draft: &Draft, relay: &mut RelayConfig, notes: &mut Notes) {
    // Without relay-ip, coturn relays from the addresses that it listens at.
    let (option, said) =
        if draft.relay.is_empty() { ("listening-ip", &draft.listening) } else { ("relay-ip", &draft.relay) };
    let mut named: Vec<IpAddr> = Vec::new();
    for ip in said.iter().filter(|ip| !ip.value.is_unspecified()) {
        if named.iter().any(|other| other.is_ipv4() == ip.value.is_ipv4()) {
            let text = "it is not relayed from: there is one relayed address of each family, and the first one counts";
            notes.add(Some(ip.line), option, Fortune::Differs, text);
        } else {
            named.push(ip.value);
        }
    }
    // Families that have one for all.
    let mut plain = Vec::new();
    for external in &draft.external {
        let Set { line, value } = external;
        let text = match value.private {
            Some(private) => format!("{}/{private}", value.public),
            None => value.public.to_string(),
        };
        // A private address that nothing else names is the one to relay from.
        if let Some(private) = value.private
            && !named.iter().any(|other| other.is_ipv4() == private.is_ipv4())
        {
            named.push(private);
        }
        if value.private.is_some_and(|private| !named.contains(&private)) {
            let why = format!("{text} belongs to no relayed address; the first relay-ip of its family does");
            notes.add(Some(*line), "external-ip", Fortune::Ignored, why);
        } else if value.private.is_none() && plain.contains(&value.public.is_ipv4()) {
            let why = "the first one of a family counts".to_owned();
            notes.add(Some(*line), "external-ip", Fortune::Ignored, why);
        } else {
            if value.private.is_none() {
                plain.push(value.public.is_ipv4());
            }
            relay.external_addresses.push(text);
        }
    }
    relay.relay_addresses = named;
    (relay.min_port, relay.max_port) = (of(draft.min_port, MIN_PORT), of(draft.max_port, MAX_PORT));
    let line = draft.min_port.or(draft.max_port).map(|port| port.line);
    if relay.min_port > relay.max_port || relay.min_port < 1024 {
        let text = format!("{} to {} must be a range of ports from 1024 up", relay.min_port, relay.max_port);
        notes.add(line, "min-port", Fortune::Refused, text);
    }
}

pub(super) fn encryption(draft: &Draft, host: &Host, relay: &mut RelayConfig, notes: &mut Notes) {
    let line = draft.cert.as_ref().or(draft.key.as_ref()).map(|file| file.line);
    match (&draft.cert, &draft.key) {
        (Some(cert), Some(key)) if is_on(draft.no_tls).is_none() => {
            relay.tls = TlsMode::Files;
            relay.tls_cert = Some(cert.value.clone().into());
            relay.tls_key = Some(key.value.clone().into());
            relay.dtls = is_on(draft.no_dtls).is_none() && draft.dtls.is_none_or(|on| on.value);
            let port = of(draft.tls_port, TLS_PORT);
            relay.tls_listen = listening_ips(draft, host).map(|ip| SocketAddr::new(ip, port)).collect();
            if let Some(line) = is_on(draft.no_tcp) {
                let text = format!("port {port} takes TCP without TLS as well; coturn takes TLS only there");
                notes.add(Some(line), "no-tcp", Fortune::Differs, text);
            }
        }
        (Some(_), None) | (None, Some(_)) => {
            let text = "it takes cert and pkey to speak TLS; neither coturn nor this server does with one of them";
            notes.add(line, if draft.cert.is_some() { "cert" } else { "pkey" }, Fortune::Ignored, text);
        }
        _ => {}
    }
}

/// RFC 5780 needs a second address; coturn takes the next listening-ip, and the next port.
pub(super) fn behaviour_discovery(draft: &Draft, relay: &mut RelayConfig, notes: &mut Notes) {
    let Some(line) = is_on(draft.behaviour) else { return };
    let first = draft.listening.first().map(|ip| ip.value);
    let second = draft.listening.iter().skip(1).map(|ip| ip.value);
    let second = first.and_then(|first| second.clone().find(|ip| ip.is_ipv4() == first.is_ipv4() && *ip != first));
    let port = of(draft.port, PORT);
    let next = draft.alt_port.map(|port| port.value).filter(|port| *port != 0).unwrap_or(port.saturating_add(1));
    relay.stun_alternate = second.map(|ip| SocketAddr::new(ip, next));
    if relay.stun_alternate.is_none() {
        notes.add(Some(line), "rfc5780", Fortune::Ignored, "it takes two listening-ip of one family");
    }
}

fn of(said: Option<Set<u16>>, default: u16) -> u16 {
    said.map_or(default, |said| said.value)
}
