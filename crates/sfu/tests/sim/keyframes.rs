//! Nobody waits long for the first picture, and no encoder is flooded with requests.

use std::time::Duration;

use netsim::Link;

use crate::client::browser;
use crate::world::{CALL, World};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_late_joiner_gets_a_picture_soon() {
    let mut world = World::new(1);
    world.network.set_default(Link { delay: Duration::from_millis(25), ..Link::default() });
    let a = world.join(browser(&[]), &CALL, &[]);
    world.connect();
    world.run(SECOND * 5);
    let b = world.join(browser(&[]), &[], &[]);
    world.connect();
    let from = world.clients[a].id;
    let connected = world.now;
    world.run_until(SECOND, "a picture", |world| !world.clients[b].pictures(from).is_empty());
    // Two round trips of 50 ms and a frame of 33 ms, not the next repetition of a request.
    assert!(world.now - connected < Duration::from_millis(250), "{:?}", world.now - connected);
}

#[test]
fn lost_requests_are_repeated() {
    let mut world = World::new(2);
    let a = world.join(browser(&[]), &CALL, &[]);
    world.connect();
    world.run(SECOND * 2);
    world.clients[a].publishing[1].deaf = 2;
    world.join(browser(&[]), &[], &[]);
    world.connect();
    let from = world.clients[a].id;
    // After one second, and after two more.
    world.run_until(SECOND * 4, "a picture", |world| !world.clients[1].pictures(from).is_empty());
    assert_eq!(world.clients[a].publishing[1].deaf, 0);
}

#[test]
fn many_receivers_in_need_are_few_requests() {
    let mut world = World::new(3);
    let a = world.join(browser(&[]), &CALL, &[]);
    for _ in 0..10 {
        world.join(browser(&[]), &[], &[]);
    }
    world.connect();
    world.run(SECOND * 2);
    let before = world.clients[a].publishing[1].asked;
    // Every receiver loses a tenth of everything for five seconds and asks for a key frame whenever it is stuck.
    world.network.set_default(Link { loss: 0.1, ..Link::default() });
    world.run(SECOND * 5);
    let asked = world.clients[a].publishing[1].asked - before;
    assert!(asked <= 5, "{asked} requests in 5 s");
}

#[test]
fn nothing_is_asked_of_a_publisher_that_nobody_watches() {
    let mut world = World::new(4);
    let a = world.join(browser(&[]), &CALL, &[]);
    world.connect();
    world.run(SECOND * 5);
    assert_eq!(world.clients[a].publishing[1].asked, 0);
}
