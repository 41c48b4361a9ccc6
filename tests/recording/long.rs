//! Long calls in virtual time: what is seen and heard stands where it was, to the end, whatever happened on the way.

mod source;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use netsim::Link;
use sfu::command::Source;
use tests::media_check::{self, layout};

use source::{BEGIN, Counter, is_dark};
use world::{Action, Conditions, Outcome, PUBLISHER, RECORDER, record};

const SECOND: Duration = Duration::from_secs(1);
/// How far a beep may be from its flash, milliseconds, and a flash from where it should be.
const MAX_SKEW: f64 = 40.0;
/// So many beeps in a row are taken together: one whose first packet was lost for good begins late, and so does the decoder,
/// for some packets. That is loss; skew is what all of them have.
const WINDOW: usize = 10;
/// How far the length of the sound may be from that of the call, seconds, and what is lost in the difference of two numbers.
const MAX_ERROR: f64 = 0.020 + 1e-9;
/// An event belongs to a true moment this near, seconds. Those are a second apart, or two.
const NEAR: f64 = 0.45;

/// A recorded call.
struct Recorded {
    outcome: Outcome,
    folder: tempfile::TempDir,
    /// True moments of the flashes, seconds in the file.
    moments: Vec<f64>,
    /// By moment: how much later its flash and its beep are, milliseconds.
    flashes: Vec<Option<f64>>,
    beeps: Vec<Option<f64>>,
}

fn bad_link() -> Link {
    Link { loss: 0.02, delay: Duration::from_millis(30), jitter: Duration::from_millis(20), ..Link::default() }
}

fn good_link() -> Link {
    Link { delay: Duration::from_millis(30), jitter: Duration::from_millis(10), ..Link::default() }
}

fn call(seconds: u64, link: Link) -> Conditions {
    Conditions { length: SECOND * seconds as u32, link, key_every: SECOND, ..Conditions::default() }
}

/// How much later the nearest event to each moment is, in milliseconds; panics if there is one that belongs to none.
fn late(moments: &[f64], events: &[f64], what: &str) -> Vec<Option<f64>> {
    let nearest = |to: f64, among: &[f64]| {
        let place = among.partition_point(|at| *at < to);
        let near = among[place.saturating_sub(1)..among.len().min(place + 1)].iter().map(|at| at - to);
        near.min_by(|a, b| a.abs().total_cmp(&b.abs())).filter(|distance| distance.abs() < NEAR)
    };
    // The list lacks those of the first seconds and of the last.
    let (first, last) = (moments[0] - NEAR, moments[moments.len() - 1] + NEAR);
    let listed = events.iter().filter(|at| (first..last).contains(*at));
    let strange: Vec<&f64> = listed.filter(|at| nearest(**at, moments).is_none()).collect();
    assert!(strange.is_empty(), "{what} where there is none: {strange:?}");
    moments.iter().map(|moment| nearest(*moment, events).map(|late| late * 1000.0)).collect()
}

/// Records, and checks all that must hold whatever happened.
fn check(conditions: &Conditions) -> Recorded {
    let folder = tempfile::tempdir().expect("a folder");
    let outcome = record(conditions, folder.path()).expect("records");
    let path = folder.path().join(&outcome.file.name);
    let file = &outcome.file;
    println!("{:?}, asked at {:?}", file.figures, outcome.asked);
    assert_eq!((file.start_ms, u128::from(file.end_ms)), (0, (SECOND * 2 + conditions.length).as_millis()));
    let seconds = file.end_ms as f64 / 1000.0;
    for decoder in ["opus", "libopus"] {
        let sound = media_check::wav_seconds(&path, decoder).expect("ffmpeg converts");
        assert!((sound - seconds).abs() <= MAX_ERROR, "{decoder}: {sound} s of sound in {seconds} s");
    }
    let often = outcome.asked.windows(2).filter(|pair| pair[1] - pair[0] < Duration::from_millis(999)).count();
    assert_eq!(often, 0, "at most one request a second");
    let events = media_check::events(&path).expect("decodes");
    // Until the first reports, arrival has to do.
    let bright = (3..conditions.length.as_secs()).filter(|second| !is_dark(*second));
    let moments: Vec<f64> =
        bright.map(|second| (outcome.began + Duration::from_secs(second) + BEGIN).as_secs_f64()).collect();
    let (flashes, beeps) = (late(&moments, &events.flashes, "a flash"), late(&moments, &events.beeps, "a beep"));
    Recorded { outcome, folder, moments, flashes, beeps }
}

impl Recorded {
    fn path(&self) -> PathBuf {
        self.folder.path().join(&self.outcome.file.name)
    }

    /// Of the moments within some seconds of the call: how many flashes and beeps there are, and how many there should be.
    fn seen(&self, seconds: std::ops::Range<u64>) -> (usize, usize, usize) {
        let began = self.outcome.began.as_secs_f64();
        let within = |n: &usize| seconds.contains(&((self.moments[*n] - began) as u64));
        let places: Vec<usize> = (0..self.moments.len()).filter(within).collect();
        let count = |events: &[Option<f64>]| places.iter().filter(|n| events[**n].is_some()).count();
        (count(&self.flashes), count(&self.beeps), places.len())
    }

    /// What is seen between these moments of the call does not count.
    fn forget(&mut self, from: Duration, to: Duration) {
        let range = (self.outcome.began + from).as_secs_f64()..(self.outcome.began + to).as_secs_f64();
        for (moment, flash) in self.moments.iter().zip(&mut self.flashes) {
            *flash = flash.filter(|_| !range.contains(moment));
        }
    }

    /// Sound and picture are together, and both are where they were to the end.
    fn assert_in_sync(&self) {
        let both: Vec<(f64, f64)> = self.flashes.iter().zip(&self.beeps).filter_map(|(f, b)| f.zip(*b)).collect();
        let skews: Vec<f64> = both.iter().map(|(flash, beep)| beep - flash).collect();
        let together = skews.iter().filter(|each| each.abs() <= MAX_SKEW).count();
        let worst = skews.chunks(WINDOW).map(median).max_by(|a, b| a.abs().total_cmp(&b.abs())).expect("windows");
        let flashes: Vec<f64> = self.flashes.iter().copied().flatten().collect();
        let usual = median(&flashes);
        let astray = flashes.iter().map(|late| (late - usual).abs()).fold(0.0, f64::max);
        println!(
            "{} of {}: {together} within {MAX_SKEW} ms, worst {worst}; flashes {usual} late, at most {astray} from that",
            skews.len(),
            self.moments.len()
        );
        assert!(worst.abs() <= MAX_SKEW, "{worst} ms");
        assert!(together as f64 >= skews.len() as f64 * 0.98, "{together} of {} within {MAX_SKEW} ms", skews.len());
        assert!(astray <= MAX_SKEW, "a flash is {astray} ms from where it should be");
    }

    /// Nearly everything was seen and heard.
    fn assert_complete(&self) {
        let pairs = self.flashes.iter().zip(&self.beeps).filter(|(flash, beep)| flash.is_some() && beep.is_some());
        let (pairs, all) = (pairs.count(), self.moments.len());
        assert!(pairs as f64 >= all as f64 * 0.97, "{pairs} flashes with a beep of {all}");
    }

    /// Milliseconds between pictures within some seconds of the file: the least and the most.
    fn spacing(&self, seconds: std::ops::Range<i64>) -> (i64, i64) {
        let bytes = std::fs::read(self.path()).expect("the file");
        let layout = layout(&bytes).expect("Matroska");
        let times: Vec<i64> = layout.blocks_of(1).map(|block| block.at).collect();
        let pairs = times.windows(2).filter(|pair| seconds.contains(&(pair[0] / 1000)));
        let steps: Vec<i64> = pairs.map(|pair| pair[1] - pair[0]).collect();
        (steps.iter().copied().min().expect("pictures"), steps.iter().copied().max().expect("pictures"))
    }

    fn assert_decodes(&self) {
        let complaints = media_check::decode_complaints(&self.path(), "opus").expect("ffmpeg runs");
        assert!(complaints.is_empty(), "{complaints:?}");
    }
}

fn median(each: &[f64]) -> f64 {
    let mut sorted = each.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn drift(drift: f64) -> Counter {
    Counter { drift, first: 0 }
}

#[test]
fn two_hours_with_wrong_clocks_and_loss_stay_in_sync() {
    let actions = vec![(SECOND * 3000, Action::SetClock(SECOND))];
    let recorded =
        check(&Conditions { sound: drift(100.0), picture: drift(-100.0), actions, ..call(7200, bad_link()) });
    recorded.assert_complete();
    recorded.assert_in_sync();
}

/// The wall clock is set, one way and the other: nothing moves, and nothing jumps by more than a picture.
#[test]
fn a_wall_clock_that_is_set_shifts_nothing() {
    for (before, after) in [(Duration::ZERO, SECOND), (SECOND, Duration::ZERO)] {
        let actions = vec![(Duration::ZERO, Action::SetClock(before)), (SECOND * 100, Action::SetClock(after))];
        let conditions = Conditions { sound: drift(-100.0), picture: drift(100.0), actions, ..call(200, good_link()) };
        let recorded = check(&conditions);
        recorded.assert_complete();
        recorded.assert_in_sync();
        let (least, most) = recorded.spacing(80..130);
        assert!(least >= 50 && most <= 200, "{least} to {most} ms between pictures");
        let figures = recorded.outcome.file.figures;
        // A slow microphone lacks 20 ms in 200 s. Before the call there is nothing to hear.
        let filled = figures.filled_ms.saturating_sub(recorded.outcome.began.as_millis() as u64);
        assert!(figures.dropped <= 3 && filled <= 200, "{figures:?}");
    }
}

/// Key frames come by themselves every ten seconds only. After a short outage what was lost comes again; after one longer
/// than what senders keep, a key frame must be asked for.
#[test]
fn damage_is_short_and_never_written() {
    for (end, outage, asks) in [(PUBLISHER, 700, 0), (RECORDER, 700, 0), (PUBLISHER, 4000, 1), (RECORDER, 4000, 1)] {
        let lasts = Duration::from_millis(outage);
        let outages = [13_300, 27_800, 41_150].map(Duration::from_millis);
        let actions =
            outages.iter().flat_map(|at| [(*at, Action::Cut(end, true)), (*at + lasts, Action::Cut(end, false))]);
        let conditions = Conditions { key_every: SECOND * 10, actions: actions.collect(), ..call(60, good_link()) };
        let mut recorded = check(&conditions);
        recorded.assert_decodes();
        outages.iter().for_each(|at| recorded.forget(*at, *at + lasts + SECOND));
        recorded.assert_in_sync();
        let (_, most) = recorded.spacing(2..60);
        // What comes again comes into its place.
        let may = if asks == 0 { 300 } else { outage as i64 + 1100 };
        assert!(most <= may, "{most} ms without a picture after {outage} ms");
        let (asked, lost) = (recorded.outcome.asked.len(), recorded.outcome.file.figures.lost);
        println!("{outage} ms: {asked} key frames asked, {lost} lost, {most} ms");
        assert!((asks..=9).contains(&asked), "{:?}", recorded.outcome.asked);
    }
}

/// The microphone sends nothing for a while, unsaid and said.
#[test]
fn silence_without_packets_has_its_length() {
    let quiet = |at: u32, until: u32| (SECOND * at, Action::Quiet(Source::Mic, SECOND * until));
    let mute = |at: u32, muted| (SECOND * at, Action::Mute(Source::Mic, muted));
    let actions = vec![quiet(10, 13), quiet(20, 21), mute(30, true), quiet(30, 40), mute(40, false), quiet(50, 51)];
    let recorded = check(&Conditions { actions, ..call(60, good_link()) });
    recorded.assert_decodes();
    recorded.assert_in_sync();
    for heard in [3..10, 13..20, 21..30, 40..50, 51..60] {
        let (flashes, beeps, all) = recorded.seen(heard.clone());
        assert_eq!((flashes, beeps), (all, all), "{heard:?}");
    }
    for silent in [10..13, 20..21, 30..40, 50..51] {
        let (flashes, beeps, all) = recorded.seen(silent.clone());
        assert_eq!((flashes, beeps), (all, 0), "{silent:?}");
    }
    for container in ["ogg", "mp4"] {
        let seconds = media_check::converted(&recorded.path(), container).expect("ffmpeg converts");
        assert!((seconds - 62.0).abs() <= MAX_ERROR, "{seconds} s of sound in {container}");
    }
}

/// Another microphone is opened: nothing comes meanwhile, then its timestamps go on where they were.
#[test]
fn another_microphone_costs_a_moment() {
    for takes in [1, 2] {
        let actions = vec![(SECOND * 30, Action::ChangeMicrophone(SECOND * takes))];
        let recorded = check(&Conditions { actions, ..call(60, good_link()) });
        recorded.assert_decodes();
        recorded.assert_in_sync();
        let first = u64::from(30 + takes);
        for heard in [3..30, first..60] {
            let (_, beeps, all) = recorded.seen(heard.clone());
            assert_eq!(beeps, all, "{heard:?}");
        }
    }
}

/// Timestamps wrap in the first minute, and half of them pass in a mute of seven hours. Part of `make test-full`.
#[test]
#[ignore = "decodes seven hours of silence three times"]
fn wraps_and_hours_of_mute_lose_nothing_long() {
    let hours = 7 * 3600;
    let first = |rate: u64| Counter { drift: 0.0, first: (1 << 32) - 30 * rate };
    let (away, back) = (SECOND * 60, SECOND * (60 + hours));
    let both = [Source::Mic, Source::Camera];
    let gone =
        both.iter().flat_map(|source| [(away, Action::Mute(*source, true)), (away, Action::Quiet(*source, back))]);
    let here = both.iter().map(|source| (back, Action::Mute(*source, false)));
    let conditions = Conditions {
        sound: first(48_000),
        picture: first(90_000),
        key_every: SECOND * 10,
        actions: gone.chain(here).collect(),
        ..call(u64::from(hours) + 120, good_link())
    };
    let recorded = check(&conditions);
    recorded.assert_in_sync();
    assert_eq!(recorded.outcome.file.figures.lost, 0);
    for heard in [3..60, u64::from(hours) + 60..u64::from(hours) + 120] {
        let (flashes, beeps, all) = recorded.seen(heard.clone());
        assert_eq!((flashes, beeps), (all, all), "{heard:?}");
    }
    assert!(recorded.outcome.asked.len() <= 3, "{:?}", recorded.outcome.asked);
}
