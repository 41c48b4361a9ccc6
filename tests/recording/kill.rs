//! A recorder that is killed (SIGKILL) at any moment loses at most two seconds, and nothing is written twice.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tests::bot::{Bot, Feed};
use tests::fault_proxy::{Fault, Operation};
use tests::recorder_process::RecorderProcess;
use tests::recording::{Stand, Storage};

use super::{camera, check_media, files, microphone, millis, noisy_camera, spans};

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
    (Operation::ListUploads, Fault::Hang),
    (Operation::GetSegment, Fault::Hang),
    (Operation::PutSegment, Fault::Hang),
    (Operation::PutSegment, Fault::HangAfter),
    (Operation::GetSegment, Fault::HangAfter),
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

/// The moments that a seed gives: half of them while media flows, a quarter while the recording ends and its upload begins,
/// a quarter while the upload waits for storage.
fn moments(seed: u64, count: usize) -> Vec<Moment> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut within = |to: u64| Duration::from_millis(random.random_range(0..to));
    let moment = |n| match n % 4 {
        0 | 1 => Moment::Recording(within(4_500)),
        2 => Moment::Stopped(within(600)),
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
    let on = Instant::now();
    tokio::time::sleep(ON).await;
    stand.proxy().go_away().await;
    stand.stop("away").await.expect("stops");
    let stopped_after = on.elapsed();
    tokio::time::sleep(Duration::from_secs(600)).await;
    stand.proxy().come_back().await.expect("listens again");
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    check(&stand, &recording, stopped_after, &Moment::Uploading).await;
    stand.wait_for_empty_spool("a").await.expect("nothing is left");
    kill(recorder).await;
    bot.leave().await;
    stand.end().await;
}

/// A recording for each moment; `faults`: the seed of a storage that suffers meanwhile.
async fn matrix(storage: Storage, moments: &[Moment], faults: Option<u64>) {
    // Each lane has an installation of its own, because its storage goes away and comes back.
    let lane = |lane: usize| async move {
        let mut stand = Stand::start(storage).await.expect("starts");
        for (n, moment) in moments.iter().enumerate().filter(|(n, _)| n % LANES == lane) {
            if let Some(seed) = faults {
                stand.proxy().order_random(seed + n as u64, 4);
            }
            killed_at(&mut stand, &format!("kill{n}"), *moment).await;
            assert_eq!(stand.proxy().violations(), Vec::<String>::new());
        }
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
    let id = stand.record(room).await.expect("records");
    stand.wait(&id, &["recording"]).await.expect("records");
    tokio::time::sleep(ON).await;
    for (n, (operation, fault)) in steps.iter().enumerate() {
        stand.proxy().order(*operation, *fault, 1);
        let running = match recorder.take() {
            Some(first) => {
                stand.stop(room).await.expect("stops");
                first
            }
            None => spawn(&stand),
        };
        let reached = stand.proxy().wait_for(n + 1, Duration::from_secs(20)).await;
        reached.unwrap_or_else(|error| panic!("{operation:?} {fault:?} never comes: {error}"));
        kill(running).await;
    }
    let last = spawn(&stand);
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    let [file] = files(&recording) else { panic!("one file: {recording}") };
    let path = stand.download(file).await.expect("downloads");
    check_media(&path, (millis(&file["end_ms"]) - millis(&file["start_ms"])) / 1000.0);
    stand.wait_for_empty_spool("a").await.expect("nothing is left");
    let store = stand.store().expect("opens");
    assert_eq!(store.list_uploads("").await.expect("lists"), [], "an upload is left over");
    assert_eq!(stand.proxy().violations(), Vec::<String>::new());
    kill(last).await;
    bot.leave().await;
    stand.end().await;
    file["size"].as_u64().unwrap_or(0)
}

async fn killed_at(stand: &mut Stand, room: &str, moment: Moment) {
    println!("{room}: {moment:?}");
    let recorder = spawn(stand);
    let mut bot = Bot::join(stand.address(), room, None, vec![microphone(), camera(15)]).await.expect("joins");
    bot.connected().await.expect("media flows");
    let id = stand.record(room).await.expect("records");
    let on = Instant::now();
    let killed_after = match moment {
        Moment::Recording(after) => {
            tokio::time::sleep(after).await;
            kill(recorder).await;
            let killed_after = on.elapsed();
            let second = spawn(stand);
            tokio::time::sleep(ON.saturating_sub(on.elapsed()).max(Duration::from_secs(4))).await;
            stand.stop(room).await.expect("stops");
            let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
            check(stand, &recording, killed_after, &moment).await;
            stand.wait_for_empty_spool("a").await.expect("nothing is left");
            kill(second).await;
            bot.leave().await;
            return;
        }
        Moment::Stopped(after) => {
            tokio::time::sleep(ON).await;
            stand.stop(room).await.expect("stops");
            let stopped_after = on.elapsed();
            tokio::time::sleep(after).await;
            kill(recorder).await;
            stopped_after
        }
        Moment::Uploading => {
            tokio::time::sleep(ON).await;
            stand.stop_s3();
            stand.stop(room).await.expect("stops");
            let stopped_after = on.elapsed();
            stand.wait(&id, &["uploading"]).await.expect("tries to upload");
            kill(recorder).await;
            stand.start_s3().await.expect("comes back");
            stopped_after
        }
    };
    let second = spawn(stand);
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    check(stand, &recording, killed_after, &moment).await;
    stand.wait_for_empty_spool("a").await.expect("nothing is left");
    kill(second).await;
    bot.leave().await;
}

/// Manifest, files and indexes agree; what was recorded before the kill is there but for two seconds; no time is there twice.
async fn check(stand: &Stand, recording: &Value, killed_after: Duration, moment: &Moment) {
    assert_eq!(recording["state"], "ready", "{moment:?}: {recording}");
    for file in files(recording) {
        let path = stand.download(file).await.expect("downloads");
        let (start, end) = (millis(&file["start_ms"]), millis(&file["end_ms"]));
        check_media(&path, (end - start) / 1000.0);
        assert_eq!(file["size"].as_u64(), Some(std::fs::metadata(&path).expect("a file").len()));
    }
    let spans = spans(recording);
    let store = stand.store().expect("opens");
    assert_eq!(store.list_uploads("").await.expect("lists"), [], "an upload is left over: {moment:?}");
    let folder = format!("/{}/", recording["id"].as_str().expect("an id"));
    let media = |object: &service::storage::Object| object.key.contains(&folder) && object.key.ends_with(".webm");
    let stored = store.list("").await.expect("lists").into_iter().filter(media);
    assert_eq!(stored.count(), files(recording).len(), "the manifest has what storage has: {moment:?}");
    let killed = killed_after.as_secs_f64() * 1000.0;
    let before = spans.iter().map(|span| span.1).filter(|end| *end <= killed + 500.0).fold(0.0, f64::max);
    assert!(killed - before <= MAY_MISS, "missing {} ms: {moment:?} {spans:?}", killed - before);
    if matches!(moment, Moment::Recording(_)) {
        let last = spans.last().expect("the rest was recorded");
        assert!(last.0 > killed && last.1 - last.0 > 500.0, "it did not go on: {moment:?} {spans:?}");
    }
}
