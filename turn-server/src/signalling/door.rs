//! Who may enter a room: the token or the guest, the device's proof, and who was put out before.

use std::time::Instant;

use signalling::RoomName;
use signalling::code::{Code, Refusal};
use signalling::device;
use signalling::message::VERSION;
use signalling::message::client::Join;
use signalling::token::{Claims, Grants};

use super::directory::{Ban, Directory};
use super::session::Who;
use crate::app::App;
use crate::clock;
use crate::config::Guests;

/// The longest name that is shown, in bytes.
const MAX_NAME: usize = 128;

/// Checks everything about a join that does not need the room's lock.
///
/// # Errors
/// Why not: every code of credentials.
pub(crate) fn identify(app: &App, room: &RoomName, nonce: &str, join: &Join) -> Result<Who, Refusal> {
    if join.v != VERSION {
        return Err(Refusal::new(Code::UnsupportedVersion, format!("this server speaks version {VERSION}")));
    }
    if join.room != *room {
        return Err(Refusal::new(Code::BadRequest, format!("`room` must be the room of the URL, {room}")));
    }
    let shown = join.name.as_deref().unwrap_or_default();
    if shown.len() > MAX_NAME {
        return Err(Refusal::new(Code::BadRequest, format!("`name` may have {MAX_NAME} bytes")));
    }
    let Some(token) = &join.token else { return guest(app, room, shown) };
    let claims = app.secrets.load().rooms.verify(token, room, clock::unix_s())?;
    if claims.api {
        return Err(Refusal::new(Code::Forbidden, "this token is for the API, not for joining"));
    }
    if let Some(bound) = &claims.cnf {
        device::check_proof(bound, join.key.as_ref(), join.proof.as_deref(), nonce)?;
    }
    Ok(holder(claims, shown))
}

fn holder(claims: Claims, shown: &str) -> Who {
    let mut name = claims.name.filter(|name| !name.is_empty()).unwrap_or_else(|| shown.to_owned());
    name.truncate(name.floor_char_boundary(MAX_NAME));
    Who {
        identity: Some(claims.sub),
        token_id: Some(claims.jti).filter(|id| !id.is_empty()),
        device: claims.cnf.map(|bound| bound.jkt),
        name,
        grants: claims.grants,
    }
}

fn guest(app: &App, room: &RoomName, name: &str) -> Result<Who, Refusal> {
    let of_room = app.hub.directory().rooms.get(room).map(|room| room.guests);
    let grants = match of_room.unwrap_or(app.config().rooms.guests) {
        Guests::Off => return Err(Refusal::new(Code::Unauthorized, "a token is needed: guests are not allowed here")),
        Guests::Join => Grants::default(),
        Guests::Moderate => Grants { moderate: true, ..Grants::default() },
    };
    Ok(Who { identity: None, token_id: None, device: None, name: name.to_owned(), grants })
}

/// Checks what only the directory knows: kicks, and identities that belong to one device.
/// Returns the sessions that the newcomer takes the place of.
///
/// # Errors
/// [`Code::TokenRevoked`] for whoever was put out, [`Code::PeerExists`] for another device with a bound identity.
pub(crate) fn check_presence(
    directory: &Directory,
    room: &RoomName,
    who: &Who,
) -> Result<Vec<sfu::ParticipantId>, Refusal> {
    let now = Instant::now();
    let bans = who.identity.iter().cloned().map(Ban::Identity).chain(who.token_id.iter().cloned().map(Ban::Token));
    for ban in bans {
        if directory.is_banned(room, ban, now) {
            return Err(Refusal::new(Code::TokenRevoked, "a moderator put you out of this room"));
        }
    }
    let mut replaced = Vec::new();
    let Some(identity) = &who.identity else { return Ok(replaced) };
    let Some(room) = directory.rooms.get(room) else { return Ok(replaced) };
    for session in room.members.values().filter(|session| session.who.identity.as_ref() == Some(identity)) {
        // An identity that is bound to a device is in a room once: the same device takes over, another one is refused.
        match &session.who.device {
            Some(_) if session.who.device == who.device => replaced.push(session.participant),
            Some(_) => {
                return Err(Refusal::new(Code::PeerExists, "this identity is here, on the device it is bound to"));
            }
            None => {}
        }
    }
    Ok(replaced)
}
