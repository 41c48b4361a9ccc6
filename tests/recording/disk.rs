//! The spool's disk: full, or robbed of its last writes by a power cut.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use signalling::recording::RecorderSegment;
use tests::bot::Bot;
use tests::media_check;
use tests::recorder_process::RecorderProcess;
use tests::recording::{Stand, Storage};

use super::{camera, check_media, files, microphone, millis, noisy_camera, spans, written};

/// Records until the disk of the first recorder is full; the second one, with space, has to go on.
/// `true`: a crash was needed to end what did not fit.
async fn fills(room: &str, megabytes: u32, min_free_mb: u64) -> bool {
    let stand = Stand::start(Storage::S3).await.expect("starts");
    let config = stand.recorder_file_with("a", |config| config.recorder.min_free_mb = min_free_mb).expect("written");
    let full =
        RecorderProcess::spawn_on_small_disk(&config, &stand.spool("a"), megabytes).expect("root may mount a disk");
    let mut bot = Bot::join(stand.address(), room, None, vec![microphone(), noisy_camera()]).await.expect("joins");
    bot.connected().await.expect("media flows");
    let id = stand.record(room).await.expect("records");
    let spare = recorder::start(stand.recorder_config("b")).await.expect("starts");
    // Until the second one has the room and has written for a while.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let spool = stand.spool("b");
    while !has_media(&spool) {
        assert!(tokio::time::Instant::now() < deadline, "nobody takes over");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    stand.stop(room).await.expect("stops");
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    assert_eq!(recording["state"], "ready", "{recording}");
    for file in files(&recording) {
        let path = stand.download(file).await.expect("downloads");
        check_media(&path, (millis(&file["end_ms"]) - millis(&file["start_ms"])) / 1000.0);
    }
    let spans = spans(&recording);
    let gap = spans.windows(2).map(|pair| pair[1].0 - pair[0].1).fold(0.0, f64::max);
    println!("{spans:?}, without a file for {gap} ms");
    assert!(spans.len() >= 2 && gap <= 3_000.0, "{spans:?}");
    let manifest = stand.manifest(&recording).await.expect("a manifest");
    let recovered = manifest.segments.iter().any(|segment| segment.recovered);
    bot.leave().await;
    spare.stop();
    spare.wait().await.expect("ends well");
    // Its disk is empty again, so it takes the next one.
    let mut bot = Bot::join(stand.address(), "next", None, vec![microphone(), camera(15)]).await.expect("joins");
    bot.connected().await.expect("media flows");
    let id = stand.record("next").await.expect("the first recorder has space again");
    written(&stand, &id).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stand.stop("next").await.expect("stops");
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    assert_eq!(recording["state"], "ready", "{recording}");
    assert_eq!(files(&recording).len(), 1, "{recording}");
    bot.leave().await;
    full.kill().await.expect("was still there");
    stand.end().await;
    recovered
}

fn has_media(spool: &Path) -> bool {
    !media(spool).is_empty()
}

/// The media files in a spool.
fn media(spool: &Path) -> Vec<PathBuf> {
    let folders = std::fs::read_dir(spool).into_iter().flatten().flatten().map(|entry| entry.path());
    let entries = folders.filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "webm")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_ends_files_in_time_and_the_room_goes_on_elsewhere() {
    assert!(!fills("low", 40, 20).await, "its files were ended, not repaired");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_no_more_than_a_crash() {
    fills("full", 16, 0).await;
}

/// What `recorder recover` says of this recorder's spool.
async fn recover(stand: &Stand, name: &str) -> std::process::Output {
    let config = stand.recorder_file(name).expect("written");
    let ended = tokio::task::spawn_blocking(move || RecorderProcess::recover(&config)).await;
    ended.expect("no panic").expect("the binary is built")
}

/// A page of the first file in the middle was lost, and so was the line about it: nothing is thrown away, and it is told.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_is_kept_and_told() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let recorder = RecorderProcess::spawn(&stand.recorder_file("a").expect("written")).expect("the binary is built");
    let mut bot = Bot::join(stand.address(), "lost", None, vec![microphone(), camera(15)]).await.expect("joins");
    bot.connected().await.expect("media flows");
    let id = stand.record("lost").await.expect("records");
    written(&stand, &id).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    recorder.kill().await.expect("SIGKILL");
    let file = media(&stand.spool("a")).pop().expect("a file");
    std::fs::copy(&file, file.with_file_name("p9-av-1.webm")).expect("copied");
    let recovered = recover(&stand, "a").await;
    assert_eq!(recovered.status.code(), Some(1), "{recovered:?}");
    assert!(String::from_utf8_lossy(&recovered.stdout).contains("p9-av-1.webm"), "{recovered:?}");
    let [kept] = &media(&stand.spool("a"))[..] else { panic!("one file is kept") };
    assert!(kept.ends_with(format!("UNREADABLE/{id}-p9-av-1.webm")), "{}", kept.display());
    assert_eq!(media_check::check_all(kept), Ok(()));
    // The other one is stored, and the recording says what is not.
    let again = RecorderProcess::spawn(&stand.recorder_file("a").expect("written")).expect("the binary is built");
    stand.stop("lost").await.expect("stops");
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    assert_eq!(recording["state"], "ready", "{recording}");
    assert!(recording["error"].as_str().is_some_and(|error| error.starts_with("p9-av-1.webm: ")), "{recording}");
    again.kill().await.expect("was still there");
    bot.leave().await;
    stand.end().await;
}

/// What a power cut leaves: the last page of a file is zeros, the last line of the journal is torn, the name of a file
/// that had just been begun is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_costs_what_was_not_synced() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let recorder = RecorderProcess::spawn(&stand.recorder_file("a").expect("written")).expect("the binary is built");
    let mut bot = Bot::join(stand.address(), "cut", None, vec![microphone(), camera(15)]).await.expect("joins");
    bot.connected().await.expect("media flows");
    let id = stand.record("cut").await.expect("records");
    written(&stand, &id).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    recorder.kill().await.expect("SIGKILL");
    let file = media(&stand.spool("a")).pop().expect("a file");
    let mut bytes = std::fs::read(&file).expect("reads");
    let len = bytes.len();
    bytes[len - 20_000..].fill(0);
    bytes.extend([0; 4096]);
    std::fs::write(&file, bytes).expect("written");
    let journal = file.with_file_name("journal.jsonl");
    let text = std::fs::read_to_string(&journal).expect("reads");
    let opened = text.lines().find(|line| line.contains("\"open\"")).expect("a file was opened");
    let lost = opened.replace(file.file_name().and_then(|name| name.to_str()).expect("text"), "p9-av-1.webm");
    std::fs::write(&journal, format!("{text}{lost}\n{{\"fact\":\"stopped\",\"at_")).expect("written");
    let recovered = recover(&stand, "a").await;
    assert!(recovered.status.success(), "{recovered:?}");
    let store = stand.store().expect("opens");
    let objects = store.list("").await.expect("lists");
    let key = objects.iter().map(|object| &object.key).find(|key| key.contains("/segments/")).expect("a segment");
    let segment: RecorderSegment = serde_json::from_slice(&store.get(key).await.expect("reads")).expect("JSON");
    let [found] = &segment.files[..] else { panic!("one file: {segment:?}") };
    assert!(String::from_utf8_lossy(&recovered.stdout).contains(&found.name), "{recovered:?}");
    let kept = found.end_ms - found.start_ms;
    assert!(kept >= 3_000, "{kept} ms of 5 s");
    assert!(segment.recovered);
    let stored = store.get(&format!("{}/{}", segment.folder, found.name)).await.expect("reads");
    let copy = file.with_extension("copy.webm");
    std::fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
    std::fs::write(&copy, &stored).expect("written");
    assert_eq!(media_check::check_all(&copy), Ok(()));
    bot.leave().await;
    stand.end().await;
}

/// A real one: the file system as it is at one moment, mounted anew. Part of `make test-full`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and loop devices"]
async fn a_real_power_cut_costs_three_seconds_at_most_long() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let folder = tempfile::tempdir().expect("a folder");
    let [before, after] = ["before.img", "after.img"].map(|name| folder.path().join(name));
    std::fs::File::create(&before).and_then(|image| image.set_len(128 << 20)).expect("written");
    let made = std::process::Command::new("mkfs.ext4").arg("-q").arg(&before).status().expect("mkfs.ext4 runs");
    assert!(made.success());
    let (config, spool) = (stand.recorder_file("a").expect("written"), stand.spool("a"));
    let recorder = RecorderProcess::spawn_on_image(&config, &spool, &before, &[]).expect("root may mount");
    let mut bot = Bot::join(stand.address(), "cut", None, vec![microphone(), camera(15)]).await.expect("joins");
    bot.connected().await.expect("media flows");
    let id = stand.record("cut").await.expect("records");
    let on = std::time::Instant::now();
    stand.wait(&id, &["recording"]).await.expect("records");
    tokio::time::sleep(Duration::from_secs(10)).await;
    recorder.signal(Signal::STOP).expect("runs");
    let cut = on.elapsed().as_millis() as u64;
    std::fs::copy(&before, &after).expect("copied");
    recorder.kill().await.expect("SIGKILL");
    let recovered = RecorderProcess::spawn_on_image(&config, &spool, &after, &["recover"]).expect("root may mount");
    assert!(recovered.wait().await.expect("ends"), "all is stored");
    let store = stand.store().expect("opens");
    let objects = store.list("").await.expect("lists");
    let key = objects.iter().map(|object| &object.key).find(|key| key.contains("/segments/")).expect("a segment");
    let segment: RecorderSegment = serde_json::from_slice(&store.get(key).await.expect("reads")).expect("JSON");
    let [found] = &segment.files[..] else { panic!("one file: {segment:?}") };
    println!("cut after {cut} ms, kept until {} ms", found.end_ms);
    assert!(found.end_ms + 3_000 >= cut && segment.error.is_none(), "{segment:?}");
    let copy = folder.path().join(&found.name);
    let stored = store.get(&format!("{}/{}", segment.folder, found.name)).await.expect("reads");
    std::fs::write(&copy, &stored).expect("written");
    assert_eq!(media_check::check_all(&copy), Ok(()));
    bot.leave().await;
    stand.end().await;
}
