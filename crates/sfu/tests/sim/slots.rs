//! Who is shown where when there are more tracks than slots, and who speaks.

use std::time::Duration;

use sfu::command::{Source, Wish};
use sfu::{Command, Event, ParticipantId, TrackId};

use crate::client::browser;
use crate::world::{CALL, World};

const SECOND: Duration = Duration::from_secs(1);

/// Tracks of a source that the first participant has in slots.
fn shown(world: &World) -> Vec<TrackId> {
    world.clients[0].slots.values().filter_map(|slot| slot.track).map(|(track, _)| track).collect()
}

/// A viewer and so many publishers.
fn crowd(seed: u64, publishers: usize) -> World {
    let mut world = World::new(seed);
    world.join(browser(&[]), &[], &[]);
    for _ in 0..publishers {
        world.join(browser(&[]), &CALL, &[]);
    }
    world.connect();
    world.run(SECOND);
    world
}

#[test]
fn a_wish_brings_a_hidden_picture_forward() {
    let mut world = crowd(1, 12);
    let cameras: Vec<TrackId> = world.clients[1..].iter().map(|client| client.tracks[1]).collect();
    let before = shown(&world);
    assert_eq!(cameras.iter().filter(|camera| before.contains(camera)).count(), 9);
    let hidden = *cameras.iter().find(|camera| !before.contains(camera)).expect("12 do not fit 9 slots");
    let wish = Wish { track: hidden, on: None, width: None, height: None, fps: None, priority: Some(1) };
    let (participant, publisher) = (world.clients[0].id, 1 + cameras.iter().position(|c| *c == hidden).expect("one"));
    world.request(|request| Command::Subscribe { request, participant, wishes: vec![wish] }).expect("a wish");
    let after = shown(&world);
    assert!(after.contains(&hidden));
    assert_eq!(before.iter().filter(|track| !after.contains(track)).count(), 1, "one makes room, the others stay");
    let from = world.clients[publisher].id;
    world.run_until(SECOND, "its picture", |world| !world.clients[0].pictures(from).is_empty());
}

#[test]
fn an_unwanted_track_is_held_and_comes_back() {
    let mut world = crowd(2, 1);
    let (participant, from, camera) = (world.clients[0].id, world.clients[1].id, world.clients[1].tracks[1]);
    let wish = |on| Wish { track: camera, on: Some(on), width: None, height: None, fps: None, priority: None };
    world.request(|request| Command::Subscribe { request, participant, wishes: vec![wish(false)] }).expect("a wish");
    world.run(Duration::from_millis(100));
    let before = world.clients[0].pictures(from).len();
    world.run(SECOND);
    assert_eq!(world.clients[0].pictures(from).len(), before);
    world.request(|request| Command::Subscribe { request, participant, wishes: vec![wish(true)] }).expect("a wish");
    world.run(SECOND);
    assert!(world.clients[0].pictures(from).len() > before + 20);
}

#[test]
fn the_loud_ones_are_heard_and_named() {
    let mut world = crowd(3, 6);
    let speak = |world: &mut World, who: usize| {
        world.clients[1..].iter_mut().for_each(|client| client.publishing[0].level = -100);
        world.clients[who].publishing[0].level = -20;
        world.run(SECOND * 3);
    };
    for who in [4, 6, 1] {
        speak(&mut world, who);
        let (id, mic) = (world.clients[who].id, world.clients[who].tracks[0]);
        let named = world.clients[0].events.iter().rev().find_map(|event| match event {
            Event::Speak(list) => Some(list.clone()),
            _ => None,
        });
        assert_eq!(named, Some(vec![id]));
        assert!(shown(&world).contains(&mic), "a speaker has one of the three audio slots");
        let last = world.clients[0].sounds(id).last().expect("heard").0;
        assert!(world.now - last < Duration::from_millis(100));
    }
    world.clients[1].publishing[0].level = -100;
    world.run(SECOND * 3);
    let silent = |event: &&Event| matches!(event, Event::Speak(_));
    assert_eq!(world.clients[0].events.iter().rfind(silent), Some(&Event::Speak(Vec::<ParticipantId>::new())));
}

#[test]
fn a_screen_comes_before_cameras() {
    let mut world = crowd(4, 10);
    let sources = [Source::ScreenAudio, Source::Screen];
    let presenter = world.join(browser(&[]), &sources, &[]);
    world.connect();
    assert!(shown(&world).contains(&world.clients[presenter].tracks[1]));
}
