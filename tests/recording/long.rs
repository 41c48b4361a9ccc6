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
/// So many beeps in a row are taken together: one whose first packet was lost for good begins late, and so does the decoder,
/// for some packets. That is loss; skew is what all of them have.
const WINDOW: usize = 10;
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
    let seconds = (file.end_ms - file.start_ms) as f64 / 1000.0;
    assert!((seconds - conditions.length.as_secs_f64()).abs() < 2.1, "{seconds} s");
    for decoder in ["opus", "libopus"] {
        let sound = media_check::wav_seconds(&path, decoder).expect("ffmpeg converts");
        assert!((sound - seconds).abs() <= MAX_ERROR, "{decoder}: {sound} s of sound in {seconds} s");
    }
    let skew = media_check::skew(&media_check::events(&path).expect("decodes"));
    let expected = conditions.length.as_secs_f64() * 0.97;
    assert!(skew.each.len() as f64 >= expected, "{} of {} flashes have a beep", skew.each.len(), skew.flashes);
    let together = skew.each.iter().filter(|each| each.abs() <= MAX_SKEW).count();
    let windows = skew.each.chunks(WINDOW).map(median);
    let worst = windows.max_by(|a, b| a.abs().total_cmp(&b.abs())).expect("windows");
    println!("{together} of {} within {MAX_SKEW} ms; median {}, worst {worst}", skew.each.len(), skew.median());
    assert!(worst.abs() <= MAX_SKEW, "{worst} ms");
    assert!(together as f64 >= skew.each.len() as f64 * 0.98, "{together} of {} within {MAX_SKEW} ms", skew.each.len());
}

fn median(each: &[f64]) -> f64 {
    let mut sorted = each.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
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
