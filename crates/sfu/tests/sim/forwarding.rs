//! Pictures and sound reach the others, whole and in order, over good and bad networks.

use std::time::Duration;

use netsim::Link;

use crate::client::browser;
use crate::world::{CALL, World};

const SECOND: Duration = Duration::from_secs(1);

/// What a receiver got in ten seconds.
struct Got {
    pictures: usize,
    sounds: usize,
    /// Packets that never came, after all retransmissions.
    lost: u64,
    /// Where pictures are missing: the numbers around each gap, and when it ended.
    gaps: Vec<(u32, u32, Duration)>,
}

/// Two browsers for ten seconds; what the second got of the first.
fn call(seed: u64, link: Link) -> Got {
    let mut world = World::new(seed);
    world.network.set_default(link);
    let a = world.join(browser(&[]), &CALL, &[]);
    let b = world.join(browser(&[]), &CALL, &[]);
    world.connect();
    world.run(SECOND * 10);
    let (from, client) = (world.clients[a].id, &world.clients[b]);
    let (pictures, sounds) = (client.pictures(from), client.sounds(from));
    assert!(pictures.windows(2).all(|pair| pair[0].1.number < pair[1].1.number), "pictures in order");
    assert!(sounds.windows(2).all(|pair| pair[0].1.number < pair[1].1.number), "sounds in order");
    let lost = client.receptions.values().map(|reception| reception.lost).sum();
    let gap = |pair: &[(std::time::Instant, crate::media::Stamp)]| {
        (pair[0].1.number, pair[1].1.number, pair[1].0 - world.epoch)
    };
    let gaps = pictures.windows(2).map(gap).filter(|(before, after, _)| before + 1 != *after).collect();
    Got { pictures: pictures.len(), sounds: sounds.len(), lost, gaps }
}

fn lossy(loss: f64) -> Link {
    Link { loss, delay: Duration::from_millis(20), jitter: Duration::from_millis(8), ..Link::default() }
}

#[test]
fn a_call_over_a_perfect_network_loses_nothing() {
    let got = call(1, Link { delay: Duration::from_millis(20), ..Link::default() });
    assert!(got.pictures >= 295 && got.sounds >= 495, "{} pictures, {} sounds", got.pictures, got.sounds);
    assert_eq!(got.lost, 0);
}

#[test]
fn two_percent_loss_costs_no_picture() {
    let got = call(2, lossy(0.02));
    assert!(got.pictures >= 290, "{} pictures, gaps {:?}", got.pictures, got.gaps);
    // Sound is not repaired on the way in: about its 500 packets' two percent is missing, seldom three times as many.
    assert!(got.sounds >= 465 && got.lost <= 30, "{} sounds, {} lost", got.sounds, got.lost);
}

#[test]
fn five_percent_loss_costs_few_pictures() {
    let got = call(3, lossy(0.05));
    assert!(got.pictures >= 280, "{} pictures, {} packets lost, gaps {:?}", got.pictures, got.lost, got.gaps);
    assert!(got.sounds >= 440, "{} sounds", got.sounds);
}

#[test]
fn doubled_and_reordered_datagrams_change_nothing() {
    let link = Link { duplicate: 0.2, jitter: Duration::from_millis(30), ..Link::default() };
    let got = call(4, link);
    assert!(got.pictures >= 295 && got.sounds >= 490, "{} pictures, {} sounds", got.pictures, got.sounds);
    // A beginning that overtook the handshake is given again, and the cut leaves a hole or two.
    assert!(got.lost <= 2, "{} lost", got.lost);
}
