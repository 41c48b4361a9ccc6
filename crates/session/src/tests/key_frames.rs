//! When key frames are asked for.

use super::stand::millis;
use super::*;

#[test]
fn requests_for_key_frames_grow_rare() {
    let mut stand = Stand::new();
    for _ in 0..6_000 {
        stand.step(true, true);
        stand.key_at = None;
        if stand.now < Duration::from_millis(50) {
            // The first key frame never comes.
            stand.video.packets(Codec::Vp8, &KEY);
        }
    }
    let asked = &stand.sink.asked;
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= seconds(1)), "{asked:?}");
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] <= Duration::from_millis(5_050)), "{asked:?}");
    assert!((12..=16).contains(&asked.len()), "{asked:?}");
}

/// The moments between requests, milliseconds.
fn between(asked: &[Duration]) -> Vec<u128> {
    asked.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
}

#[test]
fn a_picture_that_moves_has_a_key_frame_every_ten_seconds() {
    let mut stand = Stand::new();
    stand.run(seconds(60), true, true);
    stand.finish();
    let keys: Vec<_> = stand.blocks(AV, true).into_iter().filter(|(_, key)| *key).map(|(at, _)| at).collect();
    assert!(keys.windows(2).all(|pair| (9_900..=10_600).contains(&(pair[1] - pair[0]))), "{keys:?}");
    assert!((6..=7).contains(&keys.len()), "{keys:?}");
    // Of one who does not obey, it is asked for ever less often.
    let mut stand = Stand::new();
    for _ in 0..6_000 {
        stand.step(true, true);
        stand.key_at = None;
    }
    assert_eq!(between(&stand.sink.asked)[..3], [1_000, 2_000, 4_000]);
    assert!(between(&stand.sink.asked)[3..].iter().all(|ms| (5_000..5_100).contains(ms)), "{:?}", stand.sink.asked);
}

#[test]
fn nothing_is_asked_of_a_screen_that_stands_still() {
    let mut stand = Stand::of(Mode::Participant);
    stand.publish("t1", Source::Screen, false);
    stand.run(seconds(5), false, true);
    // Once, as it moved after its first key frame.
    stand.wait(seconds(60));
    let asked = stand.sink.asked.len();
    assert_eq!(asked, 1, "{:?}", stand.sink.asked);
    // It changes, and its key frame comes; that is no change.
    let show = |stand: &mut Stand, frame: &[u8]| {
        let packets = stand.packets(Codec::Vp8, frame);
        stand.arrive(Codec::Vp8, stand.now.as_millis() as u64 * 90, packets);
        stand.step_of(millis(50));
    };
    show(&mut stand, &DELTA);
    assert_eq!(stand.sink.asked.len(), asked + 1);
    show(&mut stand, &KEY);
    stand.wait(seconds(60));
    assert_eq!(stand.sink.asked.len(), asked + 1);
    // A request that is not answered is not repeated before there is another picture.
    show(&mut stand, &DELTA);
    stand.wait(seconds(60));
    assert_eq!(stand.sink.asked.len(), asked + 2);
}

#[test]
fn a_request_that_is_lost_is_repeated_after_a_second_whatever_was_asked_before() {
    let mut stand = Stand::new();
    stand.run(seconds(3), true, true);
    let lose = |stand: &mut Stand| drop(stand.packets(Codec::Vp8, &DELTA));
    lose(&mut stand);
    stand.run(seconds(3), true, true);
    assert_eq!(stand.sink.asked.len(), 1, "answered: {:?}", stand.sink.asked);
    lose(&mut stand);
    for _ in 0..450 {
        stand.step(true, true);
        stand.key_at = None;
    }
    assert_eq!(between(&stand.sink.asked[1..]), [1_000, 2_000]);
}

#[test]
fn an_unmute_that_is_heard_after_its_key_frame_keeps_it() {
    let mut stand = Stand::new();
    stand.run(seconds(3), true, true);
    stand.mute("t2", true);
    stand.run(seconds(3), true, false);
    // Numbers go on, as the forwarder has it.
    stand.video = rtc_client::packetise::Packetiser::starting_at(75, 75);
    stand.key_at = Some(stand.now);
    let asked = stand.sink.asked.len();
    stand.run(millis(100), true, true);
    stand.mute("t2", false);
    stand.run(seconds(2), true, true);
    stand.finish();
    assert_eq!(stand.sink.asked.len(), asked);
    let first = stand.blocks(AV, true).into_iter().find(|(at, _)| *at > 3_000).expect("pictures after the mute");
    assert_eq!(first, (6_000, true));
}

#[test]
fn what_was_predicted_before_a_mute_is_not_written_after_it() {
    let mut stand = Stand::new();
    stand.run(seconds(3), true, true);
    stand.mute("t2", true);
    stand.run(seconds(3), true, false);
    stand.video = rtc_client::packetise::Packetiser::starting_at(75, 75);
    stand.mute("t2", false);
    stand.run(seconds(2), true, true);
    stand.finish();
    let first = stand.blocks(AV, true).into_iter().find(|(at, _)| *at > 3_000).expect("pictures after the mute");
    assert!(first.1 && first.0 > 6_000, "{first:?}");
}
