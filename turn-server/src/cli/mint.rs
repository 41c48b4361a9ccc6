//! `credentials` and `token`: what the API mints, for scripts on the server itself.

use serde_json::json;
use service::config::Loaded;
use signalling::RoomName;
use signalling::token::{Claims, Grants, PublishKind};

use super::Failure;
use crate::clock;
use crate::config::Config;
use crate::secrets::Secrets;
use crate::signalling::ice;

/// `--user U --ttl 1h`
#[derive(Debug, clap::Args)]
pub(super) struct CredentialsArgs {
    /// Who it is for.
    #[arg(long)]
    user: String,
    /// Life: a number with s, m, h or d.
    #[arg(long, default_value = "1h", value_parser = seconds)]
    ttl: u64,
}

/// `--room R --identity I [--grant ...]`
#[derive(Debug, clap::Args)]
pub(super) struct TokenArgs {
    /// The one room that it is good for.
    #[arg(long)]
    room: RoomName,
    /// Who the holder is to the application.
    #[arg(long)]
    identity: String,
    /// The name to show.
    #[arg(long)]
    name: Option<String>,
    /// What it allows; several times for several. Without: mic, camera, screen, data, subscribe.
    #[arg(long = "grant", value_enum)]
    grants: Vec<Grant>,
    /// Life: a number with s, m, h or d.
    #[arg(long, default_value = "1h", value_parser = seconds)]
    ttl: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Grant {
    Mic,
    Camera,
    Screen,
    Data,
    Subscribe,
    Moderate,
    Hidden,
    Recorder,
}

fn seconds(text: &str) -> Result<u64, String> {
    let allowed = || format!("{text:?} must be a number with s, m, h or d, such as 90m");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(allowed()),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(unit))
        .filter(|s| (1..=366 * 86_400).contains(s))
        .ok_or_else(allowed)
}

pub(super) fn credentials(loaded: &Loaded<Config>, args: &CredentialsArgs) -> Result<(), Failure> {
    let relay = &loaded.config.relay;
    if relay.secrets.is_empty() && relay.secrets_file.is_none() {
        return Err(loaded
            .origin
            .meaning("relay.secrets", "is empty: without a secret no server accepts what we mint")
            .into());
    }
    let secrets = Secrets::collect(&loaded.config, &loaded.origin, None)?;
    let secret = secrets.relay.first().ok_or_else(|| loaded.origin.meaning("relay.secrets_file", "is empty"))?;
    let minted = ice::mint(secret, &args.user, clock::unix_s() + args.ttl).expect("the secrets were checked");
    println!("{}", json!({ "username": minted.username, "password": minted.password, "ttl": args.ttl }));
    Ok(())
}

pub(super) fn token(loaded: &Loaded<Config>, args: &TokenArgs) -> Result<(), Failure> {
    let rooms = &loaded.config.rooms;
    if rooms.token_keys.is_empty() && rooms.token_keys_file.is_none() {
        return Err(loaded
            .origin
            .meaning("rooms.token_keys", "is empty: without a key no server accepts the token")
            .into());
    }
    let claims = Claims {
        sub: args.identity.clone(),
        name: args.name.clone(),
        room: args.room.clone(),
        exp: clock::unix_s() + args.ttl,
        nbf: None,
        jti: crate::secrets::random(),
        grants: grants(&args.grants),
        cnf: None,
        api: false,
        since_ms: None,
    };
    let secrets = Secrets::collect(&loaded.config, &loaded.origin, None)?;
    let token = secrets.rooms.sign(&claims).map_err(|error| Failure::Run(error.to_string()))?;
    println!("{token}");
    Ok(())
}

fn grants(wanted: &[Grant]) -> Grants {
    if wanted.is_empty() {
        return Grants::default();
    }
    let has = |grant| wanted.contains(&grant);
    let publish = [
        (Grant::Mic, PublishKind::Mic),
        (Grant::Camera, PublishKind::Camera),
        (Grant::Screen, PublishKind::Screen),
        (Grant::Data, PublishKind::Data),
    ];
    Grants {
        publish: publish.into_iter().filter(|(grant, _)| has(*grant)).map(|(_, kind)| kind).collect(),
        subscribe: has(Grant::Subscribe),
        moderate: has(Grant::Moderate),
        hidden: has(Grant::Hidden),
        recorder: has(Grant::Recorder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_have_units() {
        assert_eq!(
            (seconds("90"), seconds("2m"), seconds("1h"), seconds("1d")),
            (Ok(90), Ok(120), Ok(3600), Ok(86_400))
        );
        for bad in ["", "h", "0", "1w", "-1", "99999999999999999999", "1000000d"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
