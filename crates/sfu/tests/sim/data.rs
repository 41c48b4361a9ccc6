//! Messages: by the data channel when they may be lost, else as events; and the signalling of mesh legs.

use std::sync::Arc;
use std::time::Duration;

use sfu::command::{Intent, Mode, Offer, Source};
use sfu::{Command, Event, ParticipantId, Success};

use crate::client::browser;
use crate::world::{CALL, ROOM, World, everything, settings};

fn message(from: ParticipantId, to: &[ParticipantId], unreliable: bool) -> impl FnOnce(sfu::RequestId) -> Command {
    let (to, topic, data) = (to.to_vec(), "chat".to_owned(), Arc::from("\"hi\""));
    let unreliable = unreliable.then(|| Arc::from(r#"{"t":"msg","data":"hi"}"#));
    move |request| Command::Message { request, from, to, topic, data, unreliable }
}

fn messages(world: &World, index: usize) -> usize {
    world.clients[index].events.iter().filter(|event| matches!(event, Event::Message { .. })).count()
}

#[test]
fn what_may_be_lost_takes_the_data_channel() {
    let mut world = World::new(1);
    let a = world.join(browser(&[]), &CALL, &[]);
    let b = world.join(browser(&[]), &CALL, &[]);
    let c = world.join(rtc_client::Config { channel: None, ..browser(&[]) }, &CALL, &[]);
    world.connect();
    world.run_until(Duration::from_secs(5), "open channels", |w| w.clients[a].channel && w.clients[b].channel);
    let from = world.clients[a].id;
    world.request(message(from, &[], true)).expect("allowed");
    world.run_until(Duration::from_secs(1), "the text", |world| !world.clients[b].texts.is_empty());
    assert_eq!((messages(&world, a), messages(&world, b), messages(&world, c)), (0, 0, 1), "C has no channel");
    let to = [world.clients[b].id];
    world.request(message(from, &to, false)).expect("allowed");
    assert_eq!((messages(&world, b), messages(&world, c)), (1, 1), "only B is addressed");
    let now = world.now;
    assert!(world.clients[a].transport.send_text("up", now));
    world.run_until(Duration::from_secs(1), "the text", |world| world.clients[a].texts == ["server: up"]);
}

#[test]
fn a_mesh_room_relays_signals_and_announces_tracks_without_media() {
    let mut world = World::new(2);
    world.worker.handle_command(Command::UpdateRoom { room: ROOM, settings: settings(Mode::Mesh) }, world.now);
    let a = world.join(browser(&[]), &CALL, &[]);
    let tracks = vec![Intent { mid: String::new(), source: Source::Camera, muted: false }];
    let offer = Offer { transport: "main".into(), epoch: 1, only: None, sdp: None, tracks };
    let (b, joined) = world.join_as(everything(), Some(offer));
    let Ok(Success::Joined { answer: None, tracks, peers, .. }) = joined else { panic!("{joined:?}") };
    assert_eq!((tracks.len(), peers.len(), peers[0].tracks.len()), (1, 1, 2));
    world.connect();
    world.run(Duration::from_secs(2));
    assert!(world.clients[a].slots.values().all(|slot| slot.track.is_none()), "nothing is mapped");
    let (from, to) = (b, world.clients[a].id);
    world.request(|request| Command::Signal { request, from, to, body: Arc::from("{}") }).expect("relayed");
    assert!(world.clients[a].events.contains(&Event::Signal { from, body: Arc::from("{}") }));
    // The idle connection carries media as soon as the room is switched.
    let c = world.join(browser(&[]), &CALL, &[]);
    world.worker.handle_command(Command::UpdateRoom { room: ROOM, settings: settings(Mode::Sfu) }, world.now);
    world.connect();
    let from = world.clients[c].id;
    world.run_until(Duration::from_secs(3), "pictures", |world| world.clients[a].pictures(from).len() > 10);
}
