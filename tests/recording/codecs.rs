//! Every codec of a room, from encoders and a browser that are not ours, into files that readers which are not ours accept.

use std::path::Path;
use std::time::Duration;

use rtc_client::Codec;
use serde_json::Value;
use signalling::message::Source;
use tests::bot::{Bot, Feed};
use tests::browser::Browser;
use tests::guest::Guest;
use tests::media_check;
use tests::media_source::Video;
use tests::playback::Player;
use tests::recording::{Stand, Storage};

use super::{check_media, files, microphone, millis};

fn camera(video: Video, codec: Codec) -> Feed {
    Feed { source: Source::Camera, media: video.encode(codec).expect("ffmpeg encodes") }
}

fn small(seconds: f64) -> Video {
    Video { width: 320, height: 180, key_every: 30, seconds, kilobits: 200, ..Video::default() }
}

/// Records a room for so long; the recording as the API shows it.
async fn record(stand: &Stand, room: &str, length: Duration) -> Value {
    let id = stand.record(room).await.expect("records");
    stand.wait(&id, &["recording"]).await.expect("records");
    tokio::time::sleep(length).await;
    stand.stop(room).await.expect("stops");
    let recording = stand.wait(&id, &["ready", "failed"]).await.expect("ends");
    assert_eq!(recording["state"], "ready", "{recording}");
    recording
}

fn seconds_on(recording: &Value) -> f64 {
    (millis(&recording["ended_ms"]) - millis(&recording["started_ms"])) / 1000.0
}

/// Browsers play and seek what is WebM; nobody expects them to play Matroska.
async fn check_players(path: &Path, seconds: f64) {
    if path.extension().is_some_and(|extension| extension == "mkv") {
        return;
    }
    let file = std::fs::read(path).expect("a file");
    for player in [Player::Chromium, Player::Firefox] {
        let what = format!("{} in {player:?}", path.display());
        let playback = player.play(file.clone(), 1.0, &[0.9, 0.1, 0.5]).await;
        let playback = playback.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(playback.complaints(), Vec::<String>::new(), "{what}: {playback:?}");
        assert!(playback.played >= 1.0 && playback.requests <= 4, "{what}: {playback:?}");
        assert!(playback.duration.is_some_and(|told| (told - seconds).abs() < 0.5), "{what}: {playback:?}");
        assert!(playback.seeks.iter().all(|seek| seek.picture.is_some()), "{what}: {playback:?}");
    }
}

/// What ffprobe says of the pictures: codec and size.
fn picture(path: &Path) -> (String, Option<u64>, Option<u64>) {
    let probe = media_check::probe(path).expect("ffprobe reads");
    let video = probe.stream("video").expect("pictures");
    (video.codec.clone(), video.width, video.height)
}

#[tokio::test(flavor = "multi_thread")]
async fn vp9_av1_and_h264_are_recorded() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let recorder = recorder::start(stand.recorder_config("a")).await.expect("starts");
    let mut bots = Vec::new();
    for codec in [Codec::Vp9, Codec::Av1, Codec::H264] {
        let feeds = vec![microphone(), camera(small(3.0), codec)];
        let mut bot = Bot::join(stand.address(), "codecs", None, feeds).await.expect("joins");
        bot.connected().await.expect("media flows");
        bots.push(bot);
    }
    let recording = record(&stand, "codecs", Duration::from_secs(6)).await;
    let on = seconds_on(&recording);
    let files = files(&recording);
    assert_eq!(files.len(), 3, "{recording}");
    for (codec, probed, container) in [("VP9", "vp9", "webm"), ("AV1", "av1", "webm"), ("H264", "h264", "mkv")] {
        let of_codec = |file: &&Value| file["codecs"].as_array().is_some_and(|codecs| codecs.contains(&codec.into()));
        let file = files.iter().find(of_codec).unwrap_or_else(|| panic!("{codec}: {recording}"));
        assert_eq!(file["container"], container);
        assert!(file["name"].as_str().is_some_and(|name| name.ends_with(container)), "{file}");
        let path = stand.download(file).await.expect("downloads");
        check_media(&path, on);
        assert_eq!(picture(&path), (probed.to_owned(), Some(320), Some(180)));
        let probe = media_check::probe(&path).expect("ffprobe reads");
        let pictures = probe.stream("video").map_or(0, |video| video.packets);
        assert!(pictures as f64 > (on - 1.5) * 30.0, "{pictures} pictures of {codec} in {on} s");
        assert_eq!(media_check::check_seek(&path, on / 2.0), Ok(()));
        check_players(&path, on).await;
    }
    for bot in bots {
        bot.leave().await;
    }
    recorder.stop();
    recorder.wait().await.expect("ends well");
    stand.end().await;
}

/// Two seconds of VP8, two of H264, and again: no file holds both, and nothing is lost between them.
#[tokio::test(flavor = "multi_thread")]
async fn another_codec_is_another_file() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let recorder = recorder::start(stand.recorder_config("a")).await.expect("starts");
    let mut media = small(2.0).encode(Codec::Vp8).expect("ffmpeg encodes");
    let later = small(2.0).encode(Codec::H264).expect("ffmpeg encodes");
    media.extend(later.into_iter().map(|mut frame| {
        frame.at += Duration::from_secs(2);
        frame
    }));
    let feeds = vec![microphone(), Feed { source: Source::Camera, media }];
    let mut bot = Bot::join(stand.address(), "change", None, feeds).await.expect("joins");
    bot.connected().await.expect("media flows");
    let recording = record(&stand, "change", Duration::from_secs(7)).await;
    let files = files(&recording);
    assert!(files.len() >= 3, "{recording}");
    let mut sound = 0.0;
    for file in files {
        let mkv = file["container"] == "mkv";
        let path = stand.download(file).await.expect("downloads");
        media_check::check_all(&path).unwrap_or_else(|wrong| panic!("{}: {wrong}", path.display()));
        assert_eq!(picture(&path).0, if mkv { "h264" } else { "vp8" }, "{file}");
        sound += media_check::converted_seconds(&path).expect("ffmpeg converts");
    }
    // Each file begins where the one before it ends; sound may lie in both for the length of a key frame's way.
    let on = seconds_on(&recording);
    assert!((sound - on).abs() <= 0.5 + 0.3 * files.len() as f64, "{sound} s of sound in {on} s: {recording}");
    bot.leave().await;
    recorder.stop();
    recorder.wait().await.expect("ends well");
    stand.end().await;
}

/// Puts a codec in front of all others wherever the page says what it prefers.
fn prefer(codec: &str) -> String {
    format!(
        "{{ const set = RTCRtpTransceiver.prototype.setCodecPreferences;
          RTCRtpTransceiver.prototype.setCodecPreferences = function (codecs) {{
            const first = codecs.filter(codec => codec.mimeType === 'video/{codec}');
            set.call(this, [...first, ...codecs.filter(codec => !first.includes(codec))]);
          }}; }}"
    )
}

/// Chromium's own encoders and packets: VP9 in spatial layers, AV1 with OBUs put together, H264 where it was built in.
#[tokio::test(flavor = "multi_thread")]
async fn what_chromium_publishes_is_recorded() {
    let stand = Stand::start(Storage::Disk).await.expect("starts");
    let recorder = recorder::start(stand.recorder_config("a")).await.expect("starts");
    let browser = Browser::launch().await.expect("chromium starts");
    let origin = format!("http://{}", stand.address());
    let codecs = [("VP9", "vp9"), ("AV1", "av1"), ("H264", "h264")];
    let mut guests = Vec::new();
    for (codec, _) in codecs {
        let guest = Guest::join_with(&browser, &origin, "chromium", codec, "", &prefer(codec)).await.expect("joins");
        guests.push(guest);
    }
    let mut encodes = Vec::new();
    for guest in &guests {
        let can = format!(
            "RTCRtpSender.getCapabilities('video').codecs.some(codec => codec.mimeType === 'video/{}')",
            guest.name
        );
        encodes.push(guest.page.eval::<bool>(&can).await.expect("capabilities"));
        guest.stays(Duration::from_secs(1)).await.expect("the call goes on");
    }
    assert!(encodes[0] && encodes[1], "every Chromium encodes VP9 and AV1");
    let recording = record(&stand, "chromium", Duration::from_secs(8)).await;
    let on = seconds_on(&recording);
    for ((codec, probed), can) in codecs.into_iter().zip(encodes) {
        let files: Vec<_> = files(&recording).iter().filter(|file| file["participant_name"] == codec).collect();
        // On a busy machine Chromium sends smaller pictures for a while: with H264, whose head declares them, a file each.
        assert!(files.len() == 1 || codec == "H264" && can, "one file of {codec}: {recording}");
        let mut sum = 0.0;
        for file in files {
            let seconds = (millis(&file["end_ms"]) - millis(&file["start_ms"])) / 1000.0;
            sum += seconds;
            let path = stand.download(file).await.expect("downloads");
            check_media(&path, seconds);
            let (found, width, _) = picture(&path);
            assert_eq!(found, if can { probed } else { "vp8" }, "{file}");
            assert!(width.is_some_and(|width| width >= 160), "{file}");
            assert_eq!(media_check::check_seek(&path, seconds / 2.0), Ok(()));
            check_players(&path, seconds).await;
        }
        assert!((sum - on).abs() < 0.5, "{sum} s of {codec} in {on} s: {recording}");
    }
    drop(browser);
    recorder.stop();
    recorder.wait().await.expect("ends well");
    stand.end().await;
}
