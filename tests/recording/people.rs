//! Several participants, several recorders, one clock.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use signalling::message::Source;
use tests::bot::{Bot, Feed};
use tests::media_check::{self, Events};
use tests::media_source::{Picture, Sound, Video};
use tests::recorder_process::RecorderProcess;
use tests::recording::{Stand, Storage};

use super::{camera, check_media, files, microphone, millis, spans};

/// Where in its second a bot flashes and beeps.
const FIRST: Duration = Duration::from_millis(500);
/// How long a bot's media is: longer than the test, because a round of sound is a packet longer than one of pictures.
const SECONDS: f64 = 60.0;
/// How far apart the same moment may be in two files: a picture, and less than an ear hears.
const FLASHES_MS: f64 = 33.0;
const BEEPS_MS: f64 = 20.0;

async fn flasher(stand: &Stand, room: &str) -> (Bot, Instant) {
    let picture = Picture::Flashes(FIRST);
    let video = Video { picture, key_every: 15, seconds: SECONDS, width: 320, height: 180, ..Video::default() };
    let feeds = vec![
        Feed { source: Source::Mic, media: Sound::Beeps(FIRST).opus(SECONDS).expect("ffmpeg encodes") },
        Feed { source: Source::Camera, media: video.vp8().expect("ffmpeg encodes") },
    ];
    let mut bot = Bot::join(stand.address(), room, None, feeds).await.expect("joins");
    let started = bot.connected().await.expect("media flows");
    (bot, started)
}

/// Where events lie on the recording's clock, less where their sender had them after `start`, in milliseconds of a second: the
/// middle one.
fn phase(events: &[f64], file: &Value, sent: Duration) -> f64 {
    let place = |at: &f64| (millis(&file["start_ms"]) + at * 1000.0 - sent.as_secs_f64() * 1000.0).rem_euclid(1000.0);
    let mut places: Vec<f64> = events.iter().map(place).collect();
    places.sort_by(f64::total_cmp);
    places.get(places.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How far two places in a second are apart.
fn distance(a: f64, b: f64) -> f64 {
    let apart = (a - b).rem_euclid(1000.0);
    apart.min(1000.0 - apart)
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_in_one_clock_on_both_recorders_of_a_hand_over() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let spawn =
        |name| RecorderProcess::spawn(&stand.recorder_file(name).expect("written")).expect("the binary is built");
    let first = spawn("a");
    let (ada, ada_started) = flasher(&stand, "clock").await;
    let id = stand.record("clock").await.expect("records");
    stand.wait(&id, &["recording"]).await.expect("records");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (bob, bob_started) = flasher(&stand, "clock").await;
    let second = spawn("b");
    stand.wait_for_recorders(|ready| ready["recorders"] == 2).await.expect("both are there");
    tokio::time::sleep(Duration::from_secs(4)).await;
    first.signal(Signal::TERM).expect("SIGTERM");
    assert!(first.wait().await.expect("ends by itself"), "and ends well");
    tokio::time::sleep(Duration::from_secs(4)).await;
    stand.stop("clock").await.expect("stops");
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    assert_eq!(recording["state"], "ready", "{recording}");
    let begun = |participant: &Value| match participant {
        id if *id == *ada.welcome.me.as_str() => ada_started,
        id if *id == *bob.welcome.me.as_str() => bob_started,
        id => panic!("nobody else was there: {id}"),
    };
    let mut phases = Vec::new();
    for file in files(&recording) {
        let path = stand.download(file).await.expect("downloads");
        let Events { flashes, beeps } = media_check::events(&path).expect("decodes");
        assert!(flashes.len() >= 2 && beeps.len() >= 2, "{file}: {flashes:?} {beeps:?}");
        let sent = begun(&file["participant"]) - ada_started + FIRST;
        phases.push((phase(&flashes, file, sent), phase(&beeps, file, sent), file["name"].clone()));
    }
    assert_eq!(phases.len(), 4, "two people on two recorders: {phases:?}");
    for (flashes, beeps, _) in &phases {
        assert!(distance(*flashes, phases[0].0) <= FLASHES_MS, "{phases:?}");
        assert!(distance(*beeps, phases[0].1) <= BEEPS_MS, "{phases:?}");
    }
    println!("{phases:?}");
    second.kill().await.expect("SIGKILL");
    ada.leave().await;
    bob.leave().await;
    stand.end().await;
}

/// The manifest as it lies in storage.
async fn manifest(stand: &Stand, recording: &Value) -> Value {
    let key = format!("{}/recording.json", recording["folder"].as_str().expect("a folder"));
    let bytes = stand.store().expect("opens").get(&key).await.expect("is there");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_and_comes_back_has_two_files_in_order() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let recorder = recorder::start(stand.recorder_config("a")).await.expect("starts");
    let join = || Bot::join(stand.address(), "back", None, vec![microphone(), camera(15)]);
    let mut bot = join().await.expect("joins");
    bot.connected().await.expect("media flows");
    let id = stand.record("back").await.expect("records");
    stand.wait(&id, &["recording"]).await.expect("records");
    tokio::time::sleep(Duration::from_secs(2)).await;
    bot.leave().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut bot = join().await.expect("joins again");
    bot.connected().await.expect("media flows");
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
    assert!((500.0..2_500.0).contains(&apart), "{apart} ms apart: {spans:?}");
    let manifest = manifest(&stand, &recording).await;
    let timeline = manifest["timeline"].as_array().expect("a timeline");
    let what = |moment: &&Value| moment["what"].as_str().is_some_and(|what| ["join", "leave"].contains(&what));
    let people: Vec<_> =
        timeline.iter().filter(what).map(|moment| moment["what"].as_str().unwrap_or_default()).collect();
    assert_eq!(people, ["join", "leave", "join"], "{manifest}");
    bot.leave().await;
    recorder.stop();
    recorder.wait().await.expect("ends well");
    stand.end().await;
}
