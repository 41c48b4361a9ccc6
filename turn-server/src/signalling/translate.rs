//! rooms/1 into commands of the SFU and back: the only file that knows both vocabularies.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sfu::command::{Intent, Mode, Offer, Permissions, Source, Wish};
use sfu::event::{LeftWhy, Why};
use sfu::{ParticipantId, TrackId};
use signalling::code::{Code, Refusal};
use signalling::message::client::{Media, Signal};
use signalling::message::server::{Answer, EventFrame, LeaveAction, Published};
use signalling::message::{Description, Event, Peer, Slot, Track};
use signalling::token::{Grants, PublishKind};
use signalling::{PcId, message as wire};

/// The largest SDP, unpacked.
const MAX_SDP: usize = 512 * 1024;

pub(crate) fn mode_to_wire(mode: Mode) -> wire::Mode {
    match mode {
        Mode::Mesh => wire::Mode::Mesh,
        Mode::Sfu => wire::Mode::Sfu,
    }
}

fn source_from_wire(source: wire::Source) -> Source {
    match source {
        wire::Source::Mic => Source::Mic,
        wire::Source::Camera => Source::Camera,
        wire::Source::Screen => Source::Screen,
        wire::Source::ScreenAudio => Source::ScreenAudio,
    }
}

fn source_to_wire(source: Source) -> wire::Source {
    match source {
        Source::Mic => wire::Source::Mic,
        Source::Camera => wire::Source::Camera,
        Source::Screen => wire::Source::Screen,
        Source::ScreenAudio => wire::Source::ScreenAudio,
    }
}

/// What a token's grants mean to the SFU.
pub(crate) fn permissions(grants: &Grants) -> Permissions {
    use wire::Source as S;
    let publish =
        [S::Mic, S::Camera, S::Screen, S::ScreenAudio].into_iter().filter(|source| grants.may_publish(*source));
    Permissions {
        publish: publish.map(source_from_wire).collect(),
        data: grants.publish.contains(&PublishKind::Data),
        subscribe: grants.subscribe,
        moderate: grants.moderate,
        hidden: grants.hidden,
        recorder: grants.recorder,
    }
}

/// A participant as a client names it.
///
/// # Errors
/// [`Code::PeerNotFound`]: what is not one of our ids names nobody.
pub(crate) fn participant(id: &signalling::ParticipantId) -> Result<ParticipantId, Refusal> {
    ParticipantId::parse(id.as_str())
        .ok_or_else(|| Refusal::new(Code::PeerNotFound, format!("{id} is not in this room")))
}

/// A track as a client names it.
///
/// # Errors
/// [`Code::TrackNotFound`], likewise.
pub(crate) fn track(id: &signalling::TrackId) -> Result<TrackId, Refusal> {
    TrackId::parse(id.as_str()).ok_or_else(|| Refusal::new(Code::TrackNotFound, format!("no track {id} here")))
}

/// An offer; `None` when a join brings neither SDP nor tracks.
///
/// # Errors
/// [`Code::BadRequest`] or [`Code::TooLarge`] for a packed SDP that cannot be unpacked.
pub(crate) fn offer(media: Media, epoch: u64, only: Option<ParticipantId>) -> Result<Option<Offer>, Refusal> {
    let sdp = match (media.sdp, media.sdpz) {
        (Some(_), Some(_)) => return Err(Refusal::new(Code::BadRequest, "`sdp` or `sdpz`, not both")),
        (Some(sdp), None) => Some(sdp),
        (None, Some(packed)) => Some(super::inflate::sdp(&packed, MAX_SDP)?),
        (None, None) => None,
    };
    if sdp.is_none() && media.tracks.is_empty() {
        return Ok(None);
    }
    let tracks = media.tracks.into_iter();
    let tracks = tracks.map(|track| Intent { mid: track.mid, source: source_from_wire(track.src), muted: track.muted });
    Ok(Some(Offer { transport: media.pc.to_string(), epoch, only, sdp, tracks: tracks.collect() }))
}

/// A subscriber's wish.
///
/// # Errors
/// [`Code::TrackNotFound`].
pub(crate) fn wish(wish: &wire::Wish) -> Result<Wish, Refusal> {
    Ok(Wish {
        track: track(&wish.track)?,
        on: wish.on,
        width: wish.w,
        height: wish.h,
        fps: wish.fps,
        priority: wish.prio,
    })
}

/// What travels between two mesh peers; the SFU does not read it.
#[derive(Debug, Serialize, Deserialize)]
struct SignalBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    desc: Option<Description>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cand: Option<Value>,
    epoch: u64,
}

/// Checks a mesh message and packs it for the other end.
///
/// # Errors
/// [`Code::InvalidSdp`] or [`Code::InvalidCandidate`] for what no browser could use, [`Code::BadRequest`] for neither.
pub(crate) fn signal(signal: Signal) -> Result<Arc<str>, Refusal> {
    match (&signal.desc, &signal.cand) {
        (Some(desc), None) => {
            let known = matches!(desc.kind.as_str(), "offer" | "answer" | "pranswer" | "rollback");
            if !known || (desc.kind != "rollback" && !desc.sdp.starts_with("v=0")) {
                return Err(Refusal::new(Code::InvalidSdp, "`desc` must be an RTCSessionDescriptionInit"));
            }
        }
        (None, Some(cand)) => {
            let is_candidate = cand.get("candidate").is_some_and(Value::is_string);
            if !is_candidate && !cand.is_null() {
                return Err(Refusal::new(Code::InvalidCandidate, "`cand` must be an RTCIceCandidateInit or null"));
            }
        }
        _ => return Err(Refusal::new(Code::BadRequest, "`desc` or `cand`, one of them")),
    }
    let body = SignalBody { desc: signal.desc, cand: signal.cand, epoch: signal.epoch };
    json(&body).map(Arc::from)
}

fn json(value: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(|error| Refusal::new(Code::Internal, error.to_string()))
}

/// The text of a message's `data`.
///
/// # Errors
/// [`Code::TooLarge`].
pub(crate) fn data(value: &Value) -> Result<Arc<str>, Refusal> {
    let text = json(value)?;
    if text.len() > wire::MAX_MESSAGE {
        let limit = wire::MAX_MESSAGE;
        return Err(Refusal::new(
            Code::TooLarge,
            format!("`data` has {} bytes of JSON, allowed are {limit}", text.len()),
        ));
    }
    Ok(text.into())
}

/// A message as the data channel carries it: the event, without a number, because it may be lost.
pub(crate) fn channel_frame(from: ParticipantId, message: &wire::client::Message) -> Result<Arc<str>, Refusal> {
    let (topic, data) = (message.topic.clone(), message.data.clone());
    let event = Event::Msg { from: participant_to_wire(from), topic, data };
    json(&EventFrame { seq: 0, event }).map(Arc::from)
}

/// An id of ours as it travels. Ours always parse.
pub(crate) fn participant_to_wire(id: ParticipantId) -> signalling::ParticipantId {
    signalling::ParticipantId::parse(id.to_string()).expect("p and digits are an id")
}

fn track_id_to_wire(id: TrackId) -> signalling::TrackId {
    signalling::TrackId::parse(id.to_string()).expect("t and digits are an id")
}

pub(crate) fn track_to_wire(track: &sfu::event::Track) -> Track {
    Track {
        id: track_id_to_wire(track.id),
        peer: participant_to_wire(track.participant),
        src: source_to_wire(track.source),
        muted: track.muted,
        muted_by_moderator: track.muted_by_moderator,
        codec: track.codec.map(str::to_owned),
    }
}

pub(crate) fn peer_to_wire(peer: &sfu::event::Peer) -> Peer {
    let tracks = peer.tracks.iter().map(track_to_wire).collect();
    Peer { id: participant_to_wire(peer.id), name: peer.name.clone(), tracks }
}

pub(crate) fn tracks_to_wire(tracks: Vec<TrackId>) -> Vec<signalling::TrackId> {
    tracks.into_iter().map(track_id_to_wire).collect()
}

fn transport_to_wire(transport: String) -> PcId {
    // The client's own word comes back; it was parsed on its way in.
    PcId::parse(transport).unwrap_or_default()
}

fn slot_to_wire(slot: sfu::event::Slot) -> Slot {
    let why = slot.held.map(|why| match why {
        Why::Muted => "muted",
        Why::Unsubscribed => "unsubscribed",
        Why::LastN => "last_n",
        Why::Bandwidth => "bandwidth",
    });
    let (track, peer) = slot.track.unzip();
    Slot {
        mid: slot.mid,
        on: track.is_some() && why.is_none(),
        track: track.map(track_id_to_wire),
        peer: peer.map(participant_to_wire),
        why: why.map(str::to_owned),
    }
}

fn slots_to_wire(slots: Vec<sfu::event::Slot>) -> Vec<Slot> {
    slots.into_iter().map(slot_to_wire).collect()
}

pub(crate) fn answer_to_wire(answer: sfu::event::Answer) -> Answer {
    let published = answer.published.into_iter();
    Answer {
        sdp: answer.sdp,
        pc: transport_to_wire(answer.transport),
        epoch: answer.epoch,
        slots: slots_to_wire(answer.slots),
        published: published.map(|(mid, track)| Published { mid, track: track_id_to_wire(track) }).collect(),
    }
}

/// An event for a participant. `Room` and `Left` are the hub's: the first needs the recording, the second ends the session.
pub(crate) fn event_to_wire(event: sfu::Event) -> Option<Event> {
    use sfu::Event as E;
    Some(match event {
        E::Peer(peer) => Event::Peer { peer: peer_to_wire(&peer), gone: false },
        E::PeerGone(peer) => Event::Peer { peer: peer_to_wire(&peer), gone: true },
        E::Track(track) => Event::Track { track: track_to_wire(&track), gone: false },
        E::TrackGone(track) => Event::Track { track: track_to_wire(&track), gone: true },
        E::Mute(track) => Event::Mute {
            track: track_id_to_wire(track.id),
            peer: participant_to_wire(track.participant),
            muted: track.muted,
            muted_by_moderator: track.muted_by_moderator,
        },
        E::Slots { transport, slots } => Event::Slots { pc: transport_to_wire(transport), slots: slots_to_wire(slots) },
        E::Need { transport, audio, video } => Event::Need { pc: transport_to_wire(transport), audio, video },
        E::Speak(peers) => Event::Speak { peers: peers.into_iter().map(participant_to_wire).collect() },
        E::Message { from, topic, data } => {
            let data = serde_json::from_str(&data).unwrap_or(Value::Null);
            Event::Msg { from: participant_to_wire(from), topic, data }
        }
        E::Signal { from, body } => {
            let body: SignalBody = serde_json::from_str(&body).ok()?;
            Event::Sig { from: participant_to_wire(from), desc: body.desc, cand: body.cand, epoch: body.epoch }
        }
        E::Room(_) | E::Left(_) => return None,
    })
}

/// The last event of a session.
pub(crate) fn leave_event(why: LeftWhy) -> Event {
    let (reason, msg) = match why {
        LeftWhy::Kicked => (Code::TokenRevoked, "a moderator put you out"),
        LeftWhy::RoomClosed => (Code::RoomNotFound, "the room was closed"),
    };
    Event::Leave { reason, action: LeaveAction::Stop, msg: msg.into() }
}

/// The one code of the wire for each refusal of the SFU.
pub(crate) fn refusal(error: &sfu::Error) -> Refusal {
    use sfu::Error as E;
    let code = match error {
        E::RoomNotFound => Code::RoomNotFound,
        E::RoomFull { .. } => Code::RoomFull,
        E::RoomLocked => Code::RoomLocked,
        E::PeerNotFound(_) => Code::PeerNotFound,
        E::AlreadyInRoom(_) => Code::AlreadyInRoom,
        E::TrackNotFound(_) => Code::TrackNotFound,
        E::BadKind { .. } => Code::BadKind,
        E::Forbidden(_) => Code::Forbidden,
        E::CodecUnsupported { .. } => Code::CodecUnsupported,
        E::InvalidSdp(_) => Code::InvalidSdp,
        E::StaleEpoch { .. } => Code::StaleEpoch,
        E::SlotLimit { .. } => Code::SlotLimit,
        E::ChannelClosed => Code::ChannelClosed,
    };
    Refusal::new(code, error.to_string())
}
