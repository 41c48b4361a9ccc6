//! Recordings end to end: a real server, a real recorder, real media over UDP, real storage; judged by readers that are
//! not ours.

mod codecs;
mod disk;
mod kill;
mod long;
mod many;
mod people;
mod refused;
mod rules;
mod upload;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use signalling::message::Source;
use tests::bot::{Bot, Feed};
use tests::media_check;
use tests::media_source::{Picture, Sound, Video};
use tests::recording::{Stand, Storage};

fn camera(key_every: u32) -> Feed {
    let video = Video { key_every, seconds: 4.0, ..Video::default() };
    Feed { source: Source::Camera, media: video.vp8().expect("ffmpeg encodes") }
}

/// A camera whose files fill disks and parts: some 20 Mbit/s.
fn noisy_camera() -> Feed {
    let video = Video {
        picture: Picture::Noise,
        width: 800,
        height: 448,
        fps: 30,
        key_every: 30,
        seconds: 1.0,
        kilobits: 20_000,
    };
    Feed { source: Source::Camera, media: video.vp8().expect("ffmpeg encodes") }
}

/// When each file begins and ends on the recording's clock, milliseconds, in order; none may cover another one's time.
fn spans(recording: &Value) -> Vec<(f64, f64)> {
    let span = |file: &Value| (millis(&file["start_ms"]), millis(&file["end_ms"]));
    let mut spans: Vec<_> = files(recording).iter().map(span).collect();
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "twice: {spans:?}");
    spans
}

fn microphone() -> Feed {
    Feed { source: Source::Mic, media: Sound::Tone.opus(4.0).expect("ffmpeg encodes") }
}

fn files(recording: &Value) -> &[Value] {
    recording["files"].as_array().map_or(&[], Vec::as_slice)
}

fn millis(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// When a recording was switched on: requests take their time where much is going on.
async fn switched_on(stand: &Stand, id: &str) -> Instant {
    let recording = stand.wait_until(id, "known", |_| true).await.expect("is known");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let age = now - millis(&recording["started_ms"]) / 1000.0;
    Instant::now().checked_sub(Duration::from_secs_f64(age)).expect("not long ago")
}

/// Waits until media is being written, which comes later than the state `recording`: that only means that the recorder
/// is in the room. The recording as the API shows it then.
async fn written(stand: &Stand, id: &str) -> Value {
    let has_media = |recording: &Value| recording["progress"]["bytes"].as_u64().is_some_and(|bytes| bytes > 0);
    stand.wait_until(id, "written", has_media).await.expect("media is written")
}

/// Does what takes its time where nobody has to wait for it: the server in this process, and others in the same task.
async fn beside<T: Send + 'static>(check: impl FnOnce() -> T + Send + 'static) -> T {
    let checked = tokio::task::spawn_blocking(check).await;
    checked.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// VP8 and Opus, whole, seekable, as long as it says.
fn check_media(path: &Path, seconds: f64) {
    media_check::check_all(path).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()));
    let probe = media_check::probe(path).expect("ffprobe reads");
    let duration = probe.duration.expect("a duration");
    assert!((duration - seconds).abs() <= 0.5, "{duration} s instead of {seconds} s");
    let sound = media_check::converted_seconds(path).expect("ffmpeg converts");
    assert!((sound - seconds).abs() <= 0.5, "{sound} s of sound instead of {seconds} s");
}

/// Ten seconds, from the button to the downloaded file.
async fn records(storage: Storage) {
    let stand = Stand::start(storage).await.expect("starts");
    let recorder = recorder::start(stand.recorder_config("a")).await.expect("starts");
    let feeds = vec![microphone(), camera(30)];
    let mut bot = Bot::join(stand.address(), "demo", None, feeds).await.expect("joins");
    bot.connected().await.expect("media flows");
    let id = stand.record("demo").await.expect("records");
    stand.wait(&id, &["recording"]).await.expect("records");
    tokio::time::sleep(Duration::from_secs(10)).await;
    stand.stop("demo").await.expect("stops");
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    assert_eq!(recording["state"], "ready", "{recording}");
    let on = (millis(&recording["ended_ms"]) - millis(&recording["started_ms"])) / 1000.0;
    let [file] = files(&recording) else { panic!("one file: {recording}") };
    let path = stand.download(file).await.expect("downloads");
    check_media(&path, on);
    let probe = media_check::probe(&path).expect("ffprobe reads");
    assert!(probe.stream("video").is_some_and(|video| video.codec == "vp8"), "{probe:?}");
    assert!(probe.stream("audio").is_some_and(|audio| audio.codec == "opus"), "{probe:?}");
    assert_eq!(file["size"].as_u64(), Some(std::fs::metadata(&path).expect("a file").len()));
    stand.wait_for_empty_spool("a").await.expect("nothing is left");
    bot.leave().await;
    recorder.stop();
    recorder.wait().await.expect("ends well");
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_seconds_are_recorded_to_a_bucket() {
    records(Storage::S3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_seconds_are_recorded_to_a_folder() {
    records(Storage::Disk).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flash_and_beep_stay_together() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let recorder = recorder::start(stand.recorder_config("a")).await.expect("starts");
    let first = Duration::from_millis(500);
    // Longer than the test: a round of sound is a packet longer than one of pictures, and the next one late by that.
    let seconds = 30.0;
    let picture = Picture::Flashes(first);
    let video = Video { picture, key_every: 15, seconds, width: 320, height: 180, ..Video::default() };
    let feeds = vec![
        Feed { source: Source::Mic, media: Sound::Beeps(first).opus(seconds).expect("ffmpeg encodes") },
        Feed { source: Source::Camera, media: video.vp8().expect("ffmpeg encodes") },
    ];
    let mut bot = Bot::join(stand.address(), "sync", None, feeds).await.expect("joins");
    bot.connected().await.expect("media flows");
    let id = stand.record("sync").await.expect("records");
    written(&stand, &id).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    stand.stop("sync").await.expect("stops");
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    let [file] = files(&recording) else { panic!("one file: {recording}") };
    let path = stand.download(file).await.expect("downloads");
    let skew = media_check::skew(&media_check::events(&path).expect("decodes"));
    assert!(skew.each.len() >= 6, "{skew:?}");
    assert!(skew.max() <= 40.0, "{skew:?}");
    bot.leave().await;
    recorder.stop();
    recorder.wait().await.expect("ends well");
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_muted_microphone_and_a_storage_outage_lose_nothing() {
    let mut stand = Stand::start(Storage::S3).await.expect("starts");
    let recorder = recorder::start(stand.recorder_config("a")).await.expect("starts");
    let mut bot = Bot::join(stand.address(), "mute", None, vec![microphone(), camera(15)]).await.expect("joins");
    bot.connected().await.expect("media flows");
    let id = stand.record("mute").await.expect("records");
    stand.wait(&id, &["recording"]).await.expect("records");
    tokio::time::sleep(Duration::from_secs(2)).await;
    bot.mute(Source::Mic, true);
    tokio::time::sleep(Duration::from_secs(2)).await;
    bot.mute(Source::Mic, false);
    stand.stop_s3();
    tokio::time::sleep(Duration::from_secs(2)).await;
    stand.stop("mute").await.expect("stops");
    stand.wait(&id, &["uploading"]).await.expect("tries to upload");
    stand.start_s3().await.expect("comes back");
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    assert_eq!(recording["state"], "ready", "{recording}");
    let on = (millis(&recording["ended_ms"]) - millis(&recording["started_ms"])) / 1000.0;
    let [file] = files(&recording) else { panic!("one file: {recording}") };
    check_media(&stand.download(file).await.expect("downloads"), on);
    stand.wait_for_empty_spool("a").await.expect("nothing is left");
    bot.leave().await;
    recorder.stop();
    recorder.wait().await.expect("ends well");
    stand.end().await;
}
