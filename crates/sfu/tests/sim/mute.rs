//! Mutes: nothing passes, everybody knows, and it ends with a key frame.

use std::time::Duration;

use sfu::event::{Event, Why};
use sfu::{Command, TrackId};

use crate::client::browser;
use crate::world::{CALL, ROOM, World};

const SECOND: Duration = Duration::from_secs(1);

fn stage(seed: u64) -> World {
    let mut world = World::new(seed);
    for _ in 0..2 {
        // Fewer slots than allowed, so that there is something to offer again.
        world.join(rtc_client::Config { video_slots: 4, ..browser(&[]) }, &CALL, &[]);
    }
    world.connect();
    world.run(SECOND * 2);
    world
}

/// Frames that the second participant got of the first one: pictures, sounds.
fn got(world: &World) -> (usize, usize) {
    let from = world.clients[0].id;
    (world.clients[1].pictures(from).len(), world.clients[1].sounds(from).len())
}

fn held(world: &World, track: TrackId) -> Option<Why> {
    let slots = world.clients[1].slots.values();
    slots.into_iter().find(|slot| slot.track.map(|(id, _)| id) == Some(track)).expect("a slot").held
}

fn moderate(world: &mut World, track: TrackId, muted: bool) {
    let by = Some(world.clients[1].id);
    world.request(|request| Command::ModerateMute { request, by, room: ROOM, track, muted }).expect("allowed");
}

#[test]
fn a_moderator_silences_a_track_that_goes_on_sending() {
    let mut world = stage(1);
    let [mic, camera] = world.clients[0].tracks[..] else { panic!("two tracks") };
    moderate(&mut world, mic, true);
    moderate(&mut world, camera, true);
    world.run(Duration::from_millis(100));
    assert_eq!((held(&world, mic), held(&world, camera)), (Some(Why::Muted), Some(Why::Muted)));
    let before = got(&world);
    world.run(SECOND * 2);
    assert_eq!(got(&world), before);
    let told = |event: &Event| matches!(event, Event::Mute(track) if track.id == mic && track.muted_by_moderator);
    assert!(world.clients.iter().all(|client| client.events.iter().any(told)), "its publisher hears of it too");

    moderate(&mut world, mic, false);
    moderate(&mut world, camera, false);
    world.run(SECOND * 2);
    let after = got(&world);
    assert!(after.0 > before.0 + 50 && after.1 > before.1 + 90, "{before:?} {after:?}");
    assert_eq!(held(&world, camera), None);
}

#[test]
fn a_publisher_mutes_itself_and_comes_back_with_a_key_frame() {
    let mut world = stage(2);
    let (participant, camera) = (world.clients[0].id, world.clients[0].tracks[1]);
    for muted in [true, false] {
        world.request(|request| Command::Mute { request, participant, track: camera, muted }).expect("its own");
        world.clients[0].publishing[1].muted = muted;
        world.run(SECOND * 2);
    }
    let from = world.clients[0].id;
    let pictures = world.clients[1].pictures(from);
    let back = pictures.windows(2).find(|pair| pair[1].0 - pair[0].0 > SECOND).expect("a pause");
    let receptions = world.clients[1].receptions.values();
    let first = receptions.flat_map(|r| &r.pictures).find(|(at, ..)| *at == back[1].0).expect("that picture");
    assert!(first.2.key.is_some(), "the first picture after the mute is a key frame");
}

/// Timestamps wrap, and half of them pass in 6.6 hours. A key frame has several packets, and all of them still have one timestamp.
#[test]
fn a_camera_comes_back_whole_after_hours() {
    let mut world = World::new(4);
    world.join(rtc_client::Config { audio_slots: 0, video_slots: 0, ..browser(&[]) }, &CALL, &[]);
    let viewer = rtc_client::Config { publish: vec![], audio_slots: 0, video_slots: 1, ..browser(&[]) };
    world.join(viewer, &[], &[]);
    world.clients[0].publishing[1].ahead = 0_u32.wrapping_sub(1_000_000 + 90_000);
    world.connect();
    world.run(SECOND * 2);
    let back = world.now + SECOND * 3600 * 7;
    let [sound, picture] = &mut world.clients[0].publishing[..] else { panic!("two tracks") };
    picture.restart();
    [sound, picture].into_iter().for_each(|track| track.pause_until(back));
    world.run(back + Duration::from_millis(100) - world.now);
    let receptions = world.clients[1].receptions.values();
    let (at, _, first) = receptions.flat_map(|r| &r.pictures).find(|(at, ..)| *at >= back).expect("a picture");
    assert!(first.key.is_some() && *at - back < Duration::from_millis(20), "after {:?}", *at - back);
}

#[test]
fn what_a_moderator_muted_stays_muted_when_it_is_published_again() {
    let mut world = stage(3);
    let camera = world.clients[0].tracks[1];
    moderate(&mut world, camera, true);
    let (participant, now) = (world.clients[0].id, world.now);
    for tracks in [1, 2] {
        world.clients[0].transport.set_slots(2, 4 + tracks);
        let offer = world.clients[0].offer(&CALL[..tracks]);
        let reply = world.request(|request| Command::Offer { request, participant, offer }).expect("answered");
        let sfu::Success::Answered { answer, tracks, .. } = reply else { panic!("another reply") };
        world.clients[0].tracks = tracks;
        world.clients[0].answer(answer.expect("an answer"), now);
    }
    assert_ne!(world.clients[0].tracks[1], camera, "a new track");
    let before = got(&world).0;
    world.run(SECOND * 2);
    assert_eq!(got(&world).0, before);
    assert_eq!(held(&world, world.clients[0].tracks[1]), Some(Why::Muted));
}
