//! What a client may say.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{ParticipantId, PcId, RoomName, TrackId};
use crate::message::parts::{Description, TrackIntent, Wish};

/// One frame from a client: a request and the id that its reply will carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClientFrame {
    /// Chosen by the client; its reply carries the same.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
pub enum Request {
    /// Enter the room of the URL; everything else needs it first.
    Join(Join),
    /// Publish, share, add slots, restart ICE, open a further transport.
    Offer(Offer),
    /// Say what is wanted of which track.
    Sub(Sub),
    /// Mute or unmute an own track.
    Mute(Mute),
    /// Moderate.
    Mod(Moderation),
    /// Send data to others.
    Msg(Message),
    /// Relay a mesh leg's description or candidate to one participant.
    Sig(Signal),
    /// Take the session over on a new socket.
    Resume(Resume),
    /// Leave for good.
    Bye(Bye),
}

/// See [`Request::Join`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Join {
    /// Protocol version, [`crate::message::VERSION`].
    pub v: u32,
    /// Must be the room in the URL.
    pub room: RoomName,
    /// A room token; absent: a guest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The name to show, when the token has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The device's public key as a JWK, when the token is bound to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Value>,
    /// That key's signature over the nonce of `hello`, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// The first offer; absent: no media yet (a recorder, a data-only client).
    #[serde(flatten, default)]
    pub media: Media,
}

/// An SDP offer and what is sent on it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Media {
    /// Which transport; a browser has one, `main`.
    #[serde(default)]
    pub pc: PcId,
    /// The offer as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdp: Option<String>,
    /// The offer as base64 of gzip, instead of `sdp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdpz: Option<String>,
    /// What is published, m-line by m-line; what is missing here is unpublished.
    #[serde(default)]
    pub tracks: Vec<TrackIntent>,
}

/// See [`Request::Offer`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// One more than the epoch of the last answer on this transport; a new transport starts at 1.
    pub epoch: u64,
    /// For a further transport: only this participant's tracks are put on its slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<ParticipantId>,
    /// The offer.
    #[serde(flatten)]
    pub media: Media,
}

/// See [`Request::Sub`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sub {
    /// The wishes; tracks that are not named keep theirs.
    pub tracks: Vec<Wish>,
}

/// See [`Request::Mute`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mute {
    /// An own track.
    pub track: TrackId,
    /// The new state.
    pub muted: bool,
}

/// What a moderator may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Moderation {
    /// Drop a track's packets at the server (`muted: false` allows them again).
    Mute {
        /// Whose track it is does not matter.
        track: TrackId,
        /// The new state.
        muted: bool,
    },
    /// Put a participant out; it may not come back with the same token.
    Kick {
        /// Whom.
        peer: ParticipantId,
    },
    /// Let nobody new in (`locked: false`: let them in again).
    Lock {
        /// The new state.
        locked: bool,
    },
}

/// See [`Request::Msg`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// To whom; empty: to everybody else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<ParticipantId>,
    /// What it is about; the server does not read it.
    pub topic: String,
    /// Anything JSON.
    pub data: Value,
    /// Whether it must arrive, in order. If not, it may take the data channel and be lost.
    #[serde(default = "yes")]
    pub reliable: bool,
}

fn yes() -> bool {
    true
}

/// See [`Request::Sig`]: `desc` or `cand`, not both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// To whom.
    pub to: ParticipantId,
    /// A session description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desc: Option<Description>,
    /// An `RTCIceCandidateInit`, or null for the end of candidates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cand: Option<Value>,
    /// Counts the connections between the two, so that late messages of an old one are told apart.
    #[serde(default)]
    pub epoch: u64,
}

/// See [`Request::Resume`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The session of `ok`.
    pub session: String,
    /// The one-use secret of the last `ok`.
    pub resume: String,
    /// The last `seq` seen.
    pub last: u64,
    /// The device's signature over the nonce of this socket's `hello`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// An ICE restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sdp: Option<String>,
}

/// See [`Request::Bye`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    /// Free text for the log.
    #[serde(default)]
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_joins_with_its_offer() {
        let frame: ClientFrame = serde_json::from_str(
            r#"{"t":"join","id":1,"v":1,"room":"demo","sdp":"v=0","tracks":[{"mid":"0","src":"mic"}],"new_field":7}"#,
        )
        .expect("a join");
        let Request::Join(join) = frame.request else { panic!("not a join") };
        assert_eq!(join.media.sdp.as_deref(), Some("v=0"));
        assert_eq!(join.media.pc, PcId::main());
        assert_eq!(join.media.tracks.len(), 1);
    }

    #[test]
    fn moderation_names_its_action() {
        let frame: ClientFrame =
            serde_json::from_str(r#"{"t":"mod","id":3,"action":"kick","peer":"p2"}"#).expect("a mod");
        assert!(matches!(frame.request, Request::Mod(Moderation::Kick { .. })));
    }
}
