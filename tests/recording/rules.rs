//! What a recording was asked to be, it is: modes, pauses, limits; and what must not be recorded is not. Many at once on one
//! stand, because most of the time goes by waiting.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use service::storage::Sse;
use signalling::message::Source;
use signalling::recording::{Happening, Manifest};
use tests::bot::{Bot, Feed};
use tests::media_check;
use tests::media_source::{Sound, Video};
use tests::recording::{Stand, Storage};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{beside, camera, check_media, files, microphone, millis, noisy_camera, written};

/// Starts and stops that race.
const RACES: u64 = 20;

fn screen() -> Feed {
    let video = Video { width: 320, height: 180, key_every: 15, seconds: 2.0, kilobits: 200, ..Video::default() };
    Feed { source: Source::Screen, media: video.vp8().expect("ffmpeg encodes") }
}

async fn join(stand: &Stand, room: &str, feeds: Vec<Feed>) -> Bot {
    let mut bot = Bot::join(stand.address(), room, None, feeds).await.expect("joins");
    bot.connected().await.expect("media flows");
    bot
}

/// Waits until it is ready; its manifest, which says more than the API.
async fn ready(stand: &Stand, id: &str) -> (Value, Manifest) {
    let recording = stand.wait(id, &["ready", "failed"]).await.expect("ends");
    assert_eq!(recording["state"], "ready", "{recording}");
    let manifest = stand.manifest(&recording).await.expect("a manifest");
    (recording, manifest)
}

/// What each file is of, in order.
fn sources(recording: &Value) -> Vec<String> {
    let mut sources: Vec<_> = files(recording).iter().map(|file| file["sources"].to_string()).collect();
    sources.sort();
    sources
}

/// The gap is where the pause was, without a picture in it, and the file is as long as the recording was on.
async fn pauses(stand: &Stand, feeds: Vec<Feed>) {
    let bot = join(stand, "pauses", feeds).await;
    let id = stand.record("pauses").await.expect("records");
    written(stand, &id).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pause_asked = Instant::now();
    stand.pause("pauses").await.expect("pauses");
    stand.wait(&id, &["paused"]).await.expect("pauses");
    let paused_seen = Instant::now();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let shortest = paused_seen.elapsed().as_secs_f64() * 1000.0;
    stand.resume("pauses").await.expect("goes on");
    let longest = pause_asked.elapsed().as_secs_f64() * 1000.0;
    stand.wait(&id, &["recording"]).await.expect("goes on");
    tokio::time::sleep(Duration::from_secs(2)).await;
    stand.stop("pauses").await.expect("stops");
    let (recording, manifest) = ready(stand, &id).await;
    let [file] = files(&recording) else { panic!("one file: {recording}") };
    let path = stand.download(file).await.expect("downloads");
    let on = (millis(&recording["ended_ms"]) - millis(&recording["started_ms"])) / 1000.0;
    let layout = beside(move || {
        check_media(&path, on);
        media_check::layout(&std::fs::read(&path).expect("a file")).expect("a layout")
    })
    .await;
    let of = |source: Source| {
        let mut gaps = manifest.files().flat_map(|file| &file.gaps);
        let gap = gaps.find(|gap| gap.cause == "pause" && gap.source == Some(source));
        let gap = gap.unwrap_or_else(|| panic!("no gap of the {source:?}: {manifest:?}"));
        (gap.t as f64, gap.ms as f64)
    };
    for source in [Source::Mic, Source::Camera] {
        let (_, ms) = of(source);
        // What comes first may have been captured a little before; a picture that can be begun with comes a little
        // later.
        let within = shortest - 300.0..longest + 1500.0;
        assert!(within.contains(&ms), "{source:?}: {ms} ms, not {within:?}");
    }
    let (t, ms) = of(Source::Camera);
    let from = t - millis(&file["start_ms"]);
    let pictures: Vec<_> = layout.blocks_of(1).map(|block| block.at as f64).collect();
    assert!(pictures.iter().any(|at| *at < from) && pictures.iter().any(|at| *at >= from + ms - 1.0), "on both sides");
    let within: Vec<_> = pictures.iter().filter(|at| (from + 50.0..from + ms - 50.0).contains(*at)).collect();
    assert!(within.is_empty(), "pictures in the pause from {from} for {ms}: {within:?}");
    for what in [Happening::Pause, Happening::Resume] {
        assert!(manifest.timeline.iter().any(|moment| moment.what == what), "{manifest:?}");
    }
    bot.leave().await;
}

async fn modes(stand: &Stand, feeds: Vec<Feed>) {
    let (tracks, audio) = (join(stand, "tracks", feeds.clone()).await, join(stand, "audio", feeds).await);
    let ids = [
        stand.record_with("tracks", json!({ "mode": "track" })).await.expect("records"),
        stand.record_with("audio", json!({ "mode": "audio" })).await.expect("records"),
    ];
    for id in &ids {
        written(stand, id).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    stand.stop("tracks").await.expect("stops");
    stand.stop("audio").await.expect("stops");
    let (of_tracks, _) = ready(stand, &ids[0]).await;
    assert_eq!(sources(&of_tracks), [r#"["camera"]"#, r#"["mic"]"#, r#"["screen"]"#], "{of_tracks}");
    let (of_audio, _) = ready(stand, &ids[1]).await;
    assert_eq!(sources(&of_audio), [r#"["mic"]"#], "{of_audio}");
    for file in files(&of_tracks).iter().chain(files(&of_audio)) {
        let path = stand.download(file).await.expect("downloads");
        let probe = beside(move || {
            media_check::check_all(&path).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()));
            media_check::probe(&path).expect("ffprobe reads")
        })
        .await;
        let has = (probe.stream("audio").is_some(), probe.stream("video").is_some());
        let is_sound = file["sources"] == json!(["mic"]);
        assert_eq!(has, (is_sound, !is_sound), "{file}");
    }
    tracks.leave().await;
    audio.leave().await;
}

/// A recording that is as large as it may be ends by itself, and soon: its size is looked at once a second, and a busy
/// machine may take a few more.
async fn size(stand: &Stand, feeds: Vec<Feed>) {
    // A round takes a second.
    let noise = feeds.iter().find(|feed| feed.source == Source::Camera).expect("pictures");
    let second: usize = noise.media.iter().map(|frame| frame.data.len()).sum();
    let bot = join(stand, "size", feeds).await;
    let id = stand.record_with("size", json!({ "max_size_mb": 2 })).await.expect("records");
    let (recording, _) = ready(stand, &id).await;
    let size = recording["size"].as_u64().expect("a size");
    let most = 2_000_000 + 5 * second as u64;
    assert!((2_000_000..most).contains(&size), "{size} bytes of at most {most}");
    bot.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn modes_pauses_and_sizes_are_as_asked_for() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let recorder = recorder::start(stand.recorder_config("a")).await.expect("starts");
    // They share a task, and encoding takes its time: once, before they begin.
    let (sound, picture, noise) = (microphone(), camera(15), noisy_camera());
    let both = vec![sound.clone(), picture.clone()];
    let all = vec![sound.clone(), picture, screen()];
    let large = vec![sound, noise];
    tokio::join!(pauses(&stand, both), modes(&stand, all), size(&stand, large));
    stand.wait_for_empty_spool("a").await.expect("nothing is left");
    recorder.stop();
    recorder.wait().await.expect("ends well");
    stand.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_races_its_start_leaves_nothing_behind() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let recorder = recorder::start(stand.recorder_config("a")).await.expect("starts");
    let sound = Sound::Tone.opus(2.0).expect("ffmpeg encodes");
    let race = |n: u64| {
        let (stand, sound) = (&stand, sound.clone());
        async move {
            let room = format!("race{n}");
            let bot = join(stand, &room, vec![Feed { source: Source::Mic, media: sound }]).await;
            let id = stand.record(&room).await.expect("records");
            // Before the recorder has joined, meanwhile, and after.
            tokio::time::sleep(Duration::from_millis(n * 25)).await;
            if n + 1 == RACES {
                // One holds something, however slow the machine is.
                written(stand, &id).await;
            }
            stand.stop(&room).await.expect("stops");
            let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
            bot.leave().await;
            recording
        }
    };
    let recordings = futures_util::future::join_all((0..RACES).map(race)).await;
    stand.wait_for_empty_spool("a").await.expect("nothing is left");
    let store = stand.store().expect("opens");
    assert_eq!(store.list_uploads("").await.expect("lists"), []);
    let mut told: Vec<String> = Vec::new();
    for recording in &recordings {
        let folder = recording["folder"].as_str().expect("a folder");
        assert_eq!(files(recording).is_empty(), recording["state"] == "failed", "{recording}");
        told.extend(files(recording).iter().map(|file| format!("{folder}/{}", file["name"].as_str().expect("a name"))));
    }
    let failed = recordings.iter().filter(|recording| recording["state"] == "failed").count();
    assert!((1..RACES as usize).contains(&failed), "{failed} of {RACES} were too short to hold anything");
    told.sort();
    let stored = store.list("").await.expect("lists");
    let media: Vec<_> = stored.iter().map(|object| object.key.clone()).filter(|key| !key.ends_with(".json")).collect();
    assert_eq!(media, told);
    recorder.stop();
    recorder.wait().await.expect("ends well");
    stand.end().await;
}

/// A storage that takes the wish for encryption and ignores it gets nothing, and nobody is shown a light for long.
#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_stored_in_the_clear_is_not_recorded() {
    let stand = Stand::start(Storage::S3).await.expect("starts");
    let mut config = stand.recorder_config("a");
    config.storage.sse = Sse::Aes256;
    let recorder = recorder::start(config).await.expect("starts");
    let bot = join(&stand, "clear", vec![microphone()]).await;
    let asked = Instant::now();
    let id = stand.record("clear").await.expect("is asked");
    let failed = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    let why = failed["error"].as_str().unwrap_or_default();
    assert!(failed["state"] == "failed" && why.contains("in the clear"), "{failed}");
    stand.wait_for_empty_spool("a").await.expect("nothing is left");
    let stored = stand.store().expect("opens").list("").await.expect("lists");
    assert!(stored.iter().all(|object| object.key.ends_with("/recording.json")), "{stored:?}");
    bot.leave().await;
    recorder.stop();
    recorder.wait().await.expect("ends well");
    stand.end().await;
}

/// A way to a server that from a moment on leads to another one: so a restart looks from outside.
async fn way(mut target: watch::Receiver<SocketAddr>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (mut socket, _) = accepted.expect("a connection");
                        let target = *target.borrow();
                        connections.spawn(async move {
                            let mut server = TcpStream::connect(target).await?;
                            tokio::io::copy_bidirectional(&mut socket, &mut server).await
                        });
                    }
                    changed = target.changed() => match changed {
                        // All connections end with their tasks.
                        Ok(()) => break,
                        Err(_) => return,
                    }
                }
            }
        }
    });
    address
}

/// A server that was restarted lets the recorder in again and knows nothing of its recording: nobody in the room is told.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_light_nothing_is_recorded() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    // No recorder may link to this one, so that it cannot tell it to stop either.
    let refuses = |config: &mut turn_server::config::Config| config.recording.keys = vec!["another key".into()];
    let restarted = Stand::start_with(Storage::Disk, refuses).await.expect("starts");
    let (leads, target) = watch::channel(stand.address());
    let mut config = stand.recorder_config("a");
    config.server.url = format!("http://{}", way(target).await);
    let recorder = recorder::start(config).await.expect("starts");
    let bot = join(&stand, "dark", vec![microphone(), camera(15)]).await;
    let again = join(&restarted, "dark", vec![microphone(), camera(15)]).await;
    let id = stand.record("dark").await.expect("records");
    let recording = written(&stand, &id).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    leads.send_replace(restarted.address());
    // It comes back to the room, sees no light, and delivers what it has.
    stand.wait_for_empty_spool("a").await.expect("it ends");
    let key = format!("{}/segments/", recording["folder"].as_str().expect("a folder"));
    let store = stand.store().expect("opens");
    let segments = store.list(&key).await.expect("lists");
    let [segment] = segments.as_slice() else { panic!("one segment: {segments:?}") };
    let segment = store.get(&segment.key).await.expect("reads");
    let segment: Value = serde_json::from_slice(&segment).expect("JSON");
    assert_eq!(segment["files"].as_array().map(Vec::len), Some(1), "nothing was begun afterwards: {segment}");
    bot.leave().await;
    again.leave().await;
    recorder.stop();
    recorder.wait().await.expect("ends well");
    restarted.end().await;
    stand.end().await;
}
