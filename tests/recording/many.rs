//! Several recorders: they share the work, take over from each other, and never record the same time twice.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tests::bot::Bot;
use tests::cable::Cable;
use tests::media_check;
use tests::recorder_process::RecorderProcess;
use tests::recording::{Stand, Storage};

use super::{camera, check_media, files, microphone, millis, spans, written};

/// What a lost recorder may cost, milliseconds.
const LOST: f64 = 5_000.0;
/// What one that drains may cost.
const DRAINED: f64 = 2_000.0;

fn spawn(stand: &Stand, name: &str) -> RecorderProcess {
    RecorderProcess::spawn(&stand.recorder_file(name).expect("written")).expect("the binary is built")
}

/// Waits until this recorder holds a recording.
async fn wait_for_job(stand: &Stand, name: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds_one(stand, name) {
        assert!(tokio::time::Instant::now() < deadline, "{name} never gets a recording");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn holds_one(stand: &Stand, name: &str) -> bool {
    let entries = std::fs::read_dir(stand.spool(name)).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().is_dir())
}

async fn join(stand: &Stand, room: &str) -> Bot {
    let mut bot = Bot::join(stand.address(), room, None, vec![microphone(), camera(15)]).await.expect("joins");
    bot.connected().await.expect("media flows");
    bot
}

/// Every file is good, no time is there twice; the longest time without a file, milliseconds.
async fn check(stand: &Stand, recording: &Value) -> f64 {
    assert_eq!(recording["state"], "ready", "{recording}");
    for file in files(recording) {
        let path = stand.download(file).await.expect("downloads");
        check_media(&path, (millis(&file["end_ms"]) - millis(&file["start_ms"])) / 1000.0);
    }
    let spans = spans(recording);
    assert!(spans.len() >= 2, "two recorders wrote: {spans:?}");
    spans.windows(2).map(|pair| pair[1].0 - pair[0].1).fold(0.0, f64::max)
}

/// Records a room on one of two recorders; something happens to that one; then the other has to go on.
async fn hand_over(room: &str, happens: impl AsyncFnOnce(&Stand, RecorderProcess) -> Option<RecorderProcess>) -> f64 {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let first = spawn(&stand, "a");
    hand_over_from(stand, first, room, happens).await
}

async fn hand_over_from(
    stand: Stand,
    first: RecorderProcess,
    room: &str,
    happens: impl AsyncFnOnce(&Stand, RecorderProcess) -> Option<RecorderProcess>,
) -> f64 {
    let bot = join(&stand, room).await;
    let id = stand.record(room).await.expect("records");
    wait_for_job(&stand, "a").await;
    let second = spawn(&stand, "b");
    stand.wait_for_recorders(|ready| ready["recorders"] == 2).await.expect("both are there");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let first = happens(&stand, first).await;
    wait_for_job(&stand, "b").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    stand.stop(room).await.expect("stops");
    // What was killed comes back for what it holds.
    let first = first.unwrap_or_else(|| spawn(&stand, "a"));
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    let gap = check(&stand, &recording).await;
    for name in ["a", "b"] {
        stand.wait_for_empty_spool(name).await.expect("nothing is left");
    }
    for recorder in [first, second] {
        recorder.kill().await.expect("it still ran");
    }
    bot.leave().await;
    stand.end().await;
    gap
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_recorders_room_goes_on_at_another() {
    let gap = hand_over("killed", async |_, recorder| {
        recorder.kill().await.expect("SIGKILL");
        None
    })
    .await;
    println!("without a file for {gap} ms");
    assert!(gap <= LOST, "{gap} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_recorder_is_replaced_and_writes_nothing_twice() {
    let gap = hand_over("frozen", async |stand, recorder| {
        recorder.signal(Signal::STOP).expect("SIGSTOP");
        wait_for_job(stand, "b").await;
        // Long enough that the other one writes what the sockets of this one hold, too.
        tokio::time::sleep(Duration::from_secs(2)).await;
        recorder.signal(Signal::CONT).expect("SIGCONT");
        Some(recorder)
    })
    .await;
    println!("without a file for {gap} ms");
    assert!(gap <= LOST, "{gap} ms");
}

/// For less than it takes until somebody else gets its room: what its sockets held meanwhile is recorded.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_is_frozen_for_a_moment_loses_nothing() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let recorder = spawn(&stand, "a");
    let bot = join(&stand, "moment").await;
    for tries in 0..10 {
        let id = stand.record("moment").await.expect("records");
        written(&stand, &id).await;
        let frozen = Instant::now();
        recorder.signal(Signal::STOP).expect("SIGSTOP");
        tokio::time::sleep(Duration::from_millis(2_200)).await;
        recorder.signal(Signal::CONT).expect("SIGCONT");
        let frozen = frozen.elapsed();
        tokio::time::sleep(Duration::from_secs(3)).await;
        stand.stop("moment").await.expect("stops");
        let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
        if frozen > Duration::from_millis(2_500) && tries < 9 {
            continue;
        }
        let [file] = files(&recording) else { panic!("frozen for {frozen:?}: {recording}") };
        let on = (millis(&recording["ended_ms"]) - millis(&recording["started_ms"])) / 1000.0;
        let path = stand.download(file).await.expect("downloads");
        check_media(&path, on);
        let video = media_check::probe(&path).expect("ffprobe reads").stream("video").map_or(0, |video| video.packets);
        assert!(video as f64 > (on - 1.0) * 30.0, "{video} pictures in {on} s");
        break;
    }
    recorder.kill().await.expect("it still ran");
    bot.leave().await;
    stand.end().await;
}

/// Neither it nor the server is told; media still comes, until the server puts it out of the room.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_is_cut_off_is_replaced_and_writes_nothing_twice() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let cable = Cable::to(stand.address()).await.expect("listens");
    let url = format!("http://{}", cable.address());
    let config = stand.recorder_file_with("a", |config| config.server.url = url).expect("written");
    let first = RecorderProcess::spawn(&config).expect("the binary is built");
    let gap = hand_over_from(stand, first, "cut", async |stand, recorder| {
        cable.cut();
        wait_for_job(stand, "b").await;
        // Long enough that whoever does not notice writes what the other one writes.
        tokio::time::sleep(Duration::from_secs(3)).await;
        cable.mend();
        Some(recorder)
    })
    .await;
    println!("without a file for {gap} ms");
    assert!(gap <= LOST, "{gap} ms");
}

/// A recorder that took this room before it knew that it is too busy, which it does a second after its start. On a
/// machine that takes longer to ask it, the next one may be in time.
async fn taken_in_time(stand: &Stand, config: &Path, room: &str) -> (RecorderProcess, String) {
    for _ in 0..10 {
        let recorder = RecorderProcess::spawn(config).expect("the binary is built");
        stand.wait_for_recorders(|ready| ready["recorders"] == 1).await.expect("it is there");
        let (status, answer) = stand.ask_to_record(room, &json!({})).await.expect("answers");
        if let Some(id) = answer["id"].as_str() {
            return (recorder, id.to_owned());
        }
        assert_eq!((status, &answer["code"]), (503, &Value::from("no_recorder")), "{answer}");
        recorder.kill().await.expect("it still ran");
        stand.wait_for_recorders(|ready| ready["recorders"] == 0).await.expect("it is gone");
    }
    panic!("none was asked within a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_recorder_goes_on_with_its_room_and_takes_no_other() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let bots = [join(&stand, "one").await, join(&stand, "two").await];
    // Whatever it does is too much.
    let config = stand.recorder_file_with("a", |config| config.recorder.max_load = 0.0001).expect("written");
    let (recorder, id) = taken_in_time(&stand, &config, "one").await;
    stand.wait(&id, &["recording"]).await.expect("records");
    stand.wait_for_recorders(|ready| ready["capacity"] == 0).await.expect("it is busy");
    for _ in 0..3 {
        let (status, answer) = stand.ask_to_record("two", &json!({})).await.expect("answers");
        assert_eq!((status, &answer["code"]), (503, &Value::from("no_recorder")), "{answer}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    stand.stop("one").await.expect("stops");
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    assert_eq!(recording["state"], "ready", "{recording}");
    let [file] = files(&recording) else { panic!("one file: {recording}") };
    let path = stand.download(file).await.expect("downloads");
    check_media(&path, (millis(&file["end_ms"]) - millis(&file["start_ms"])) / 1000.0);
    recorder.kill().await.expect("it still ran");
    for bot in bots {
        bot.leave().await;
    }
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_recorder_hands_over() {
    let gap = hand_over("drained", async |_, recorder| {
        recorder.signal(Signal::TERM).expect("SIGTERM");
        assert!(recorder.wait().await.expect("ends by itself"), "and ends well");
        None
    })
    .await;
    println!("without a file for {gap} ms");
    assert!(gap <= DRAINED, "{gap} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_share_the_work_and_one_alone_finishes_before_it_ends() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let recorders = [spawn(&stand, "a"), spawn(&stand, "b")];
    let bots = [join(&stand, "one").await, join(&stand, "two").await];
    stand.wait_for_recorders(|ready| ready["recorders"] == 2).await.expect("both are there before the first job");
    let ids = [stand.record("one").await.expect("records"), stand.record("two").await.expect("records")];
    for name in ["a", "b"] {
        wait_for_job(&stand, name).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    for recorder in recorders {
        recorder.signal(Signal::TERM).expect("SIGTERM");
        assert!(recorder.wait().await.expect("ends by itself"), "and ends well");
    }
    for name in ["a", "b"] {
        stand.wait_for_empty_spool(name).await.expect("all of it is stored");
    }
    for (room, id) in ["one", "two"].iter().zip(ids) {
        stand.stop(room).await.expect("stops");
        let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
        let recorded: f64 = spans(&recording).iter().map(|(start, end)| end - start).sum();
        assert!(recorded >= 2_000.0, "{recording}");
    }
    for bot in bots {
        bot.leave().await;
    }
    stand.end().await;
}
