//! Ways that grow and shrink: what was captured regularly stands regularly in the file, whenever it arrives.

use std::collections::VecDeque;

use super::codecs::vp9;
use super::stand::{Camera, SOUND, millis};
use super::*;
use rtc_client::packetise::Packet;

/// What is on its way.
type Way = VecDeque<(u64, Codec, u64, Vec<Packet>)>;

/// Captures for `ms`; `delay` says how long what is captured at a time is on its way. Nothing overtakes.
fn run(stand: &mut Stand, way: &mut Way, ms: u64, sound: bool, picture_every: u64, delay: impl Fn(u64) -> u64) {
    let end = stand.now + millis(ms);
    while stand.now < end {
        let now = stand.now.as_millis() as u64;
        let due = (now + delay(now)).max(way.back().map_or(0, |last| last.0));
        if sound && now.is_multiple_of(20) {
            way.push_back((due, Codec::Opus, now * 48, stand.packets(Codec::Opus, &SOUND)));
        }
        if picture_every > 0 && now.is_multiple_of(picture_every) {
            let key = stand.key_at.take_if(|at| *at <= stand.now).is_some();
            let Camera { codec, key: whole, delta } = stand.camera.clone();
            way.push_back((due, codec, now * 90, stand.packets(codec, if key { &whole } else { &delta })));
        }
        while let Some((_, codec, timestamp, packets)) = way.pop_front_if(|first| first.0 <= now) {
            stand.arrive(codec, timestamp, packets);
        }
        if now.is_multiple_of(50) {
            stand.session.handle_timeout(stand.at());
        }
        stand.drain();
        stand.now += millis(10);
    }
}

/// Blocks of a track come at this distance from each other, over all files.
fn check_spacing(stand: &Stand, video: bool, ms: std::ops::RangeInclusive<i64>) {
    let files = stand.sink.opened.iter().map(|(name, _)| (name, stand.whole(name).start_ms.cast_signed()));
    let blocks: Vec<_> =
        files.flat_map(|(name, start)| stand.blocks(name, video).into_iter().map(move |(at, _)| start + at)).collect();
    let odd: Vec<_> = blocks.windows(2).filter(|pair| !ms.contains(&(pair[1] - pair[0]))).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

fn check_nothing_lost(stand: &mut Stand) {
    stand.finish();
    let figures = stand.whole(AV).figures;
    assert_eq!((figures.dropped, figures.filled_ms, figures.refused), (0, 0, 0));
    check_spacing(stand, false, 18..=22);
    check_spacing(stand, true, 38..=42);
}

#[test]
fn a_burst_of_300_ms_with_ticks_in_it_keeps_its_spacing() {
    let (mut stand, mut way) = (Stand::new(), Way::new());
    // What is captured from 3 s to 5 s comes from 5.0 s to 5.3 s.
    let delay = |at| if (3_000..5_000).contains(&at) { 5_000 + (at - 3_000) * 3 / 20 - at } else { 0 };
    run(&mut stand, &mut way, 8_000, true, 40, delay);
    check_nothing_lost(&mut stand);
}

#[test]
fn a_queue_of_a_second_drops_no_sound() {
    let (mut stand, mut way) = (Stand::new(), Way::new());
    // It grows by 100 ms in each second, stays, and is gone in a moment.
    let delay = |at: u64| if at < 25_000 { at.saturating_sub(3_000) / 10 } else { 0 }.min(1_000);
    run(&mut stand, &mut way, 27_000, true, 40, delay);
    check_nothing_lost(&mut stand);
}

#[test]
fn a_delay_that_comes_and_goes_drops_no_sound() {
    let (mut stand, mut way) = (Stand::new(), Way::new());
    let delay = |at: u64| if at > 2_000 && (at / 700).is_multiple_of(3) { 900 } else { 0 };
    run(&mut stand, &mut way, 20_000, true, 40, delay);
    run(&mut stand, &mut way, 1_000, true, 40, |_| 0);
    check_nothing_lost(&mut stand);
}

/// Pictures of another codec begin a second file while all that comes is 900 ms old.
fn change_codec_in_a_queue(sound: bool) -> Stand {
    let (mut stand, mut way) = (Stand::new(), Way::new());
    stand.mute("t1", !sound);
    let delay = |at: u64| if at < 1_000 { 0 } else { 900 };
    run(&mut stand, &mut way, 3_000, sound, 40, delay);
    // The key frame of another codec, and time passes before its next packet of sound.
    stand.camera = vp9();
    stand.key_at = Some(stand.now);
    run(&mut stand, &mut way, 4_000, sound, 40, delay);
    stand.finish();
    stand
}

#[test]
fn a_file_that_follows_another_in_a_queue_drops_no_sound() {
    let stand = change_codec_in_a_queue(true);
    let files: Vec<_> = stand.sink.opened.iter().map(|(name, _)| stand.whole(name)).collect();
    let dropped: Vec<_> = files.iter().map(|file| (file.start_ms, file.figures.dropped)).collect();
    assert_eq!(dropped, [(0, 0), (3_000, 0)]);
}

#[test]
fn a_file_that_follows_another_in_a_queue_keeps_its_pictures_apart() {
    let stand = change_codec_in_a_queue(false);
    assert_eq!(stand.sink.opened.len(), 2);
    check_spacing(&stand, true, 38..=42);
}

#[test]
fn sound_that_is_dropped_is_counted() {
    let (mut stand, mut way) = (Stand::new(), Way::new());
    // Nothing waits for more than 2.5 s.
    let delay = |at: u64| if (3_000..8_000).contains(&at) { 8_000 - at } else { 0 };
    run(&mut stand, &mut way, 10_000, true, 40, delay);
    stand.finish();
    let figures = stand.whole(AV).figures;
    assert!(figures.dropped > 100, "{figures:?}");
    assert_eq!(stand.whole(AV).end_ms, 10_000);
}

#[test]
fn a_stall_of_somebody_muted_keeps_the_pictures_apart() {
    let (mut stand, mut way) = (Stand::new(), Way::new());
    stand.mute("t1", true);
    let delay = |at| if (3_000..4_500).contains(&at) { 4_500 + (at - 3_000) / 5 - at } else { 0 };
    run(&mut stand, &mut way, 8_000, false, 40, delay);
    stand.finish();
    assert_eq!(stand.blocks(AV, true).len(), 200);
    check_spacing(&stand, true, 38..=42);
}

#[test]
fn a_burst_of_pictures_leaves_no_hole_in_the_sound() {
    for (muted, stall) in [(Some(true), 600), (Some(true), 1_900), (None, 1_200), (None, 1_900)] {
        let (mut stand, mut way) = (Stand::of(Mode::Participant), Way::new());
        muted.into_iter().for_each(|muted| stand.publish("t1", Source::Mic, muted));
        stand.publish("t2", Source::Camera, false);
        // All that is captured in the stall comes within 20 ms.
        let delay = |at: u64| if (3_000..3_000 + stall).contains(&at) { 3_000 + stall + at % 20 - at } else { 0 };
        run(&mut stand, &mut way, 8_000, false, 40, delay);
        stand.finish();
        let file = stand.whole(AV);
        assert_eq!((file.figures.refused, file.end_ms, stand.sound(AV)), (0, 8_000, seconds(8)), "{stall}");
        check_spacing(&stand, false, 1..=121);
        check_spacing(&stand, true, 38..=42);
    }
}

#[test]
fn pictures_of_a_burst_do_not_overtake_sound_that_waits_for_its_first_packet() {
    let mut stand = Stand::new();
    stand.run(seconds(3), true, true);
    let mut late = Vec::new();
    for ms in (3_000..4_500).step_by(20) {
        late.push((Codec::Opus, ms * 48, stand.packets(Codec::Opus, &SOUND)));
        if ms % 40 == 0 {
            late.push((Codec::Vp8, ms * 90, stand.packets(Codec::Vp8, &DELTA)));
        }
    }
    stand.wait(millis(1_500));
    late.into_iter().skip(1).for_each(|(codec, timestamp, packets)| stand.arrive(codec, timestamp, packets));
    stand.run(seconds(3), true, true);
    stand.finish();
    let figures = stand.whole(AV).figures;
    assert_eq!((figures.dropped, figures.refused, figures.lost, figures.filled_ms), (0, 0, 1, 20));
    assert_eq!(stand.sound(AV), millis(7_500));
    check_spacing(&stand, false, 18..=22);
}

#[test]
fn a_picture_that_stands_still_reaches_the_disk_within_two_seconds() {
    let (mut stand, mut way) = (Stand::of(Mode::Participant), Way::new());
    stand.publish("t1", Source::Screen, false);
    run(&mut stand, &mut way, 3_000, false, 40, |_| 0);
    let (before, ..) = stand.read("p1-screen-1.webm");
    assert!(before < millis(2_960));
    run(&mut stand, &mut way, 2_050, false, 0, |_| 0);
    let (_, _, video) = stand.read("p1-screen-1.webm");
    assert_eq!(video.expect("pictures").blocks, 75);
}
