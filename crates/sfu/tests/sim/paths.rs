//! Paths that die under a transport, and paths that are only bad.

use std::time::Duration;

use netsim::Link;

use crate::client::browser;
use crate::world::{CALL, World};

#[test]
fn a_path_that_dies_is_noticed_within_seven_seconds() {
    let mut world = World::new(1);
    let index = world.join(browser(&[]), &CALL, &[]);
    world.connect();
    world.run(Duration::from_secs(10));
    assert_eq!(world.clients[index].lost, None);
    let (address, died) = (world.clients[index].address, world.now);
    world.network.set_dead(address, true);
    world.run(Duration::from_secs(7));
    let lost = world.clients[index].lost.expect("noticed");
    assert!(lost - died >= Duration::from_secs(4), "an outage of some seconds is none: {:?}", lost - died);
}

/// The same holds for one that loses a fifth each way, and for one with a queue of seconds.
#[test]
fn a_path_that_is_only_bad_is_kept() {
    let ms = Duration::from_millis;
    for (loss, delay, jitter) in [(0.2, ms(50), ms(100)), (0.02, ms(1_500), ms(500))] {
        let mut world = World::new(2);
        let index = world.join(browser(&[]), &CALL, &[]);
        world.connect();
        world.network.set_default(Link { loss, delay, jitter, ..Link::default() });
        // Not for long: twelve checks in a row that fail give a path up, and where one in three fails, that comes by
        // chance some day.
        world.run(Duration::from_secs(30));
        assert_eq!(world.clients[index].lost.map(|lost| lost - world.epoch), None, "{loss} {delay:?}");
        // It lasts for the signalling of a call, and media flows.
        assert!(world.worker.counters().packets_in > 1000);
    }
}
