//! Long calls in virtual time: sound and picture are together to the end, and neither is longer than the call.

mod source;
mod world;

use std::time::Duration;

use netsim::Link;
use tests::media_check;

use source::Drift;
use world::{Conditions, record};

/// How far a beep may be from its flash, milliseconds.
const MAX_SKEW: f64 = 40.0;
/// How far the length of the sound may be from that of the call, seconds.
const MAX_ERROR: f64 = 0.020;

fn bad_link() -> Link {
    Link { loss: 0.02, delay: Duration::from_millis(30), jitter: Duration::from_millis(20), ..Link::default() }
}

/// Records, and checks all that must hold whatever happened.
fn check(conditions: Conditions) {
    let folder = tempfile::tempdir().expect("a folder");
    let files = record(conditions, folder.path()).expect("records");
    let [file] = &files[..] else { panic!("one file: {files:?}") };
    let path = folder.path().join(&file.name);
    println!("{file:?}");
    let seconds = (file.end_ms - file.start_ms) as f64 / 1000.0;
    assert!((seconds - conditions.length.as_secs_f64()).abs() < 2.1, "{seconds} s");
    for decoder in ["opus", "libopus"] {
        let sound = media_check::wav_seconds(&path, decoder).expect("ffmpeg converts");
        assert!((sound - seconds).abs() <= MAX_ERROR, "{decoder}: {sound} s of sound in {seconds} s");
    }
    let skew = media_check::skew(&media_check::events(&path).expect("decodes"));
    let worst = skew.each.iter().copied().enumerate().max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()));
    println!("{} of {} flashes have a beep, worst {worst:?}, median {}", skew.each.len(), skew.flashes, skew.median());
    let expected = conditions.length.as_secs_f64() * 0.97 - 4.0;
    assert!(skew.each.len() as f64 >= expected, "{} of {} flashes have a beep", skew.each.len(), skew.flashes);
    assert!(skew.max() <= MAX_SKEW, "{worst:?} of {:?}", skew.each.len());
}

#[test]
fn two_hours_with_wrong_clocks_and_loss_stay_in_sync() {
    check(Conditions {
        length: Duration::from_secs(7200),
        sound: Drift(100.0),
        picture: Drift(-100.0),
        link: bad_link(),
        set_back: None,
    });
}

#[test]
fn a_wall_clock_that_is_set_back_a_second_shifts_nothing() {
    check(Conditions {
        length: Duration::from_secs(300),
        sound: Drift(-100.0),
        picture: Drift(100.0),
        link: bad_link(),
        set_back: Some((Duration::from_secs(100), Duration::from_secs(1))),
    });
}
