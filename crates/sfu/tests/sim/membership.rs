//! Coming and going.

use crate::client::browser;
use crate::world::{CALL, World};

#[test]
fn slots_follow_who_is_there() {
    let mut world = World::new(1);
    let a = world.join(browser(&[]), &CALL, &[]);
    let b = world.join(browser(&[]), &CALL, &[]);
    world.connect();
    let shown = |world: &World, index: usize| {
        world.clients[index].slots.values().filter_map(|slot| slot.track).map(|(_, peer)| peer).collect::<Vec<_>>()
    };
    let ids = [world.clients[a].id, world.clients[b].id];
    assert_eq!(shown(&world, a), [ids[1]; 2]);
    assert_eq!(shown(&world, b), [ids[0]; 2]);
    world.leave(a);
    assert_eq!(shown(&world, b), []);
}
