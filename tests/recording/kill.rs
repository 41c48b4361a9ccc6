//! A recorder that is killed (SIGKILL) at any moment loses at most two seconds, and nothing is written twice.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use recorder::upload::{digest, sha256_parts};
use serde_json::Value;
use service::storage::{PART_SIZE, Store};
use signalling::recording::RecordedFile;
use tests::bot::{Bot, Feed};
use tests::fault_proxy::{Fault, Operation};
use tests::media_check;
use tests::recorder_process::RecorderProcess;
use tests::recording::{Stand, Storage};

use super::{beside, camera, check_media, files, microphone, millis, noisy_camera, spans, switched_on};

/// What a crash may cost, milliseconds.
const MAY_MISS: f64 = 2_000.0;
/// How long each recording is on.
const ON: Duration = Duration::from_secs(5);
/// How many recordings are on at once: most of each is waiting.
const LANES: usize = 5;
/// Kills in everyday tests.
const MOMENTS: usize = 20;
/// Kills in long tests.
const MANY_MOMENTS: usize = 200;

/// Each request of a delivery, and whether the recorder is killed before storage hears it or after it was done.
const LARGE_STEPS: [(Operation, Fault); 15] = [
    (Operation::Create, Fault::Hang),
    (Operation::Create, Fault::HangAfter),
    (Operation::Part(2), Fault::Hang),
    (Operation::Part(2), Fault::HangAfter),
    (Operation::Part(1), Fault::Hang),
    (Operation::Part(1), Fault::HangAfter),
    (Operation::ListParts, Fault::Hang),
    (Operation::Complete, Fault::Hang),
    (Operation::Complete, Fault::HangAfter),
    (Operation::Head, Fault::HangAfter),
    (Operation::PutSegment, Fault::Hang),
    (Operation::PutSegment, Fault::HangAfter),
    (Operation::GetSegment, Fault::Hang),
    (Operation::GetSegment, Fault::HangAfter),
    (Operation::ListUploads, Fault::Hang),
];

/// The same for a file of one part.
const SMALL_STEPS: [(Operation, Fault); 4] = [
    (Operation::Put, Fault::Hang),
    (Operation::Put, Fault::HangAfter),
    (Operation::Head, Fault::Hang),
    (Operation::PutSegment, Fault::HangAfter),
];

/// When the recorder is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// So long after the recording was switched on.
    Recording(Duration),
    /// So long after it was switched off, which takes 250 ms to finish and then uploads.
    Stopped(Duration),
    /// While storage is away, so that the upload waits.
    Uploading,
}

fn spawn(stand: &Stand) -> RecorderProcess {
    RecorderProcess::spawn(&stand.recorder_file("a").expect("written")).expect("the binary is built")
}

async fn kill(recorder: RecorderProcess) {
    recorder.kill().await.expect("SIGKILL");
}

/// How long after `on` there was something to record: until now, unless a busy machine keeps the bot from sending.
fn sent_after(bot: &Bot, on: Instant) -> Duration {
    let sent = bot.sent_until().expect("media flows");
    Instant::now().min(sent).saturating_duration_since(on)
}

/// The moments that a seed gives: half of them while media flows, a quarter while the recording ends and its upload begins,
/// a quarter while the upload waits for storage.
fn moments(seed: u64, count: usize) -> Vec<Moment> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut within = |range| Duration::from_millis(random.random_range(range));
    let moment = |n| match n % 8 {
        // What is lost in the first two seconds may be all there is.
        0 => Moment::Recording(within(500..2_000)),
        1 | 4 | 5 => Moment::Recording(within(2_000..4_500)),
        2 | 6 => Moment::Stopped(within(0..600)),
        _ => Moment::Uploading,
    };
    (0..count).map(moment).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_recorder_loses_two_seconds_at_most() {
    matrix(Storage::S3, &moments(20_261_120, MOMENTS), None).await;
}

/// The same at 200 moments, on garage, each with a storage that answers 500, 503 and 403, resets, hangs, ignores, cuts,
/// corrupts and loses answers. Part of `make test-full`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes more than five minutes, and garage"]
async fn a_recorder_killed_two_hundred_times_loses_two_seconds_at_most_long() {
    matrix(Storage::Garage, &moments(4, MANY_MOMENTS), Some(20_261_121)).await;
}

/// Storage is away for ten minutes while a recording ends, then it is delivered. Part of `make test-full`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes more than ten minutes, and garage"]
async fn a_storage_that_is_away_for_ten_minutes_loses_nothing_long() {
    let mut stand = Stand::start(Storage::Garage).await.expect("starts");
    let recorder = spawn(&stand);
    let mut bot = Bot::join(stand.address(), "away", None, vec![microphone(), camera(15)]).await.expect("joins");
    bot.connected().await.expect("media flows");
    let id = stand.record("away").await.expect("records");
    let on = switched_on(&stand, &id).await;
    tokio::time::sleep(ON).await;
    stand.proxy().go_away().await;
    let stopped_after = sent_after(&bot, on);
    stand.stop("away").await.expect("stops");
    tokio::time::sleep(Duration::from_secs(600)).await;
    stand.proxy().come_back().await.expect("listens again");
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    stand.wait_for_empty_spool("a").await.expect("nothing is left");
    check(&stand, &recording, stopped_after, &Moment::Uploading).await;
    kill(recorder).await;
    bot.leave().await;
    stand.end().await;
}

/// A recording for each moment; `faults`: the seed of a storage that suffers meanwhile.
async fn matrix(storage: Storage, moments: &[Moment], faults: Option<u64>) {
    // Lanes share a task, and encoding takes its time: once, before they begin.
    let feeds = &vec![microphone(), camera(15)];
    // Each lane has an installation of its own, because its storage goes away and comes back.
    let lane = |lane: usize| async move {
        let mut stand = Stand::start(storage).await.expect("starts");
        let mine: Vec<_> = moments.iter().enumerate().filter(|(n, _)| n % LANES == lane).collect();
        for (n, moment) in &mine {
            if let Some(seed) = faults {
                stand.proxy().order_random(seed + *n as u64, 4);
            }
            killed_at(&mut stand, &format!("kill{n}"), feeds.clone(), **moment).await;
            assert_eq!(stand.proxy().violations(), Vec::<String>::new());
        }
        // One or another has so few requests that each may have been spared.
        assert!(faults.is_none() || stand.proxy().suffered() >= mine.len(), "hardly anything was suffered");
        stand.end().await;
    };
    futures_util::future::join_all((0..LANES).map(lane)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_killed_at_every_step_of_an_upload_loses_nothing() {
    killed_at_every_step(Storage::S3).await;
}

/// The same on garage. Part of `make test-full`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs garage"]
async fn a_recorder_killed_at_every_step_of_an_upload_to_garage_loses_nothing_long() {
    killed_at_every_step(Storage::Garage).await;
}

async fn killed_at_every_step(storage: Storage) {
    let large = killed_at_each(storage, "large", vec![microphone(), noisy_camera()], &LARGE_STEPS);
    let small = killed_at_each(storage, "small", vec![microphone(), camera(15)], &SMALL_STEPS);
    let (large, small) = tokio::join!(large, small);
    let part = service::storage::PART_SIZE as u64;
    assert!(large > part && small < part, "one of several parts, one of one: {large} {small}");
}

/// One recording, whose recorder is killed at each of these steps of its delivery in turn. Returns its file's size.
async fn killed_at_each(storage: Storage, room: &str, feeds: Vec<Feed>, steps: &[(Operation, Fault)]) -> u64 {
    let mut stand = Stand::start(storage).await.expect("starts");
    let mut recorder = Some(spawn(&stand));
    let mut bot = Bot::join(stand.address(), room, None, feeds).await.expect("joins");
    bot.connected().await.expect("media flows");
    let order = |stand: &mut Stand, n: usize| {
        if let Some((operation, fault)) = steps.get(n) {
            stand.proxy().order(*operation, *fault, 1);
        }
    };
    // The upload of a large file begins while it is recorded.
    order(&mut stand, 0);
    let id = stand.record(room).await.expect("records");
    stand.wait(&id, &["recording"]).await.expect("records");
    tokio::time::sleep(ON).await;
    for (n, (operation, fault)) in steps.iter().enumerate() {
        let running = match recorder.take() {
            Some(first) => {
                stand.stop(room).await.expect("stops");
                stand.wait(&id, &["uploading"]).await.expect("uploads");
                first
            }
            None => spawn(&stand),
        };
        let reached = stand.proxy().wait_for(n + 1, Duration::from_secs(20)).await;
        reached.unwrap_or_else(|error| panic!("{operation:?} {fault:?} never comes: {error}"));
        kill(running).await;
        order(&mut stand, n + 1);
    }
    let last = spawn(&stand);
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    let [file] = files(&recording) else { panic!("one file: {recording}") };
    stand.wait_for_empty_spool("a").await.expect("nothing is left");
    check_stored(&stand, &recording).await;
    assert_eq!(stand.proxy().violations(), Vec::<String>::new());
    kill(last).await;
    bot.leave().await;
    stand.end().await;
    file["size"].as_u64().unwrap_or(0)
}

async fn killed_at(stand: &mut Stand, room: &str, feeds: Vec<Feed>, moment: Moment) {
    println!("{room}: {moment:?}");
    let recorder = spawn(stand);
    let mut bot = Bot::join(stand.address(), room, None, feeds).await.expect("joins");
    bot.connected().await.expect("media flows");
    let id = stand.record(room).await.expect("records");
    let on = switched_on(stand, &id).await;
    let killed_after = match moment {
        Moment::Recording(after) => {
            tokio::time::sleep(after).await;
            let killed_after = sent_after(&bot, on);
            kill(recorder).await;
            let second = spawn(stand);
            let killed = killed_after.as_secs_f64() * 1000.0;
            let goes_on = |recording: &Value| files(recording).iter().any(|file| millis(&file["start_ms"]) > killed);
            stand.wait_until(&id, "recorded again", goes_on).await.expect("goes on");
            tokio::time::sleep(ON.saturating_sub(on.elapsed()).max(Duration::from_secs(2))).await;
            stand.stop(room).await.expect("stops");
            let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
            stand.wait_for_empty_spool("a").await.expect("nothing is left");
            check(stand, &recording, killed_after, &moment).await;
            kill(second).await;
            bot.leave().await;
            return;
        }
        Moment::Stopped(after) => {
            tokio::time::sleep(ON).await;
            let stopped_after = sent_after(&bot, on);
            stand.stop(room).await.expect("stops");
            tokio::time::sleep(after).await;
            kill(recorder).await;
            stopped_after
        }
        Moment::Uploading => {
            tokio::time::sleep(ON).await;
            stand.stop_s3();
            let stopped_after = sent_after(&bot, on);
            stand.stop(room).await.expect("stops");
            stand.wait(&id, &["uploading"]).await.expect("tries to upload");
            kill(recorder).await;
            stand.start_s3().await.expect("comes back");
            stopped_after
        }
    };
    let second = spawn(stand);
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    stand.wait_for_empty_spool("a").await.expect("nothing is left");
    check(stand, &recording, killed_after, &moment).await;
    kill(second).await;
    bot.leave().await;
}

/// Parts go while the recording is on: a kill at any of these requests costs what any kill does.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_killed_while_it_uploads_what_it_records_loses_two_seconds_at_most() {
    let mut stand = Stand::start(Storage::S3).await.expect("starts");
    let mut recorder = spawn(&stand);
    let feeds = vec![microphone(), noisy_camera()];
    let mut bot = Bot::join(stand.address(), "parts", None, feeds).await.expect("joins");
    bot.connected().await.expect("media flows");
    let id = stand.record("parts").await.expect("records");
    let on = switched_on(&stand, &id).await;
    let mut kills = Vec::new();
    for (operation, fault) in [
        (Operation::Create, Fault::HangAfter),
        (Operation::Part(2), Fault::Hang),
        (Operation::Part(3), Fault::HangAfter),
    ] {
        stand.proxy().order(operation, fault, 1);
        let reached = stand.proxy().wait_for(kills.len() + 1, Duration::from_secs(40)).await;
        reached.unwrap_or_else(|error| panic!("{operation:?} {fault:?} never comes: {error}"));
        kills.push(sent_after(&bot, on).as_secs_f64() * 1000.0);
        kill(recorder).await;
        recorder = spawn(&stand);
        // The next order is for what is being recorded, not for what the crash left.
        wait_for_media(&stand.store().expect("opens"), kills.len()).await;
    }
    stand.wait(&id, &["recording"]).await.expect("goes on");
    tokio::time::sleep(Duration::from_secs(1)).await;
    stand.stop("parts").await.expect("stops");
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    stand.wait_for_empty_spool("a").await.expect("nothing is left");
    check_stored(&stand, &recording).await;
    let spans = spans(&recording);
    assert_eq!(spans.len(), kills.len() + 1, "{spans:?}");
    for (span, killed) in spans.iter().zip(&kills) {
        assert!(killed - span.1 <= MAY_MISS && span.1 - killed < 500.0, "killed at {kills:?}: {spans:?}");
    }
    assert_eq!(stand.proxy().violations(), Vec::<String>::new());
    kill(recorder).await;
    bot.leave().await;
    stand.end().await;
}

/// Waits until so many files are stored.
async fn wait_for_media(store: &Store, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let objects = store.list("").await.expect("lists");
        if objects.iter().filter(|object| object.key.ends_with(".webm")).count() >= count {
            return;
        }
        assert!(Instant::now() < deadline, "never stored: {objects:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What was sent before the kill is there but for two seconds; no time is there twice.
async fn check(stand: &Stand, recording: &Value, killed_after: Duration, moment: &Moment) {
    check_stored(stand, recording).await;
    let spans = spans(recording);
    let killed = killed_after.as_secs_f64() * 1000.0;
    let before = spans.iter().filter(|span| span.0 < killed).map(|span| span.1).reduce(f64::max);
    let missing = killed - before.unwrap_or(0.0);
    assert!(missing <= MAY_MISS, "missing {missing} ms: {moment:?} {spans:?}");
    assert!(before.is_some() || killed < MAY_MISS, "nothing of what was before: {moment:?} {spans:?}");
    if matches!(moment, Moment::Recording(_)) {
        let last = spans.last().expect("the rest was recorded");
        assert!(last.0 > killed && last.1 - last.0 > 500.0, "it did not go on: {moment:?} {spans:?}");
    }
}

/// What the API says, the manifest, what storage lists and the files' bytes agree; each file can be read and sought; no upload
/// is left over.
async fn check_stored(stand: &Stand, recording: &Value) {
    assert_eq!(recording["state"], "ready", "{recording}");
    assert_eq!(recording["error"], Value::Null, "{recording}");
    let store = stand.store().expect("opens");
    let folder = recording["folder"].as_str().expect("a folder");
    let manifest = stand.manifest(recording).await.expect("a manifest");
    let kept: Vec<&RecordedFile> = manifest.files().collect();
    let shown = |file: &Value| {
        (
            file["name"].as_str().map(str::to_owned),
            file["size"].as_u64(),
            millis(&file["start_ms"]),
            millis(&file["end_ms"]),
        )
    };
    let mut told: Vec<_> = files(recording).iter().map(shown).collect();
    let told_of =
        |file: &&RecordedFile| (Some(file.name.clone()), Some(file.size), file.start_ms as f64, file.end_ms as f64);
    let mut written: Vec<_> = kept.iter().map(told_of).collect();
    told.sort_by(|a, b| a.0.cmp(&b.0));
    written.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(told, written, "the API and the manifest differ");
    let objects = store.list(&format!("{folder}/")).await.expect("lists");
    let media = objects.iter().filter(|object| object.key.ends_with(".webm"));
    let stored: Vec<_> = media.map(|object| (object.key.clone(), object.size)).collect();
    let mut expected: Vec<_> = kept.iter().map(|file| (format!("{folder}/{}", file.name), file.size)).collect();
    expected.sort();
    assert_eq!(stored, expected, "storage and the manifest differ");
    for file in files(recording) {
        let path = stand.download(file).await.expect("downloads");
        let seconds = (millis(&file["end_ms"]) - millis(&file["start_ms"])) / 1000.0;
        let kept = kept.iter().find(|kept| file["name"] == kept.name.as_str()).expect("is in the manifest");
        let sha256 = kept.sha256_parts.clone();
        // Lanes share a task, and decoders take their time: the others' kills must not wait for that.
        beside(move || check_file(&path, seconds, &sha256)).await;
    }
    assert_eq!(store.list_uploads("").await.expect("lists"), [], "an upload is left over");
}

fn check_file(path: &PathBuf, seconds: f64, sha256: &str) {
    check_media(path, seconds);
    // What was cut in its first second may hold no picture yet.
    if media_check::probe(path).expect("ffprobe reads").stream("video").is_some() {
        assert_eq!(media_check::check_seek(path, seconds / 2.0), Ok(()), "{}", path.display());
    }
    let bytes = std::fs::read(path).expect("a file");
    let digests: Vec<_> = bytes.chunks(PART_SIZE).map(digest).collect();
    assert_eq!(sha256_parts(&digests).as_deref(), Some(sha256), "{}", path.display());
}
