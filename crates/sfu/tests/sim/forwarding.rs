//! Pictures and sound reach the others, whole and in order, over good and bad networks.

use std::time::Duration;

use netsim::Link;

use crate::client::browser;
use crate::world::{CALL, World};

const SECOND: Duration = Duration::from_secs(1);

/// Two browsers for ten seconds; what the second got of the first: pictures, sounds, packets given up.
fn call(seed: u64, link: Link) -> (usize, usize, u64) {
    let mut world = World::new(seed);
    world.network.set_default(link);
    let a = world.join(browser(&[]), &CALL, &[]);
    let b = world.join(browser(&[]), &CALL, &[]);
    world.connect();
    world.run(SECOND * 10);
    let (from, client) = (world.clients[a].id, &world.clients[b]);
    let pictures = client.pictures(from);
    assert!(pictures.windows(2).all(|pair| pair[0].1.number < pair[1].1.number), "pictures in order");
    let lost = client.receptions.values().map(|reception| reception.lost).sum();
    (pictures.len(), client.sounds(from).len(), lost)
}

#[test]
fn a_call_over_a_perfect_network_loses_nothing() {
    let (pictures, sounds, lost) = call(1, Link { delay: Duration::from_millis(20), ..Link::default() });
    assert!(pictures >= 295 && sounds >= 495, "{pictures} pictures, {sounds} sounds");
    assert_eq!(lost, 0);
}
