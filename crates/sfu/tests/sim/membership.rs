//! Coming and going: slots follow, everybody hears of it, nothing is left behind.

use std::time::Duration;

use sfu::{Command, Event, Load};

use crate::client::browser;
use crate::world::{CALL, ROOM, World};

fn shown(world: &World, index: usize) -> Vec<sfu::ParticipantId> {
    world.clients[index].slots.values().filter_map(|slot| slot.track).map(|(_, peer)| peer).collect()
}

#[test]
fn slots_follow_who_is_there() {
    let mut world = World::new(1);
    let a = world.join(browser(&[]), &CALL, &[]);
    let b = world.join(browser(&[]), &CALL, &[]);
    world.connect();
    let ids = [world.clients[a].id, world.clients[b].id];
    assert_eq!(shown(&world, a), [ids[1]; 2]);
    assert_eq!(shown(&world, b), [ids[0]; 2]);
    world.leave(a);
    assert_eq!(shown(&world, b), []);
    assert!(world.clients[b].events.iter().any(|e| matches!(e, Event::PeerGone(peer) if peer.id == ids[0])));
}

#[test]
fn five_hundred_who_come_and_go_leave_nothing_behind() {
    let mut world = World::new(2);
    let stays = world.join(browser(&[]), &CALL, &[]);
    world.connect();
    let load = world.worker.load();
    let mut sizes = Vec::new();
    for _ in 0..500 {
        let guest = world.join(browser(&[]), &CALL, &[]);
        sizes.push(world.last_answer);
        if sizes.len() % 50 == 0 {
            world.connect();
            world.run(Duration::from_millis(200));
        }
        world.leave(guest);
        world.clients.truncate(guest);
    }
    world.run(Duration::from_secs(1));
    assert_eq!(world.worker.load(), load);
    let (least, most) = (sizes.iter().min().expect("500"), sizes.iter().max().expect("500"));
    // Session ids and port numbers have more digits later.
    assert!(most - least < 200, "answers of {least} to {most} bytes");
    assert_eq!(shown(&world, stays), []);
}

#[test]
fn a_kicked_one_and_a_closed_room_are_told() {
    let mut world = World::new(3);
    let a = world.join(browser(&[]), &CALL, &[]);
    let b = world.join(browser(&[]), &CALL, &[]);
    world.connect();
    let (by, participant) = (Some(world.clients[a].id), world.clients[b].id);
    world.request(|request| Command::Kick { request, by, room: ROOM, participant }).expect("a moderator may");
    let left = |why| move |event: &Event| *event == Event::Left(why);
    assert!(world.clients[b].events.iter().any(left(sfu::event::LeftWhy::Kicked)));
    world.run_until(Duration::from_secs(2), "its transport closes", |world| world.clients[b].closed);
    world.worker.handle_command(Command::CloseRoom { room: ROOM }, world.now);
    world.run_until(Duration::from_secs(2), "the other one closes", |world| world.clients[a].closed);
    assert!(world.clients[a].events.iter().any(left(sfu::event::LeftWhy::RoomClosed)));
    assert_eq!(world.worker.load(), Load::default());
}

#[test]
fn a_transport_that_its_client_closed_takes_its_tracks_along() {
    let mut world = World::new(4);
    let a = world.join(browser(&[]), &CALL, &[]);
    let b = world.join(browser(&[]), &CALL, &[]);
    world.connect();
    // The data channel's association must be there to be shut down.
    world.run(Duration::from_secs(1));
    let now = world.now;
    world.clients[a].transport.close(now);
    world.run_until(Duration::from_secs(2), "empty slots", |world| shown(world, b).is_empty());
    let gone = world.clients[b].events.iter().filter(|event| matches!(event, Event::TrackGone(_))).count();
    assert_eq!((gone, world.worker.load().participants), (2, 2), "the participant itself stays");
}
