//! Every refusal can be reached, and none changes anything.

use sfu::command::{Intent, Offer, Permissions, RoomSettings, Source, Wish};
use sfu::{Command, Error, ParticipantId, RoomId, TrackId};

use crate::client::{Client, browser};
use crate::world::{CALL, ROOM, World, everything, settings};

fn offer(sources: &[Source]) -> Offer {
    let address = std::net::SocketAddr::from(([10, 9, 9, 9], 9));
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    let now = std::time::Instant::now();
    Client::new(ParticipantId(0), address, browser(&[]), now).offer(sources)
}

/// What a join with this offer is refused with.
fn join(permissions: Permissions, offer: Offer) -> Error {
    let mut world = World::new(1);
    let before = world.worker.load();
    let error = world.join_as(permissions, Some(offer)).1.expect_err("refused");
    assert_eq!(world.worker.load(), before, "a refused join leaves nothing behind");
    error
}

#[test]
fn bad_offers_are_refused() {
    let with_sdp = |sdp: String| Offer { sdp: Some(sdp), tracks: Vec::new(), ..offer(&[]) };
    let good = offer(&[]).sdp.expect("an SDP");
    assert!(matches!(join(everything(), with_sdp("nonsense".into())), Error::InvalidSdp(_)));
    assert!(matches!(join(everything(), with_sdp(good.replace("a=fingerprint", "a=x"))), Error::InvalidSdp(_)));
    let foreign = good.replace(" VP8/", " H265/").replace(" VP9/", " H265/").replace(" H264/", " H265/");
    assert!(matches!(join(everything(), with_sdp(foreign.replace(" AV1/", " H265/"))), Error::CodecUnsupported { .. }));
    let stale = Offer { epoch: 5, ..offer(&[]) };
    assert_eq!(join(everything(), stale), Error::StaleEpoch { got: 5, expected: 1 });
}

#[test]
fn tracks_need_an_m_line_of_their_kind_and_a_right() {
    let on = |mid: &str, source| Offer { tracks: vec![Intent { mid: mid.into(), source, muted: false }], ..offer(&[]) };
    let mut mids = offer(&CALL);
    let mut two = offer(&CALL);
    let extra = two.tracks[1].clone();
    two.tracks.push(Intent { mid: "more".into(), ..extra });
    assert!(matches!(join(everything(), two), Error::BadKind { why: "the source is there twice", .. }));
    assert!(matches!(join(everything(), on("zzz", Source::Mic)), Error::BadKind { .. }));
    assert!(matches!(join(everything(), on("", Source::Mic)), Error::BadKind { .. }));
    mids.tracks[1].mid = mids.tracks[0].mid.clone();
    assert!(matches!(join(everything(), mids.clone()), Error::BadKind { why: "two tracks on one m-line", .. }));
    mids.tracks.remove(0);
    assert!(matches!(join(everything(), mids), Error::BadKind { why: "the source is of the other kind", .. }));
    let listener = Permissions { publish: Vec::new(), ..everything() };
    assert!(matches!(join(listener, offer(&CALL)), Error::Forbidden(_)));
    let hidden = Permissions { hidden: true, ..everything() };
    assert!(matches!(join(hidden, offer(&CALL)), Error::Forbidden(_)));
    let nosy = Offer { only: Some(ParticipantId(1)), ..offer(&[]) };
    assert!(matches!(join(everything(), nosy), Error::Forbidden(_)));
}

#[test]
fn limits_hold() {
    let mut config = browser(&[]);
    config.video_slots = 12;
    let address = std::net::SocketAddr::from(([10, 9, 9, 9], 9));
    let mut world = World::new(1);
    let mut client = Client::new(ParticipantId(0), address, config, world.now);
    let too_many = client.offer(&[]);
    assert!(matches!(join(everything(), too_many), Error::SlotLimit { what: "m-lines", .. }));
    world.worker.handle_command(
        Command::UpdateRoom {
            room: ROOM,
            settings: RoomSettings { max_participants: 1, ..settings(sfu::command::Mode::Sfu) },
        },
        world.now,
    );
    let (first, joined) = world.join_as(everything(), None);
    joined.expect("there is room for one");
    assert_eq!(world.join_as(everything(), None).1, Err(Error::RoomFull { limit: 1 }));
    let transports = (0..5).map(|n| Offer { transport: format!("pc{n}"), ..offer(&[]) });
    let replies: Vec<_> = transports
        .map(|offer| world.request(|request| Command::Offer { request, participant: first, offer }).err())
        .collect();
    assert_eq!(replies[..4], [None, None, None, None]);
    assert!(matches!(replies[4], Some(Error::SlotLimit { what: "transports", .. })));
    let locked = RoomSettings { locked: true, ..settings(sfu::command::Mode::Sfu) };
    world.worker.handle_command(Command::UpdateRoom { room: ROOM, settings: locked }, world.now);
    assert_eq!(world.join_as(everything(), None).1, Err(Error::RoomLocked));
    assert!(world.join_as(Permissions { hidden: true, ..everything() }, None).1.is_ok(), "hidden ones may");
}

#[test]
fn who_and_what_does_not_exist_is_refused() {
    let mut world = World::new(1);
    let (a, _) = world.join_as(everything(), None);
    let (b, _) = world.join_as(Permissions { moderate: false, data: false, ..everything() }, None);
    let (ghost, track) = (ParticipantId(999), TrackId(999));
    assert_eq!(world.join_with(a, everything(), None), Err(Error::AlreadyInRoom(a)));
    let elsewhere = world.request(|request| Command::Snapshot { request, room: RoomId(77) });
    assert_eq!(elsewhere, Err(Error::RoomNotFound));
    let wish = Wish { track, on: None, width: None, height: None, fps: None, priority: None };
    let sub = world.request(|request| Command::Subscribe { request, participant: a, wishes: vec![wish] });
    assert_eq!(sub, Err(Error::TrackNotFound(track)));
    let mute = world.request(|request| Command::Mute { request, participant: a, track, muted: true });
    assert_eq!(mute, Err(Error::TrackNotFound(track)));
    let kick = |world: &mut World, by, participant| {
        world.request(|request| Command::Kick { request, by, room: ROOM, participant })
    };
    assert_eq!(kick(&mut world, Some(a), ghost), Err(Error::PeerNotFound(ghost)));
    assert_eq!(kick(&mut world, Some(b), a), Err(Error::Forbidden("moderate")));
    let body: std::sync::Arc<str> = std::sync::Arc::from("{}");
    let sig = world.request(|request| Command::Signal { request, from: a, to: ghost, body: body.clone() });
    assert_eq!(sig, Err(Error::PeerNotFound(ghost)));
    let (to, topic) = (Vec::new(), String::new());
    let msg = world.request(|request| Command::Message { request, from: b, to, topic, data: body, unreliable: None });
    assert_eq!(msg, Err(Error::Forbidden("send data")));
}
