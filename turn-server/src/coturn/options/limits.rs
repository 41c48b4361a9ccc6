//! Who may be reached, and how much of everything there may be.

use super::super::values::{amount, bytes, range};
use super::{Known, flag, ignored, ignored_flag, list, refused_flag, value};

pub(super) const OPTIONS: &[Known] = &[
    list("allowed-peer-ip", |draft, line| {
        draft.allowed.push(line.set(range)?);
        Ok(())
    }),
    list("denied-peer-ip", |draft, line| {
        draft.denied.push(line.set(range)?);
        Ok(())
    }),
    ignored_flag("no-multicast-peers", "multicast peers are always denied"),
    ignored_flag("no-loopback-peers", "loopback peers are always denied"),
    refused_flag(
        "allow-loopback-peers",
        "it opens this host's own services; live relayed ports of this server are reached without it",
    ),
    refused_flag("server-relay", "it lets anybody send to a client without its permission"),
    value("user-quota", |draft, line| {
        draft.per_user = Some(line.set(amount)?);
        Ok(())
    }),
    value("total-quota", |draft, line| {
        draft.total = Some(line.set(amount)?);
        Ok(())
    }),
    value("max-bps", |draft, line| {
        draft.session_bytes = Some(line.set(bytes)?);
        Ok(())
    }),
    value("bps-capacity", |draft, line| {
        draft.total_bytes = Some(line.set(bytes)?);
        Ok(())
    }),
    flag("unauthorized-ratelimit", |draft, on| draft.limit_replies = Some(on)),
    value("unauthorized-ratelimit-rps", |draft, line| {
        draft.replies = Some(line.set(amount)?);
        Ok(())
    }),
    value("max-allocate-lifetime", |draft, line| {
        draft.max_lifetime = Some(line.set(amount)?);
        Ok(())
    }),
    value("channel-lifetime", |draft, line| {
        draft.channel_lifetime = Some(line.set(amount)?);
        Ok(())
    }),
    value("permission-lifetime", |draft, line| {
        draft.permission_lifetime = Some(line.set(amount)?);
        Ok(())
    }),
    ignored("max-allocate-timeout", "nothing is kept for a client before it has an allocation"),
    ignored("drain-min-allocations", "draining ends when the last allocation or the deadline does"),
];
