//! "The call": two browsers over the relay only, recorded, stored, fetched, checked by readers that are not ours, played.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tests::browser::{Browser, DEADLINE, Page};
use tests::guest::Guest;
use tests::media_check;
use tests::stack::Stack;

/// How long is recorded.
const LENGTH: Duration = Duration::from_secs(10);
/// How much a file's duration may differ from what was recorded.
const TOLERANCE: f64 = 0.5;
/// How long a picture of a moving camera may stand still in a file, its start and end included.
const LONGEST_STILL: f64 = 1.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relayed_call_is_recorded_stored_and_played() {
    the_call("udp").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_relayed_over_tcp_is_recorded_stored_and_played() {
    the_call("tcp").await;
}

async fn the_call(protocol: &str) {
    let stack = Stack::start_recording().await;
    let browser = Browser::launch().await.expect("chromium starts");
    let query = format!("relay=1&transport={protocol}");
    let ada = Guest::join(&browser, &stack.origin(), "call", "Ada", &query).await.expect("Ada joins");
    let bob = Guest::join(&browser, &stack.origin(), "call", "Bob", &query).await.expect("Bob joins");
    for (one, other) in [(&ada, "Bob"), (&bob, "Ada")] {
        one.sees(other, 15).await.expect("a moving picture");
        one.hears_something().await.expect("a beep");
        super::relayed(one, protocol).await;
    }

    let pressed = record(&ada, &bob).await;
    let packets = media_packets(&ada).await + media_packets(&bob).await;
    let relayed = stack.metric("tern_relay_packets_total").await;
    assert!(relayed >= packets, "the relay carried {relayed} packets, the browsers' media were {packets}");

    let recording = stored(&stack, &ada).await;
    let recorded = Duration::from_millis(recording.ended_ms - recording.started_ms);
    let between = pressed.abs_diff(recorded);
    assert!(between < Duration::from_secs(1), "pressed for {pressed:?}, {recorded:?} by the API");
    let files = recording.files;
    assert_eq!(files.len(), 2, "one file a person: {files:?}");
    let folder = tempfile::TempDir::with_prefix("tern-call-").expect("a folder");
    for (number, file) in files.iter().enumerate() {
        let path = folder.path().join(format!("{number}.webm"));
        std::fs::write(&path, fetch(&file.url).await).expect("written");
        check(&path, recorded);
    }
    plays_and_seeks(&ada.page, &files[0]).await;
    ada.page.close().await.expect("no errors");
    bob.page.close().await.expect("no errors");
}

/// Presses the page's button twice; both sides see red meanwhile. Returns how long it was on.
async fn record(ada: &Guest, bob: &Guest) -> Duration {
    const RED: &str = "document.body.matches('.recording-live') && !document.querySelector('#recording').hidden
        && document.querySelector('#recording-text').textContent === 'Recording'";
    ada.page.click("#record").await.expect("a click");
    let on = ada.until(RED).await.map(|()| Instant::now()).expect("Ada sees red");
    bob.until(RED).await.expect("Bob sees red");
    ada.stays(LENGTH).await.expect("ten seconds pass");
    ada.page.click("#record").await.expect("a click");
    let recorded = on.elapsed();
    for guest in [ada, bob] {
        guest.until("!document.body.matches('.recording-live')").await.expect("the red is gone");
    }
    recorded
}

/// Packets that a browser received: each came through the relay.
async fn media_packets(guest: &Guest) -> f64 {
    let connections = guest.connections().await.expect("statistics");
    connections.iter().map(|connection| connection.packets_received as f64).sum()
}

#[derive(Debug, Deserialize)]
struct StoredFile {
    name: String,
    url: String,
}

#[derive(Debug, Deserialize)]
struct Recording {
    started_ms: u64,
    ended_ms: u64,
    files: Vec<StoredFile>,
}

/// Opens the page's list, waits until the recording is ready there, and asks the API about it.
async fn stored(stack: &Stack, guest: &Guest) -> Recording {
    guest.page.click("#show-recordings").await.expect("a click");
    let ready = "document.querySelector('#recordings-list [data-state=\"ready\"]')?.dataset.recording";
    let id: String = guest.page.wait_until(ready, DEADLINE).await.expect("ready");
    let response = stack.api(reqwest::Method::GET, &format!("/v1/recordings/{id}"), "").await;
    response.json().await.expect("a recording")
}

/// By a presigned link, without any credential.
async fn fetch(url: &str) -> Vec<u8> {
    let response = reqwest::get(url).await.expect("the storage answers");
    assert!(response.status().is_success(), "{url}: {}", response.status());
    response.bytes().await.expect("bytes").to_vec()
}

fn check(file: &Path, recorded: Duration) {
    let probe = media_check::probe(file).expect("ffprobe reads it");
    let codec = |kind| probe.stream(kind).map(|stream| stream.codec.clone());
    assert_eq!(codec("video").as_deref(), Some("vp8"));
    assert_eq!(codec("audio").as_deref(), Some("opus"));
    let duration = probe.duration.expect("a duration in the head");
    let wanted = recorded.as_secs_f64();
    assert!((duration - wanted).abs() <= TOLERANCE, "{duration} s in the file, {wanted} s were recorded");

    let decoded = media_check::decode(file).expect("every frame decodes");
    assert_eq!(decoded.pictures.len() as u64, decoded.video_packets, "a picture for each packet");
    assert!(decoded.pictures.len() as f64 > wanted * 15.0, "{} pictures", decoded.pictures.len());
    let times: Vec<f64> = std::iter::once(0.0).chain(decoded.pictures.iter().map(|p| p.at)).chain([duration]).collect();
    let still = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    assert!(still <= LONGEST_STILL, "the picture stands still for {still} s");
    assert!((decoded.sound_seconds() - wanted).abs() <= TOLERANCE, "{} s of sound", decoded.sound_seconds());

    let layout = media_check::layout(&std::fs::read(file).expect("read")).expect("it is WebM");
    assert_eq!(layout.complaints(), Vec::<String>::new());
}

/// Plays a file in the page and jumps about in it.
async fn plays_and_seeks(page: &Page, file: &StoredFile) {
    let button = format!("[data-file=\"{}\"] button", file.name);
    page.click(&button).await.expect("Play is pressed");
    page.wait_until::<bool>(
        "(v => v.videoWidth > 0 && v.currentTime > 0.3)(document.querySelector('#player video'))",
        DEADLINE,
    )
    .await
    .expect("it plays");
    for share in [0.1, 0.5, 0.9] {
        let seek = format!(
            "new Promise((done, fail) => {{ const v = document.querySelector('#player video'); v.onerror = () => fail(v.error);
                v.onseeked = () => done(Math.abs(v.currentTime - v.duration * {share}) < 0.5); v.currentTime = v.duration * {share}; }})"
        );
        assert!(page.eval::<bool>(&seek).await.expect("it seeks"), "to {share}");
    }
    let name = &file.name;
    let requests = page.requests().iter().filter(|url| url.contains(name.as_str())).count();
    assert!((1..=4).contains(&requests), "{requests} requests for {name}");
}
