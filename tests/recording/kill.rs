//! A recorder that is killed (SIGKILL) at any moment loses at most two seconds, and nothing is written twice.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tests::bot::Bot;
use tests::recording::{Stand, Storage};
use tokio::process::{Child, Command};

use super::{camera, check_media, files, microphone, millis};

/// What a crash may cost, milliseconds.
const MAY_MISS: f64 = 2_000.0;
/// How long each recording is on.
const ON: Duration = Duration::from_secs(5);
/// How many recordings are on at once.
const LANES: usize = 3;

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

/// The release binary, which `cargo test` builds beside the tests because they depend on the package.
fn binary() -> PathBuf {
    let mut path = std::env::current_exe().expect("this test");
    path.pop();
    path.pop();
    path.join("recorder")
}

fn spawn(stand: &Stand) -> Child {
    let config = stand.recorder_file("a").expect("written");
    Command::new(binary())
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary is built: cargo build --release --workspace --bins")
}

async fn kill(mut recorder: Child) {
    recorder.start_kill().expect("SIGKILL");
    recorder.wait().await.expect("ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_recorder_loses_two_seconds_at_most() {
    let mut random = StdRng::seed_from_u64(20_261_120);
    let mut within = |from: u64, to: u64| Duration::from_millis(random.random_range(from..to));
    let moments = [
        Moment::Recording(within(0, 400)),
        Moment::Recording(within(400, 1_000)),
        Moment::Recording(within(1_000, 2_000)),
        Moment::Recording(within(2_000, 3_000)),
        Moment::Recording(within(3_000, 4_500)),
        Moment::Stopped(within(0, 100)),
        Moment::Stopped(within(100, 250)),
        Moment::Stopped(within(250, 300)),
        Moment::Uploading,
        Moment::Uploading,
    ];
    // Most of it is waiting, so each lane has an installation of its own. The storage of a lane goes away and comes back.
    let lane = |lane: usize| async move {
        let mut stand = Stand::start(Storage::S3).await.expect("starts");
        for (n, moment) in moments.into_iter().enumerate().filter(|(n, _)| n % LANES == lane) {
            killed_at(&mut stand, &format!("kill{n}"), moment).await;
        }
        stand.end().await;
    };
    futures_util::future::join_all((0..LANES).map(lane)).await;
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
    let mut spans = Vec::new();
    for file in files(recording) {
        let path = stand.download(file).await.expect("downloads");
        let (start, end) = (millis(&file["start_ms"]), millis(&file["end_ms"]));
        check_media(&path, (end - start) / 1000.0);
        assert_eq!(file["size"].as_u64(), Some(std::fs::metadata(&path).expect("a file").len()));
        spans.push((start, end));
    }
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "twice: {moment:?} {spans:?}");
    let killed = killed_after.as_secs_f64() * 1000.0;
    let before = spans.iter().map(|span| span.1).filter(|end| *end <= killed + 500.0).fold(0.0, f64::max);
    assert!(killed - before <= MAY_MISS, "missing {} ms: {moment:?} {spans:?}", killed - before);
    if matches!(moment, Moment::Recording(_)) {
        let last = spans.last().expect("the rest was recorded");
        assert!(last.0 > killed && last.1 - last.0 > 500.0, "it did not go on: {moment:?} {spans:?}");
    }
}
