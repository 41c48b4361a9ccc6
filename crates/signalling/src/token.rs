//! Room tokens: JWT HS256, signed with one of several keys told apart by `kid`.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::code::{Code, Refusal};
use crate::id::RoomName;
use crate::message::Source;

/// What the holder of a token may do in its room.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Grants {
    /// What may be published.
    pub publish: Vec<PublishKind>,
    /// Whether others' tracks are received.
    pub subscribe: bool,
    /// Whether it may mute and kick others, lock the room and switch recording.
    pub moderate: bool,
    /// Whether it is invisible to others and does not count as a participant.
    pub hidden: bool,
    /// Whether it is a recorder: not bound by last-N, may open one transport per participant.
    pub recorder: bool,
}

impl Default for Grants {
    fn default() -> Self {
        Self {
            publish: vec![PublishKind::Mic, PublishKind::Camera, PublishKind::Screen, PublishKind::Data],
            subscribe: true,
            moderate: false,
            hidden: false,
            recorder: false,
        }
    }
}

impl Grants {
    /// Whether a track of this source may be published.
    pub fn may_publish(&self, source: Source) -> bool {
        self.publish.contains(&PublishKind::of(source))
    }
}

/// What a grant allows to publish.
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishKind {
    /// Microphones.
    Mic,
    /// Cameras.
    Camera,
    /// Screens and their sound.
    Screen,
    /// `msg`.
    Data,
}

impl PublishKind {
    /// The grant that a source needs.
    pub fn of(source: Source) -> Self {
        match source {
            Source::Mic => Self::Mic,
            Source::Camera => Self::Camera,
            Source::Screen | Source::ScreenAudio => Self::Screen,
        }
    }
}

/// The claims of a room token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Identity: who the holder is to the application; not shown to others.
    pub sub: String,
    /// The name to show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The one room it is good for.
    pub room: RoomName,
    /// Expiry, seconds since 1970.
    pub exp: u64,
    /// Not before, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Token id, for revocation.
    #[serde(default)]
    pub jti: String,
    /// What it allows.
    #[serde(default)]
    pub grants: Grants,
    /// The device's key that must sign the server's nonce (RFC 7800).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
    /// Good for the REST API only, not for joining: what `ok` hands to a participant as `api_token`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub api: bool,
    /// Recordings that were over before this moment, milliseconds since 1970, are not shown: the `api_token` of a guest, which
    /// is good while the guest is in the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
}

/// RFC 7800 section 3.1 with the thumbprint of RFC 7638.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// SHA-256 thumbprint of the device's public JWK, base64url.
    pub jkt: String,
}

/// A signing key with its id.
#[derive(Clone)]
pub struct Key {
    /// `kid` in the header of tokens signed with it.
    pub id: String,
    secret: Vec<u8>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The keys that this server trusts. The first signs, all verify, so that keys can be rotated.
#[derive(Debug, Clone)]
pub struct Keyring(Vec<Key>);

impl Key {
    /// A key from its id and secret bytes.
    pub fn new(id: impl Into<String>, secret: impl Into<Vec<u8>>) -> Self {
        Self { id: id.into(), secret: secret.into() }
    }
}

impl Keyring {
    /// A ring of at least one key; `None` when there is none.
    pub fn new(keys: Vec<Key>) -> Option<Self> {
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// Signs a token with the first key.
    ///
    /// # Errors
    /// [`Code::Internal`] when the claims cannot be written as JSON.
    pub fn sign(&self, claims: &Claims) -> Result<String, Refusal> {
        let key = &self.0[0];
        let header = Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(&key.secret))
            .map_err(|error| Refusal::new(Code::Internal, format!("the token could not be signed: {error}")))
    }

    /// Checks a token's signature, times and room; `now` in seconds since 1970.
    ///
    /// # Errors
    /// [`Code::TokenExpired`] after `exp`, [`Code::Forbidden`] for another room, else [`Code::Unauthorized`].
    pub fn verify(&self, token: &str, room: &RoomName, now: u64) -> Result<Claims, Refusal> {
        let claims = self.verify_any_room(token, now)?;
        if claims.room != *room {
            return Err(Refusal::new(Code::Forbidden, "the token is for another room"));
        }
        Ok(claims)
    }

    /// Checks a token's signature and times and leaves the room to the caller.
    ///
    /// # Errors
    /// As [`Keyring::verify`].
    pub fn verify_any_room(&self, token: &str, now: u64) -> Result<Claims, Refusal> {
        let unauthorized = |why: &str| Refusal::new(Code::Unauthorized, format!("the token {why}"));
        let header = jsonwebtoken::decode_header(token).map_err(|_| unauthorized("is not a JWT"))?;
        let key = match &header.kid {
            Some(kid) => {
                self.0.iter().find(|key| key.id == *kid).ok_or_else(|| unauthorized("names an unknown key"))?
            }
            None => &self.0[0],
        };
        // The clock is ours to inject, so the library must not read its own.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_secret(&key.secret), &validation)
            .map_err(|_| unauthorized("is not signed by this server or lacks a claim"))?
            .claims;
        if now >= claims.exp {
            return Err(Refusal::new(Code::TokenExpired, "the token is expired"));
        }
        if claims.nbf.is_some_and(|nbf| now < nbf) {
            return Err(unauthorized("is not valid yet"));
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            sub: "alice".into(),
            name: Some("Alice".into()),
            room: RoomName::parse("demo").expect("a name"),
            exp: 1_000,
            nbf: Some(10),
            jti: "1".into(),
            grants: Grants::default(),
            cnf: None,
            api: false,
            since_ms: None,
        }
    }

    #[test]
    fn a_token_is_good_in_its_room_and_time_only() {
        let ring = Keyring::new(vec![Key::new("a", *b"secret a")]).expect("a key");
        let token = ring.sign(&claims()).expect("signs");
        let room = RoomName::parse("demo").expect("a name");
        assert_eq!(ring.verify(&token, &room, 500), Ok(claims()));
        let code = |room: &RoomName, now| ring.verify(&token, room, now).map_err(|refusal| refusal.code);
        assert_eq!(code(&room, 1_000), Err(Code::TokenExpired));
        assert_eq!(code(&room, 9), Err(Code::Unauthorized));
        assert_eq!(code(&RoomName::parse("other").expect("a name"), 500), Err(Code::Forbidden));
    }

    #[test]
    fn keys_rotate_and_strangers_fail() {
        let old = Keyring::new(vec![Key::new("a", *b"secret a")]).expect("a key");
        let rotated = Keyring::new(vec![Key::new("b", *b"secret b"), Key::new("a", *b"secret a")]).expect("keys");
        let stranger = Keyring::new(vec![Key::new("a", *b"secret x")]).expect("a key");
        let room = RoomName::parse("demo").expect("a name");
        let token = old.sign(&claims()).expect("signs");
        assert!(rotated.verify(&token, &room, 500).is_ok());
        assert!(stranger.verify(&token, &room, 500).is_err());
        // An unsigned token (`alg: none`) is nobody's.
        let payload = token.split('.').nth(1).expect("a payload");
        let none = format!("eyJhbGciOiJub25lIn0.{payload}.");
        assert_eq!(old.verify(&none, &room, 500).map_err(|refusal| refusal.code), Err(Code::Unauthorized));
    }
}
