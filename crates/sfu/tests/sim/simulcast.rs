//! Simulcast: the right layer, changed only at key frames, as one stream.

use std::time::Duration;

use rtc_client::Mid;
use sfu::Command;
use sfu::command::Wish;

use crate::client::{Reception, browser};
use crate::world::{CALL, World};

const SECOND: Duration = Duration::from_secs(1);
const RIDS: [&str; 3] = ["q", "h", "f"];

fn stage(seed: u64) -> World {
    let mut world = World::new(seed);
    world.join(browser(&RIDS), &CALL, &RIDS);
    world.join(browser(&[]), &[], &[]);
    world.connect();
    world.run(SECOND * 3);
    world
}

/// The reception of the video slot of the second participant.
fn video(world: &World) -> (&Mid, &Reception) {
    let mut with_pictures = world.clients[1].receptions.iter().filter(|(_, r)| !r.pictures.is_empty());
    let found = with_pictures.next().expect("pictures");
    assert!(with_pictures.next().is_none(), "one slot shows the camera");
    found
}

fn wish_height(world: &mut World, height: u32) {
    let (participant, track) = (world.clients[1].id, world.clients[0].tracks[1]);
    let wish = Wish { track, on: None, width: None, height: Some(height), fps: None, priority: None };
    world.request(|request| Command::Subscribe { request, participant, wishes: vec![wish] }).expect("a wish");
}

/// Layers in the order in which they were shown.
fn layers(world: &World) -> Vec<u32> {
    let mut layers: Vec<u32> = video(world).1.pictures.iter().map(|(_, stamp, _)| stamp.layer).collect();
    layers.dedup();
    layers
}

/// One SSRC, no sequence number twice, none missing but one where a picture was cut off by a switch.
fn assert_continuous(world: &World, switches: usize) {
    let packets = &video(world).1.packets;
    let mut sequences: Vec<u64> = packets.iter().map(|packet| packet.sequence).collect();
    assert!(packets.iter().all(|packet| packet.ssrc == packets[0].ssrc), "one source");
    sequences.sort_unstable();
    assert!(sequences.windows(2).all(|pair| pair[0] < pair[1]), "no sequence number twice");
    let missing = (sequences[sequences.len() - 1] - sequences[0]) as usize + 1 - sequences.len();
    assert!(missing <= switches, "{missing} packets missing, {switches} switches");
    let stamps: Vec<u64> = video(world).1.pictures.iter().map(|(.., picture)| picture.timestamp).collect();
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "timestamps go on");
}

#[test]
fn the_best_layer_is_shown_unless_a_smaller_one_is_wanted() {
    let mut world = stage(1);
    assert_eq!(layers(&world).last(), Some(&2));
    let switches = layers(&world).len();
    for (height, layer) in [(100, 0), (300, 1), (2000, 2)] {
        wish_height(&mut world, height);
        world.run(SECOND * 2);
        assert_eq!(layers(&world).last(), Some(&layer));
    }
    assert_eq!(layers(&world).len(), switches + 3);
    assert_continuous(&world, switches + 3);
}

#[test]
fn pictures_never_stop_while_layers_change() {
    let mut world = stage(2);
    for round in 0..20 {
        wish_height(&mut world, [100, 2000][round % 2]);
        world.run(Duration::from_millis(700));
    }
    let shown: Vec<_> = video(&world).1.pictures.iter().map(|(at, ..)| *at).collect();
    let longest = shown.windows(2).map(|pair| pair[1] - pair[0]).max().expect("pictures");
    assert!(longest < Duration::from_millis(100), "a gap of {longest:?}");
    assert!(layers(&world).len() > 15, "{:?}", layers(&world));
    assert_continuous(&world, layers(&world).len());
}

#[test]
fn a_layer_that_stops_is_replaced() {
    let mut world = stage(3);
    world.clients[0].publishing[1].live = 1;
    world.run(SECOND * 3);
    assert_eq!(layers(&world).last(), Some(&0));
    let last = video(&world).1.pictures.last().expect("pictures").0;
    assert!(world.now - last < Duration::from_millis(100), "pictures go on");
    world.clients[0].publishing[1].live = 3;
    world.run(SECOND * 3);
    assert_eq!(layers(&world).last(), Some(&2));
}
