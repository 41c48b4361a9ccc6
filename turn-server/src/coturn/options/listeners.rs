//! Where the server listens and relays.

use super::super::values::{address, address_and_port, external, number, port};
use super::{Known, flag, ignored, ignored_flag, list, refused, value};

const NAME_THE_ADDRESS: &str = "interfaces are not chosen by name; give the addresses by listening-ip and relay-ip";
const REDIRECT: &str = "redirecting clients to other servers is not supported; this server would relay by itself";
const WORKERS: &str = "every worker has its own socket, and the kernel shares the clients out";
const ONE_PORT_EACH: &str =
    "each allocation has a port of its own, from min-port to max-port: open these in a firewall";

pub(super) const OPTIONS: &[Known] = &[
    list("listening-ip", |draft, line| {
        draft.listening.push(line.set(address)?);
        Ok(())
    }),
    value("listening-port", |draft, line| {
        draft.port = Some(line.set(port)?);
        Ok(())
    }),
    value("tls-listening-port", |draft, line| {
        draft.tls_port = Some(line.set(port)?);
        Ok(())
    }),
    list("aux-server", |draft, line| {
        draft.more_listeners.push(line.set(address_and_port)?);
        Ok(())
    }),
    value("alt-listening-port", |draft, line| {
        draft.alt_port = Some(line.set(|value| number(value, 0..=65535).map(|port| port as u16))?);
        Ok(())
    }),
    ignored("alt-tls-listening-port", "RFC 5780 asks over UDP and TCP; nobody asks over TLS"),
    value("tcp-proxy-port", |draft, line| {
        draft.proxy_port = Some(line.set(port)?);
        Ok(())
    }),
    list("relay-ip", |draft, line| {
        draft.relay.push(line.set(address)?);
        Ok(())
    }),
    list("external-ip", |draft, line| {
        draft.external.push(line.set(external)?);
        Ok(())
    }),
    value("min-port", |draft, line| {
        draft.min_port = Some(line.set(port)?);
        Ok(())
    }),
    value("max-port", |draft, line| {
        draft.max_port = Some(line.set(port)?);
        Ok(())
    }),
    value("relay-threads", |draft, line| {
        draft.threads = Some(line.set(|value| number(value, 0..=128).map(|threads| threads as u8))?);
        Ok(())
    }),
    refused("listening-device", NAME_THE_ADDRESS),
    refused("relay-device", NAME_THE_ADDRESS),
    refused("alternate-server", REDIRECT),
    refused("tls-alternate-server", REDIRECT),
    refused("tcp-alternate-server", REDIRECT),
    refused("udp-alternate-server", REDIRECT),
    flag("no-udp", |draft, on| draft.no_udp = Some(on)),
    flag("no-tcp", |draft, on| draft.no_tcp = Some(on)),
    ignored_flag("udp-self-balance", WORKERS),
    ignored("cpus", WORKERS),
    ignored("sock-buf-size", "buffers have the size that the rates of the relay need"),
    ignored_flag("udp-recvmmsg", "datagrams are always received in batches"),
    ignored_flag("udp-gso", "datagrams are always sent in batches"),
    ignored_flag("udp-recvmmsg-log", "batches are counted in the metrics"),
    ignored_flag("udp-sendmmsg-log", "batches are counted in the metrics"),
    ignored_flag("multiplex-peer", ONE_PORT_EACH),
    ignored("multiplex-peer-port", ONE_PORT_EACH),
    ignored("multiplex-peer-max-peers", ONE_PORT_EACH),
    ignored("ne", "there is one network engine"),
    flag("keep-address-family", |draft, on| {
        if on.value {
            draft.default_family =
                Some(super::super::values::Set { line: on.line, value: super::super::draft::DefaultFamily::Keep });
        }
    }),
    value("allocation-default-address-family", |draft, line| {
        draft.default_family = Some(line.set(super::super::draft::DefaultFamily::read)?);
        Ok(())
    }),
];
