//! What the server speaks.

use super::super::values::amount;
use super::{Known, flag, ignored, ignored_flag, refused_flag, value};

const NEVER_SENT: &str = "SOFTWARE is never sent";
const OLD_STUN: &str = "RFC 3489 is not spoken; clients of the last fifteen years do not";
const ALWAYS: &str = "nonces are always stateless, bound to the client's address and for an hour at most";
const GARBAGE: &str = "what is no STUN is always dropped and counted";

pub(super) const OPTIONS: &[Known] = &[
    flag("no-udp-relay", |draft, on| draft.no_udp_relay = Some(on)),
    flag("no-tcp-relay", |draft, on| draft.no_tcp_relay = Some(on)),
    flag("stun-only", |draft, on| draft.stun_only = Some(on)),
    refused_flag("no-stun", "Binding is always answered; a relay without it is not supported"),
    refused_flag(
        "secure-stun",
        "Binding is answered without credentials, as in RFC 8489; remove the line to accept that",
    ),
    flag("mobility", |draft, on| draft.mobility = Some(on)),
    flag("rfc5780", |draft, on| draft.behaviour = Some(on)),
    ignored_flag("no-rfc5780", "behaviour discovery is off unless rfc5780 is on"),
    flag("rfc5766-channel-numbers", |draft, on| draft.old_channels = Some(on)),
    value("stale-nonce", |draft, line| {
        draft.nonce_life = Some(line.set(|value| if value.is_empty() { Ok(600) } else { amount(value) })?);
        Ok(())
    }),
    ignored_flag("stateless-nonce", ALWAYS),
    ignored("stateless-nonce-secret", "a client that another server challenged gets a new nonce by 438"),
    ignored_flag("fingerprint", "FINGERPRINT is optional and no client needs it"),
    ignored_flag("no-software-attribute", NEVER_SENT),
    ignored_flag("software-attribute", NEVER_SENT),
    ignored_flag("prod", NEVER_SENT),
    ignored_flag("include-reason-string", "error responses have their reasons"),
    ignored_flag("stun-backward-compatibility", OLD_STUN),
    ignored_flag("no-stun-backward-compatibility", "this server has none"),
    ignored_flag("rfc3489-compatibility", OLD_STUN),
    ignored_flag("response-origin-only-with-rfc5780", "it is never sent otherwise"),
    ignored_flag("respond-http-unsupported", "a connection that speaks no STUN is closed"),
    ignored_flag("drop-invalid-packets", GARBAGE),
    ignored_flag("drop-invalid-packets-log", GARBAGE),
];
