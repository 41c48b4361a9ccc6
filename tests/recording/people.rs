//! Several participants, several recorders, one clock.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use signalling::message::Source;
use signalling::recording::Happening;
use tests::bot::{Bot, Feed};
use tests::media_check::{self, Events};
use tests::media_source::{Picture, Sound, Video};
use tests::recorder_process::RecorderProcess;
use tests::recording::{Stand, Storage};

use super::{camera, check_media, files, microphone, millis, spans, switched_on, written};

/// Where in its second a bot flashes and beeps.
const FIRST: Duration = Duration::from_millis(500);
/// How long a bot's media is: longer than the test, because a round of sound is a packet longer than one of pictures.
const SECONDS: f64 = 60.0;
/// How far apart the same moment may be in two files: a picture, and less than an ear hears.
const FLASHES_MS: f64 = 33.0;
const BEEPS_MS: f64 = 20.0;
/// A second recorder is told how old the recording is, and hears it so much later on a busy machine.
const WAY_MS: f64 = 50.0;

/// Every fourth second of a bot is dark, so that nobody takes one second for another.
const DARK: u32 = 4;

fn flashes_and_beeps() -> Vec<Feed> {
    let picture = Picture::Rhythm(FIRST, DARK);
    let video = Video { picture, key_every: 15, seconds: SECONDS, width: 320, height: 180, ..Video::default() };
    vec![
        Feed { source: Source::Mic, media: Sound::Beeps(FIRST).opus(SECONDS).expect("ffmpeg encodes") },
        Feed { source: Source::Camera, media: video.vp8().expect("ffmpeg encodes") },
    ]
}

async fn join(stand: &Stand, room: &str, feeds: Vec<Feed>) -> (Bot, Instant) {
    let mut bot = Bot::join(stand.address(), room, None, feeds).await.expect("joins");
    let started = bot.connected().await.expect("media flows");
    (bot, started)
}

/// Events of a file by the second of the sender's media in which they lie, with how late each is, in milliseconds. The sender's
/// media began at `begun` on the recording's clock, but for what is `late` in all files alike.
fn places(events: &[f64], file: &Value, begun: f64) -> BTreeMap<i64, f64> {
    let place = |at: &f64| {
        let at = millis(&file["start_ms"]) + at * 1000.0 - begun - FIRST.as_secs_f64() * 1000.0;
        let second = (at / 1000.0).round();
        (second as i64, at - second * 1000.0)
    };
    events.iter().map(place).collect()
}

fn median(places: &BTreeMap<i64, f64>) -> f64 {
    let mut late: Vec<f64> = places.values().copied().collect();
    late.sort_by(f64::total_cmp);
    late.get(late.len() / 2).copied().unwrap_or(f64::NAN)
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_in_one_clock_on_both_recorders_of_a_hand_over() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let spawn =
        |name| RecorderProcess::spawn(&stand.recorder_file(name).expect("written")).expect("the binary is built");
    let first = spawn("a");
    let feeds = flashes_and_beeps();
    let (ada, ada_started) = join(&stand, "clock", feeds.clone()).await;
    let id = stand.record("clock").await.expect("records");
    let on = switched_on(&stand, &id).await;
    stand.wait(&id, &["recording"]).await.expect("records");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (bob, bob_started) = join(&stand, "clock", feeds).await;
    let second = spawn("b");
    stand.wait_for_recorders(|ready| ready["recorders"] == 2).await.expect("both are there");
    tokio::time::sleep(Duration::from_secs(6)).await;
    first.signal(Signal::TERM).expect("SIGTERM");
    assert!(first.wait().await.expect("ends by itself"), "and ends well");
    // A dark second lies within each file although the second recorder may take its time to begin.
    tokio::time::sleep(Duration::from_secs(9)).await;
    stand.stop("clock").await.expect("stops");
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    assert_eq!(recording["state"], "ready", "{recording}");
    let begun = |participant: &Value| {
        let started = match participant {
            id if *id == *ada.welcome.me.as_str() => ada_started,
            id if *id == *bob.welcome.me.as_str() => bob_started,
            id => panic!("nobody else was there: {id}"),
        };
        // Before the recording was switched on, or after.
        started.saturating_duration_since(on).as_secs_f64() * 1000.0
            - on.saturating_duration_since(started).as_secs_f64() * 1000.0
    };
    let mut late = Vec::new();
    for file in files(&recording) {
        let path = stand.download(file).await.expect("downloads");
        let Events { flashes, beeps } = media_check::events(&path).expect("decodes");
        let begun = begun(&file["participant"]);
        let [flashes, beeps] = [flashes, beeps].map(|events| places(&events, file, begun));
        // Sound may begin before the first picture, and end after the last.
        let heard: Vec<i64> = beeps.keys().copied().collect();
        let [_, within @ .., _] = &heard[..] else { panic!("{file}: {heard:?}") };
        let seen: Vec<i64> = flashes.keys().copied().filter(|second| within.contains(second)).collect();
        let bright: Vec<i64> = within.iter().copied().filter(|second| second % i64::from(DARK) != 0).collect();
        assert_eq!(seen, bright, "{file}: {heard:?}");
        assert!(bright.len() < within.len(), "{file}: {heard:?}");
        late.push((median(&flashes), median(&beeps), file["name"].clone()));
    }
    println!("{late:?}");
    assert_eq!(late.len(), 4, "two people on two recorders: {late:?}");
    let is_first = |name: &Value| name.as_str().is_some_and(|name| name.ends_with("-1.webm"));
    for (flashes, beeps, name) in &late {
        let own = late.iter().find(|other| is_first(&other.2) == is_first(name)).expect("at least itself");
        for (other, more) in [(own, 0.0), (&late[0], WAY_MS)] {
            assert!((flashes - other.0).abs() <= FLASHES_MS + more, "{late:?}");
            assert!((beeps - other.1).abs() <= BEEPS_MS + more, "{late:?}");
        }
    }
    second.kill().await.expect("SIGKILL");
    ada.leave().await;
    bob.leave().await;
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_and_comes_back_has_two_files_in_order() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let recorder = recorder::start(stand.recorder_config("a")).await.expect("starts");
    // Encoded before, so that only the way into the room lies between the two.
    let feeds = vec![microphone(), camera(15)];
    let (bot, _) = join(&stand, "back", feeds.clone()).await;
    let id = stand.record("back").await.expect("records");
    written(&stand, &id).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let leaves = Instant::now();
    bot.leave().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (bot, _) = join(&stand, "back", feeds).await;
    let away = leaves.elapsed().as_secs_f64() * 1000.0;
    tokio::time::sleep(Duration::from_secs(2)).await;
    stand.stop("back").await.expect("stops");
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    assert_eq!((&recording["state"], files(&recording).len()), (&Value::from("ready"), 2), "{recording}");
    for file in files(&recording) {
        let path = stand.download(file).await.expect("downloads");
        check_media(Path::new(&path), (millis(&file["end_ms"]) - millis(&file["start_ms"])) / 1000.0);
    }
    let spans = spans(&recording);
    let apart = spans[1].0 - spans[0].1;
    // The second file begins when the recorder hears that somebody publishes again.
    assert!((500.0..=away + 500.0).contains(&apart), "{apart} ms apart, away for {away} ms: {spans:?}");
    let manifest = stand.manifest(&recording).await.expect("a manifest");
    let people: Vec<_> = manifest
        .timeline
        .iter()
        .filter_map(|moment| match moment.what {
            Happening::Join { .. } => Some("join"),
            Happening::Leave { .. } => Some("leave"),
            _ => None,
        })
        .collect();
    assert_eq!(people, ["join", "leave", "join"], "{manifest:?}");
    bot.leave().await;
    recorder.stop();
    recorder.wait().await.expect("ends well");
    stand.end().await;
}
