//! What the threads of relay and SFU count, read when somebody asks: nothing of it costs a packet anything.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use turn::Transport;

use crate::relay::RelayStats;
use crate::sfu::Stats;

/// One look at both.
#[derive(Debug)]
pub(crate) struct Threads {
    /// The relay, all workers together.
    pub(crate) relay: Option<RelayStats>,
    /// The SFU, worker by worker.
    pub(crate) media: Vec<Stats>,
}

impl Collector for Threads {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(relay) = &self.relay {
            encode_relay(&mut encoder, relay)?;
        }
        encode_media(&mut encoder, &self.media)
    }
}

fn encode_relay(encoder: &mut DescriptorEncoder<'_>, stats: &RelayStats) -> fmt::Result {
    let core = &stats.core;
    gauge(encoder, "relay_allocations", "Live allocations", core.allocations)?;
    let over = Transport::ALL.map(|transport| (transport.label(), core.allocations_over[transport as usize]));
    family(
        encoder,
        level,
        ("relay_allocations_over", "Live allocations by the client's transport", "transport"),
        over,
    )?;
    gauge(encoder, "relay_permissions", "Live permissions", core.permissions)?;
    gauge(encoder, "relay_channels", "Bound channels", core.channels)?;
    gauge(encoder, "relay_connections", "TCP connections of clients", stats.connections)?;
    gauge(encoder, "relay_sessions", "DTLS sessions of clients", stats.sessions)?;
    gauge(encoder, "relay_ports", "Relayed ports in use or reserved", stats.ports_used)?;
    for (name, help, value) in [
        ("relay_bindings", "Binding requests answered", core.bindings),
        ("relay_allocations_made", "Allocations made", core.allocations_made),
        ("relay_connections_refused", "TCP connections refused or closed for cause", stats.connections_refused),
        ("relay_sessions_refused", "DTLS sessions refused or ended for cause", stats.sessions_refused),
        ("relay_dtls_dropped", "DTLS datagrams of no session", stats.dtls_dropped),
        ("relay_handed_over", "Packets handed over inside the process", stats.handed_over),
        ("relay_received_by_handover", "Packets that came by hand-over", stats.received_by_handover),
        ("relay_handover_dropped", "Packets that found a full lane, or nobody", stats.handover_dropped),
        ("relay_send_dropped", "Packets that the kernel did not take", stats.send_dropped),
        ("relay_tcp_dropped", "Packets dropped for slow TCP clients", stats.tcp_dropped),
    ] {
        counter(encoder, name, help, value)?;
    }
    let ways = [("to_peers", core.to_peers), ("to_clients", core.to_clients)];
    family(
        encoder,
        ConstCounter::new,
        ("relay_packets", "Relayed packets", "way"),
        ways.map(|(way, flow)| (way, flow.packets)),
    )?;
    family(
        encoder,
        ConstCounter::new,
        ("relay_bytes", "Relayed payload bytes", "way"),
        ways.map(|(way, flow)| (way, flow.bytes)),
    )?;
    let dropped = turn::Drop::ALL.map(|reason| (reason.label(), core.dropped_for(reason)));
    family(encoder, ConstCounter::new, ("relay_dropped", "Packets dropped by rule", "reason"), dropped)?;
    gauge(encoder, "relay_revocations", "Ids whose credentials were taken back", stats.revocations)?;
    let failures = turn::AuthFailure::ALL.map(|reason| (reason.label(), core.auth_failures_by(reason)));
    family(
        encoder,
        ConstCounter::new,
        ("relay_auth_failures", "Signed requests that got 401, by reason", "reason"),
        failures,
    )?;
    let limited = turn::Limit::ALL.map(|limit| (limit.label(), core.limited_by(limit)));
    family(
        encoder,
        ConstCounter::new,
        ("relay_limited", "Allocations and permissions refused by a limit", "limit"),
        limited,
    )?;
    let errors = turn::Stats::CODES.map(|code| (code.to_string(), core.errors_with(code)));
    let errors = errors.iter().map(|(code, count)| (code.as_str(), *count));
    family(encoder, ConstCounter::new, ("relay_errors", "Error responses", "code"), errors)
}

fn encode_media(encoder: &mut DescriptorEncoder<'_>, workers: &[Stats]) -> fmt::Result {
    if workers.is_empty() {
        return Ok(());
    }
    let sum = |value: fn(&Stats) -> u64| workers.iter().map(value).fold(0, u64::wrapping_add);
    let size = |value: fn(&Stats) -> usize| workers.iter().map(value).sum::<usize>() as u64;
    gauge(encoder, "media_transports", "Open transports", size(|stats| stats.load.transports))?;
    gauge(encoder, "media_tracks", "Published tracks", size(|stats| stats.load.tracks))?;
    gauge(encoder, "media_connections", "TCP connections", size(|stats| stats.connections))?;
    for (name, help, value) in [
        ("media_datagrams_in", "Datagrams received", sum(|stats| stats.datagrams_in)),
        ("media_datagrams_out", "Datagrams sent", sum(|stats| stats.datagrams_out)),
        ("media_datagrams_dropped", "Datagrams that could not be sent", sum(|stats| stats.datagrams_dropped)),
        ("media_packets_in", "Media packets from publishers", sum(|stats| stats.counters.packets_in)),
        ("media_packets_out", "Media packets to receivers", sum(|stats| stats.counters.packets_out)),
        ("media_bytes_out", "Payload bytes to receivers", sum(|stats| stats.counters.bytes_out)),
        (
            "media_packets_dropped",
            "Media packets of muted or unknown tracks",
            sum(|stats| stats.counters.packets_dropped),
        ),
        ("media_unrouted", "Datagrams for nobody", sum(|stats| stats.counters.unrouted)),
        ("media_key_frame_requests", "Key frames asked of publishers", sum(|stats| stats.counters.key_frame_requests)),
        ("media_transports_opened", "Transports opened", sum(|stats| stats.counters.transports_opened)),
        ("media_transports_connected", "Transports connected", sum(|stats| stats.counters.transports_connected)),
        ("media_transports_failed", "Transports that failed", sum(|stats| stats.counters.transports_failed)),
        ("media_engine_panics", "Transports lost to a bug", sum(|stats| stats.counters.panics)),
        ("media_participants_dropped", "Participants put out as too slow", sum(|stats| stats.participants_dropped)),
    ] {
        counter(encoder, name, help, value)?;
    }
    Ok(())
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = ConstCounter::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = level(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn level(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Numbers that differ in one label, each of the kind that `metric` makes.
fn family<'a, M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    metric: impl Fn(u64) -> M,
    (name, help, label): (&str, &str, &'static str),
    values: impl IntoIterator<Item = (&'a str, u64)>,
) -> fmt::Result {
    let mut metrics = encoder.encode_descriptor(name, help, None, metric(0).metric_type())?;
    for (value, count) in values {
        metric(count).encode(metrics.encode_family(&[(label, value)])?)?;
    }
    Ok(())
}
