//! Who may use the server, how much of it, and to reach whom.

use super::is_on;
use crate::config::{RelayConfig, RelayUser, RestNames};
use crate::coturn::draft::Draft;
use crate::coturn::ranges::subtract;
use crate::coturn::values::{Login, Set, User};
use crate::coturn::{Fortune, Host, Notes};
use turn::AddressRange;

pub(super) fn credentials(draft: &Draft, relay: &mut RelayConfig, notes: &mut Notes) {
    realm(draft, relay, notes);
    if let Some(separator) = draft.separator.as_ref().filter(|separator| separator.value != ":") {
        let text = "time-limited names are `time:id` here; with another separator they would all be refused";
        notes.add(Some(separator.line), "rest-api-separator", Fortune::Refused, text);
    }
    let secrets = !draft.secrets.is_empty() || draft.use_secret.is_some();
    if let Some(line) = is_on(draft.stun_only) {
        if secrets || !draft.users.is_empty() {
            let text = "no credentials are taken over, so that nobody can use the relay";
            notes.add(Some(line), "stun-only", Fortune::Differs, text);
        }
        return;
    }
    if secrets {
        for user in &draft.users {
            let text =
                "coturn has either users or secrets, and takes the secrets; here [relay] users may stand beside them";
            notes.add(Some(user.line), "user", Fortune::Ignored, text);
        }
        if draft.secrets.is_empty() {
            let line = draft.use_secret.map(|on| on.line);
            let text = "there is no static-auth-secret, and secrets in a database are not read";
            notes.add(line, "use-auth-secret", Fortune::Refused, text);
        }
        let secret = |(number, secret): (usize, &Set<String>)| match secret.value.contains(':') {
            // What stands before a colon would be an id.
            true => format!("coturn-{}:{}", number + 1, secret.value),
            false => secret.value.clone(),
        };
        relay.secrets = draft.secrets.iter().enumerate().map(secret).collect();
        // coturn takes `user:time` as well as `time:user`.
        relay.rest_names = RestNames::Either;
    } else if draft.users.is_empty() {
        nobody(draft, notes);
    } else {
        relay.users = draft.users.iter().map(ours).collect();
    }
}

fn realm(draft: &Draft, relay: &mut RelayConfig, notes: &mut Notes) {
    match &draft.realm {
        Some(realm) if realm.value.len() > 127 => {
            notes.add(Some(realm.line), "realm", Fortune::Refused, "must have at most 127 characters");
        }
        Some(realm) => relay.realm.clone_from(&realm.value),
        None => {
            let keyed = draft.users.iter().find(|user| matches!(user.value.login, Login::Key(_)));
            if let Some(user) = keyed {
                let text = "a key is of one realm; say which one it was made for by realm=";
                notes.add(Some(user.line), "user", Fortune::Refused, text);
            }
        }
    }
}

/// Neither users nor secrets.
fn nobody(draft: &Draft, notes: &mut Notes) {
    match is_on(draft.long_term) {
        Some(line) => {
            let text = "there is no user= line, and users in a database are not read";
            notes.add(Some(line), "lt-cred-mech", Fortune::Refused, text);
        }
        None => {
            let text = "without static-auth-secret and user, coturn is an open relay; that is not supported";
            notes.add(None, "no-auth", Fortune::Refused, text);
        }
    }
}

fn ours(user: &Set<User>) -> RelayUser {
    let name = user.value.name.clone();
    match &user.value.login {
        Login::Password(password) => RelayUser { name, password: password.clone(), key: None },
        Login::Key(key) => RelayUser { name, password: String::new(), key: Some(key.clone()) },
    }
}

pub(super) fn limits(draft: &Draft, relay: &mut RelayConfig, notes: &mut Notes) {
    // In coturn, which has no other limits than these, 0 means none; here, too.
    relay.allocations_per_user = draft.per_user.map_or(0, |quota| quota.value);
    relay.allocations_total = draft.total.map_or(0, |quota| quota.value);
    relay.allocation_bytes_per_second = draft.session_bytes.map_or(0, |bytes| bytes.value);
    relay.total_bytes_per_second = draft.total_bytes.map_or(0, |bytes| bytes.value);
    if relay.secrets.is_empty() {
        // The users of a file are not people: often one name serves everybody, and would share one limit.
        (relay.user_bytes_per_second, relay.user_packets_per_second, relay.new_peers_per_second) = (0, 0, 0);
    }
    match (draft.limit_replies.map(|on| on.value), draft.replies) {
        (Some(true), rate) => {
            relay.unproven_replies = rate.map_or(10, |rate| rate.value.max(1));
            let line = draft.limit_replies.map(|on| on.line);
            let text = "it counts by the source's /24 or /64, and each worker for itself";
            notes.add(line, "unauthorized-ratelimit", Fortune::Differs, text);
        }
        (_, Some(rate)) => {
            let text = "unauthorized-ratelimit is not on";
            notes.add(Some(rate.line), "unauthorized-ratelimit-rps", Fortune::Ignored, text);
        }
        (_, None) => {}
    }
}

/// What coturn denies whatever is allowed, so that who allows everything does not mean it.
const NEVER: [&str; 2] = ["224.0.0.0/4", "ff00::/8"];
/// The same, but for who names addresses inside (coturn from 4.17 on).
const HARDLY: [&str; 4] = ["169.254.0.0/16", "fe80::/10", "fc00::/7", "fec0::/10"];

/// The ranges that are allowed, without what an operator who wrote them for coturn did not get by them.
fn allowed(draft: &Draft, notes: &mut Notes) -> Vec<AddressRange> {
    let read = |texts: &[&str]| -> Vec<AddressRange> {
        texts.iter().map(|text| AddressRange::parse(text).expect("a constant")).collect()
    };
    let (never, hardly) = (read(&NEVER), read(&HARDLY));
    let mut all = Vec::new();
    for range in &draft.allowed {
        let wider =
            |special: &&AddressRange| **special != range.value && subtract([**special], &[range.value]).is_empty();
        let wider = hardly.iter().filter(wider);
        let taken: Vec<_> = never.iter().chain(wider).copied().collect();
        let left = subtract([range.value], &taken);
        if left != [range.value] {
            let text = "multicast, and in wide ranges link-local and unique local addresses, stay denied, as by coturn";
            notes.add(Some(range.line), "allowed-peer-ip", Fortune::Differs, text);
        }
        all.extend(left);
    }
    all
}

/// In coturn an allowed address is allowed, however narrow a denied range around it is; here the narrowest range decides.
/// What is allowed is cut out of what is denied, and both say the same.
pub(super) fn peers(draft: &Draft, host: &Host, relay: &mut RelayConfig, notes: &mut Notes) {
    let allowed = allowed(draft, notes);
    let denied = subtract(draft.denied.iter().map(|range| range.value), &allowed);
    relay.allow_peers = allowed.iter().map(ToString::to_string).collect();
    relay.deny_peers = denied.iter().map(ToString::to_string).collect();
    let external = draft.external.iter().flat_map(|external| [Some(external.value.public), external.value.private]);
    let said = draft.listening.iter().chain(&draft.relay).map(|ip| ip.value).chain(external.flatten());
    let own: Vec<_> = host.addresses.iter().copied().chain(said).collect();
    for range in &draft.allowed {
        if let Some(ip) = own.iter().find(|ip| range.value.contains(**ip)) {
            let text = format!(
                "{ip} is an address of this host: there only live relayed ports are reached, and no other program"
            );
            notes.add(Some(range.line), "allowed-peer-ip", Fortune::Differs, text);
        }
    }
}
