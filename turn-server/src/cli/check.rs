//! `check` and `check-peer`: what a configuration means, without starting anything.

use std::net::{IpAddr, SocketAddr};

use super::Failure;
use crate::config::{Config, Guests, TlsMode};
use crate::handover::OwnAddresses;
use crate::relay;

/// `check-peer ADDR`
#[derive(Debug, clap::Args)]
pub(super) struct PeerArgs {
    /// An address, or address:port.
    peer: String,
}

pub(super) fn check(config: &Config) -> Result<(), Failure> {
    let api = &config.api;
    if api.enabled {
        println!("api        http://{}, tls {:?}, {} keys", api.listen, api.tls, api.keys.len());
    } else {
        println!("api        off");
    }
    let relay = &config.relay;
    if relay.enabled {
        let listen: Vec<_> = relay.listen.iter().map(ToString::to_string).collect();
        let over = if relay.listen_tcp { "udp and tcp" } else { "udp" };
        println!("relay      {} ({over}), relayed ports {}-{}", listen.join(" "), relay.min_port, relay.max_port);
        if relay.tls != TlsMode::Off {
            let more: Vec<_> = relay.tls_listen.iter().map(ToString::to_string).collect();
            println!("           tls {:?} there and on {}", relay.tls, more.join(" "));
        }
    } else {
        println!("relay      off");
    }
    let rooms = &config.rooms;
    if rooms.enabled {
        println!(
            "rooms      media at {} (udp and tcp), guests {:?}, mode {:?}",
            rooms.listen, rooms.guests, rooms.mode
        );
    } else {
        println!("rooms      off");
    }
    if config.rooms.enabled {
        println!("storage    {:?}", config.storage.kind);
    }
    for warning in warnings(config) {
        println!("warning    {warning}");
    }
    println!("The configuration works.");
    Ok(())
}

fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.api.enabled && config.api.keys.is_empty() && config.api.keys_file.is_none() {
        warnings.push("api.keys is empty: nobody can make rooms or tokens over the API".into());
    }
    if config.relay.auth_hook_url.starts_with("http:") {
        warnings.push("relay.auth_hook_url is not encrypted: its answers hold passwords".into());
    }
    let no_tokens = config.rooms.token_keys.is_empty() && config.rooms.token_keys_file.is_none();
    if config.rooms.enabled && no_tokens {
        warnings.push("rooms.token_keys is empty: tokens work until the next restart only".into());
    }
    if config.rooms.enabled && config.rooms.guests == Guests::Moderate && !config.api.listen.ip().is_loopback() {
        warnings.push("rooms.guests = \"moderate\": whoever reaches this server may kick and record".into());
    }
    if config.rooms.enabled && config.recording.keys.is_empty() && config.recording.keys_file.is_none() {
        warnings.push("recording.keys is empty: no recorder can connect, nothing can be recorded".into());
    }
    warnings
}

pub(super) fn peer(config: &Config, args: &PeerArgs) -> Result<(), Failure> {
    let address = args.peer.parse::<SocketAddr>().ok();
    let address = address.or_else(|| args.peer.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 0)));
    let usage = || Failure::Usage(format!("{:?} must be an address or address:port", args.peer));
    let address = address.ok_or_else(usage)?;
    let own = OwnAddresses::of_host(config.public_ips())
        .map_err(|error| Failure::Run(format!("the addresses of this machine cannot be listed: {error}")))?;
    let is_own = own.contains(address.ip());
    let workers = u16::from(config.rooms.workers);
    let media: Vec<u16> = (0..workers).map(|worker| config.rooms.listen.port().saturating_add(worker)).collect();
    let media = if config.rooms.enabled { media } else { Vec::new() };
    let verdict =
        relay::check_peer(&config.relay, own.0, &media, address).map_err(|error| Failure::Usage(error.to_string()))?;
    println!("{} {}: {}", args.peer, if verdict.allowed { "allowed" } else { "denied" }, verdict.rule);
    if is_own {
        println!("An address of this host: only media ports and live relayed ports are reached, inside the process.");
    }
    Ok(())
}
