//! A storage that refuses what it is asked for, and says so late.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use service::storage::Sse;
use tests::bot::Bot;
use tests::cable::Cable;
use tests::recorder_process::RecorderProcess;
use tests::recording::{Stand, Storage};

use super::{camera, check_media, files, microphone, millis};

/// Waits until a recorder has noted in its spool that a recording was stopped.
async fn wait_for_stop(stand: &Stand, name: &str, id: &str) {
    let journal = stand.spool(name).join(id).join("journal.jsonl");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !std::fs::read_to_string(&journal).unwrap_or_default().contains("\"stopped\"") {
        assert!(tokio::time::Instant::now() < deadline, "it is never stopped");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The server of the tests ignores that it is asked to encrypt.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_before_storage_refused_is_stored_when_it_may_be() {
    let mut stand = Stand::start(Storage::S3).await.expect("starts");
    let cable = Cable::to(stand.proxy().address()).await.expect("listens");
    let mut bot = Bot::join(stand.address(), "late", None, vec![microphone(), camera(15)]).await.expect("joins");
    bot.connected().await.expect("media flows");
    let endpoint = format!("http://{}", cable.address());
    let config = stand.recorder_file_with("a", |config| {
        config.storage.endpoint = endpoint;
        config.storage.sse = Sse::Aes256;
        config.recorder.stop_timeout_s = 1;
    });
    let recorder = RecorderProcess::spawn(&config.expect("written")).expect("the binary is built");
    cable.cut();
    let id = stand.record("late").await.expect("records");
    stand.wait(&id, &["recording"]).await.expect("does not wait for storage");
    tokio::time::sleep(Duration::from_secs(2)).await;
    cable.mend();
    wait_for_stop(&stand, "a", &id).await;
    recorder.signal(Signal::TERM).expect("SIGTERM");
    assert!(recorder.wait().await.expect("ends"), "and ends well");
    // It may be over by then.
    let _ = stand.stop("late").await;
    // Now storage is not asked to encrypt any more.
    let recorder = RecorderProcess::spawn(&stand.recorder_file("a").expect("written")).expect("the binary is built");
    stand.wait_for_empty_spool("a").await.expect("all of it is stored");
    let recording = stand.wait(&id, &["ready"]).await.expect("nothing is lost");
    assert_ne!(files(&recording), &[] as &[Value], "{recording}");
    for file in files(&recording) {
        let seconds = (millis(&file["end_ms"]) - millis(&file["start_ms"])) / 1000.0;
        assert!(seconds > 1.0, "{recording}");
        check_media(&stand.download(file).await.expect("downloads"), seconds);
    }
    recorder.kill().await.expect("it still ran");
    bot.leave().await;
    stand.end().await;
}
