//! Listeners, relayed addresses and certificates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use turn::Family;

use super::is_on;
use crate::config::RelayConfig;
use crate::coturn::draft::Draft;
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
    for (option, line) in [("no-udp", is_on(draft.no_udp)), ("no-tcp", is_on(draft.no_tcp))] {
        if line.is_some() {
            notes.add(
                line,
                option,
                Fortune::Ignored,
                "each listener takes UDP and TCP; close one of them in a firewall",
            );
        }
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
        if named.iter().any(|other| Family::of(*other) == Family::of(ip.value)) {
            let text = "it is not relayed from: there is one relayed address of each family, and the first one counts";
            notes.add(Some(ip.line), option, Fortune::Differs, text);
        } else {
            named.push(ip.value);
        }
    }
    for external in &draft.external {
        let Set { line, value } = external;
        let text = match value.private {
            Some(private) => format!("{}/{private}", value.public),
            None => value.public.to_string(),
        };
        // A private address that nothing else names is the one to relay from.
        if let Some(private) = value.private
            && !named.iter().any(|other| Family::of(*other) == Family::of(private))
        {
            named.push(private);
        }
        if value.private.is_some_and(|private| !named.contains(&private)) {
            let why = format!("{text} belongs to no relayed address; the first relay-ip of its family does");
            notes.add(Some(*line), "external-ip", Fortune::Ignored, why);
        } else {
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

pub(super) fn encryption(draft: &Draft, relay: &mut RelayConfig, notes: &mut Notes) {
    let _ = (relay, TLS_PORT, &draft.tls_port, &draft.dtls, &draft.no_dtls, &draft.no_tls);
    if let (Some(one), None, option) | (None, Some(one), option) =
        (&draft.cert, &draft.key, if draft.cert.is_some() { "cert" } else { "pkey" })
    {
        let text = "it takes cert and pkey to speak TLS; neither coturn nor this server does with one of them";
        notes.add(Some(one.line), option, Fortune::Ignored, text);
    }
}

fn of(said: Option<Set<u16>>, default: u16) -> u16 {
    said.map_or(default, |said| said.value)
}
