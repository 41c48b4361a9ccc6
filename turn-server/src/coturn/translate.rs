//! What a draft means as a configuration of ours: defaults as coturn has them, and remarks where it is not the same.

mod access;
mod differences;
mod network;

use super::draft::Draft;
use super::values::Set;
use super::{Fortune, Host, Notes};
use crate::config::{ApiConfig, Config, RelayConfig, RoomsConfig};

/// The relay of a draft, and nothing else.
pub(super) fn translate(draft: &Draft, host: &Host, notes: &mut Notes) -> Config {
    let mut relay = RelayConfig::default();
    network::listeners(draft, host, &mut relay, notes);
    network::relayed_addresses(draft, &mut relay, notes);
    network::encryption(draft, host, &mut relay, notes);
    access::credentials(draft, &mut relay, notes);
    access::limits(draft, &mut relay, notes);
    network::behaviour_discovery(draft, &mut relay, notes);
    access::peers(draft, host, &mut relay, notes);
    protocol(draft, &mut relay, notes);
    differences::note(draft, notes);
    let mut config = Config {
        relay,
        api: ApiConfig { enabled: false, ..ApiConfig::default() },
        rooms: RoomsConfig { enabled: false, ..RoomsConfig::default() },
        ..Config::default()
    };
    metrics(draft, &mut config.api, notes);
    if let Some(verbosity) = draft.verbosity {
        config.log.level = verbosity.value.level().into();
    }
    config
}

fn protocol(draft: &Draft, relay: &mut RelayConfig, notes: &mut Notes) {
    if let Some(old) = draft.old_channels {
        relay.rfc5766_channels = old.value;
    }
    if let Some(threads) = draft.threads {
        // coturn's 0 means no threads beside the one that listens.
        relay.workers = threads.value.max(1);
    }
    if let Some(on) = is_on(draft.no_udp_relay) {
        notes.add(Some(on), "no-udp-relay", Fortune::Refused, "a relay without UDP is not supported");
    }
    relay.mobility = is_on(draft.mobility).is_some();
    let fixed = [
        ("max-allocate-lifetime", draft.max_lifetime, 3600, "an allocation lives at most 3600 s between two Refreshes"),
        ("channel-lifetime", draft.channel_lifetime, 600, "RFC 8656 section 12 has 600 s"),
        ("permission-lifetime", draft.permission_lifetime, 300, "RFC 8656 section 9 has 300 s"),
        ("stale-nonce", draft.nonce_life, 3600, "a nonce is good for at most an hour, as RFC 8656 section 5 has it"),
    ];
    for (option, said, ours, why) in fixed {
        if let Some(said) = said.filter(|said| said.value != ours) {
            notes.add(Some(said.line), option, Fortune::Ignored, why);
        }
    }
}

fn metrics(draft: &Draft, api: &mut ApiConfig, notes: &mut Notes) {
    if is_on(draft.metrics).is_none() {
        return;
    }
    api.enabled = true;
    let any = std::net::Ipv4Addr::UNSPECIFIED.into();
    api.listen.set_ip(draft.metrics_address.map_or(any, |address| address.value));
    api.listen.set_port(draft.metrics_port.map_or(9641, |port| port.value));
    if let Some(path) = draft.metrics_path.as_ref().filter(|path| path.value != "/metrics") {
        notes.add(Some(path.line), "prometheus-path", Fortune::Ignored, "the path is /metrics");
    }
}

/// The line of a switch that is on.
fn is_on(switch: Option<Set<bool>>) -> Option<usize> {
    switch.filter(|switch| switch.value).map(|switch| switch.line)
}
