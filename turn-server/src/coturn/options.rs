//! The table of coturn's options, by name, each with what becomes of it. What a used one means is `translate`'s.

mod credentials;
mod encryption;
mod limits;
mod listeners;
mod operation;
mod protocol;

use super::draft::Draft;
use super::lines::Line;
use super::values::{self, Set};

/// The table, in parts.
const TABLE: [&[Known]; 6] = [
    listeners::OPTIONS,
    credentials::OPTIONS,
    limits::OPTIONS,
    protocol::OPTIONS,
    encryption::OPTIONS,
    operation::OPTIONS,
];

/// Options that are on whatever their value says: coturn does not read it.
const ON_WHATEVER: [&str; 8] = [
    "prometheus",
    "use-auth-secret",
    "no-auth-pings",
    "no-dynamic-ip-list",
    "no-dynamic-realms",
    "rfc5780",
    "multiplex-peer",
    "no-cli",
];

/// What a short name on coturn's command line stands for. In a file coturn knows none of them.
const SHORT: [(&str, &str); 30] = [
    ("d", "listening-device"),
    ("p", "listening-port"),
    ("L", "listening-ip"),
    ("i", "relay-device"),
    ("E", "relay-ip"),
    ("X", "external-ip"),
    ("m", "relay-threads"),
    ("a", "lt-cred-mech"),
    ("z", "no-auth"),
    ("u", "user"),
    ("b", "userdb"),
    ("r", "realm"),
    ("q", "user-quota"),
    ("Q", "total-quota"),
    ("s", "max-bps"),
    ("B", "bps-capacity"),
    ("v", "verbose"),
    ("V", "Verbose"),
    ("f", "fingerprint"),
    ("l", "log-file"),
    ("A", "allocation-default-address-family"),
    ("S", "stun-only"),
    ("C", "rest-api-separator"),
    ("K", "keep-address-family"),
    ("o", "daemon"),
    ("e", "psql-userdb"),
    ("M", "mysql-userdb"),
    ("J", "mongo-userdb"),
    ("N", "redis-userdb"),
    ("O", "redis-statsdb"),
];

/// What becomes of an option.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    /// Used; it is on or off.
    Flag(fn(&mut Draft, Set<bool>)),
    /// Used; it has a value.
    Value(fn(&mut Draft, &Line<'_>) -> Result<(), String>),
    /// Without effect and harmless; why.
    Ignored(&'static str),
    /// Not to be ignored; why, and what to do.
    Refused(&'static str),
    /// Not to be ignored when the server runs as root.
    RefusedAsRoot(&'static str),
}

/// An option of coturn.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) fate: Fate,
    /// Each line counts, not only the last one.
    pub(super) many: bool,
    /// On or off; coturn takes no value for on.
    switch: bool,
}

const fn flag(name: &'static str, set: fn(&mut Draft, Set<bool>)) -> Known {
    Known { name, fate: Fate::Flag(set), many: false, switch: true }
}

const fn value(name: &'static str, set: fn(&mut Draft, &Line<'_>) -> Result<(), String>) -> Known {
    Known { name, fate: Fate::Value(set), many: false, switch: false }
}

const fn list(name: &'static str, set: fn(&mut Draft, &Line<'_>) -> Result<(), String>) -> Known {
    Known { name, fate: Fate::Value(set), many: true, switch: false }
}

const fn ignored_flag(name: &'static str, why: &'static str) -> Known {
    Known { name, fate: Fate::Ignored(why), many: false, switch: true }
}

const fn ignored(name: &'static str, why: &'static str) -> Known {
    Known { name, fate: Fate::Ignored(why), many: false, switch: false }
}

const fn refused_flag(name: &'static str, why: &'static str) -> Known {
    Known { name, fate: Fate::Refused(why), many: false, switch: true }
}

const fn refused(name: &'static str, why: &'static str) -> Known {
    Known { name, fate: Fate::Refused(why), many: true, switch: false }
}

fn all() -> impl Iterator<Item = &'static Known> {
    TABLE.iter().copied().flatten()
}

/// The option of this name.
pub(super) fn find(name: &str) -> Option<&'static Known> {
    all().find(|known| known.name == name)
}

/// What to say of a name that no coturn knows.
pub(super) fn unknown(name: &str) -> String {
    if let Some((_, long)) = SHORT.iter().find(|(short, _)| *short == name) {
        return format!("coturn knows short names on its command line only, and skips this line; write {long}");
    }
    let plain = name.trim_start_matches('-');
    if find(plain).is_some() {
        return format!("coturn skips this line; write {plain}, without dashes before it");
    }
    let distance = |known: &&Known| strsim::osa_distance(&known.name.to_lowercase(), &plain.to_lowercase());
    let nearest = all().min_by_key(distance).map_or("", |known| known.name);
    format!("no option of coturn 4.6 to 4.17; did you mean {nearest}?")
}

impl Known {
    /// Whether a switch is on; an option with a value always is.
    pub(super) fn is_on(&self, value: &str) -> Result<bool, String> {
        if !self.switch {
            return Ok(true);
        }
        match values::flag(value) {
            Ok(false) if ON_WHATEVER.contains(&self.name) => {
                Err("coturn takes any value for on; remove the line to turn it off".into())
            }
            read => read,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every name in the tables of options of coturn 4.6.0 to 4.17.1.
    const NAMES: &str = include_str!("options/names.txt");

    #[test]
    fn every_option_of_coturn_is_known_once() {
        let known: Vec<_> = all().map(|known| known.name).collect();
        let unique: BTreeSet<_> = known.iter().copied().collect();
        assert_eq!(known.len(), unique.len());
        let missing: Vec<_> = NAMES.lines().filter(|name| !unique.contains(name)).collect();
        assert!(missing.is_empty() && NAMES.lines().count() > 140, "{missing:?}");
        assert!(ON_WHATEVER.iter().chain(SHORT.iter().map(|(_, long)| long)).all(|name| unique.contains(name)));
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_known_one() {
        assert!(unknown("denied-peers-ip").ends_with("did you mean denied-peer-ip?"));
        assert!(unknown("lt_cred_mech").ends_with("did you mean lt-cred-mech?"));
        assert!(unknown("--realm").ends_with("write realm, without dashes before it"));
        assert!(unknown("L").ends_with("write listening-ip"));
    }

    #[test]
    fn a_switch_that_coturn_cannot_turn_off_is_refused() {
        assert!(find("use-auth-secret").unwrap().is_on("0").is_err());
        assert_eq!(find("no-tcp").unwrap().is_on("0"), Ok(false));
        assert_eq!(find("realm").unwrap().is_on("0"), Ok(true));
    }
}
