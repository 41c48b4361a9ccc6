//! Files of `crates/webm` in the players of Chromium and Firefox: they play, seek with few requests, and survive what calls do to them.

use std::time::Duration;

use tests::media_source::{Encoded, Sound, Video};
use tests::playback::{Case, Playback, Player};
use webm::{Codec, Frame, Muxer, Options, Recovery, Size};

/// A part of a recording: a codec, its frames, and when they start.
type Part = (Codec, Vec<Encoded>, f64);

/// The bytes of a file with one track per codec, finished or as a crash leaves it.
fn file(parts: &[Part], end: Option<f64>) -> Vec<u8> {
    let mut muxer = Muxer::new(Options::default());
    let mut bytes = Vec::new();
    let mut tracks: Vec<(Codec, webm::TrackNumber)> = Vec::new();
    let mut frames = Vec::new();
    for (codec, part, start) in parts {
        let known = tracks.iter().find(|(other, _)| other == codec).map(|(_, track)| *track);
        let track = known.unwrap_or_else(|| muxer.add_track(codec.clone()).expect("room for a track"));
        if known.is_none() {
            tracks.push((codec.clone(), track));
        }
        let start = Duration::from_secs_f64(*start);
        frames.extend(part.iter().cloned().map(|frame| (frame.at + start, track, frame)));
    }
    frames.sort_by_key(|(at, _, _)| *at);
    for (at, track, Encoded { key, size, data, .. }) in frames {
        let size = size.map(|(width, height)| Size { width, height });
        muxer.handle_timeout(at);
        muxer.handle_frame(Frame { track, at, key, size, data }).expect("the frame is taken");
    }
    if let Some(end) = end {
        muxer.finish(Duration::from_secs_f64(end));
    }
    while let Some(output) = muxer.poll_output() {
        output.apply(&mut bytes);
    }
    bytes
}

async fn play_in(player: Player, file: Vec<u8>, play: f64, seeks: &[f64]) -> Playback {
    let playback = player.play(file, play, seeks).await.expect("plays");
    assert_eq!(playback.complaints(), Vec::<String>::new(), "{playback:?}");
    playback
}

async fn play(file: Vec<u8>, play: f64, seeks: &[f64]) -> Playback {
    play_in(Player::Chromium, file, play, seeks).await
}

/// Ten seconds six times over: a minute of 15 MB, far more than a player reads ahead.
fn long_file() -> Vec<u8> {
    let video = Video { kilobits: 2_000, ..Video::default() }.vp8().expect("video");
    let audio = Sound::Tone.opus(9.9).expect("audio");
    let parts: Vec<Part> = (0..6)
        .flat_map(|n| {
            let start = f64::from(n) * 10.0;
            [(Codec::Opus, audio.clone(), start), (Codec::Vp8, video.clone(), start)]
        })
        .collect();
    let bytes = file(&parts, Some(60.0));
    assert!(bytes.len() > 8_000_000, "{} bytes", bytes.len());
    bytes
}

#[tokio::test]
async fn firefox_plays_and_seeks_with_few_requests() {
    let bytes = long_file();
    for part in [0.1, 0.5, 0.9] {
        let playback = play_in(Player::Firefox, bytes.clone(), 0.0, &[part]).await;
        assert!((playback.duration.expect("finite") - 60.0).abs() < 0.05, "{playback:?}");
        assert!(playback.requests <= 4, "{playback:?}");
    }
    let playback = play_in(Player::Firefox, bytes, 1.0, &[0.9, 0.1, 0.5]).await;
    assert!(playback.played >= 1.0, "{playback:?}");
}

#[tokio::test]
async fn chromium_seeks_a_long_file_with_few_requests() {
    let bytes = long_file();
    // The start, the cues, the target, and one more if the player had let go of its connection.
    for part in [0.1, 0.5, 0.9] {
        let playback = play(bytes.clone(), 0.0, &[part]).await;
        let duration = playback.duration.expect("finite");
        assert!((duration - 60.0).abs() < 0.05, "{duration}");
        assert!(playback.seeks[0].picture.is_some());
        assert!(playback.requests <= 4, "{playback:?}");
    }
    play(bytes, 1.0, &[0.9, 0.1, 0.5]).await;
}

/// A minute with one key frame: a sender that nobody asks for more.
#[tokio::test]
async fn a_minute_with_one_key_frame_can_be_sought_in() {
    let video = Video { kilobits: 2_000, seconds: 60.0, key_every: 100_000, ..Video::default() }.vp8().expect("video");
    let audio = Sound::Tone.opus(60.0).expect("audio");
    let bytes = file(&[(Codec::Opus, audio, 0.0), (Codec::Vp8, video, 0.0)], Some(60.0));
    let playback = play(bytes, 0.0, &[0.5]).await;
    // It decodes its way from the start; it reads no more for that.
    assert!(playback.requests <= 4, "{playback:?}");
}

/// Sound alone, cameras that come late and go early, another size, and what a crash left.
fn odd_files() -> Vec<Case> {
    let video = |width, height, seconds| Video { width, height, seconds, ..Video::default() }.vp8().expect("video");
    let audio = Sound::Tone.opus(30.0).expect("audio");
    let camera = video(320, 180, 10.0);
    let with_camera = |at| file(&[(Codec::Opus, audio.clone(), 0.0), (Codec::Vp8, camera.clone(), at)], Some(30.0));
    let sizes: Vec<Part> = [(640, 360), (320, 180), (640, 360)]
        .into_iter()
        .enumerate()
        .map(|(n, (width, height))| (Codec::Vp8, video(width, height, 2.0), n as f64 * 2.0))
        .collect();
    vec![
        Case::new(file(&[(Codec::Opus, audio.clone(), 0.0)], Some(30.0)), 2.0, &[0.1, 0.5, 0.9]),
        // In front of the first picture, and among them.
        Case { pictures: [20.0, 30.0], ..Case::new(with_camera(20.0), 2.0, &[0.1, 0.3, 0.8, 0.9, 0.3]) },
        // Behind the last one, too.
        Case { pictures: [0.0, 10.0], ..Case::new(with_camera(0.0), 2.0, &[0.2, 0.5, 0.9, 0.1]) },
        Case::new(file(&sizes, Some(6.0)), 5.0, &[0.1, 0.5, 0.9]),
        Case::new(repaired(), 2.0, &[0.1, 0.5, 0.9]),
    ]
}

/// What a crash left and recovery finished.
fn repaired() -> Vec<u8> {
    let video = Video { width: 320, height: 180, ..Video::default() }.vp8().expect("video");
    let audio = Sound::Tone.opus(10.0).expect("audio");
    let mut bytes = file(&[(Codec::Opus, audio, 0.0), (Codec::Vp8, video, 0.0)], None);
    bytes.truncate(bytes.len() * 4 / 5);
    let mut recovery = Recovery::new(Vec::new());
    recovery.handle_bytes(&bytes);
    recovery.finish().expect("recoverable").apply(&mut bytes);
    bytes
}

#[tokio::test]
async fn chromium_plays_odd_files() {
    check_odd_files(Player::Chromium).await;
}

#[tokio::test]
async fn firefox_plays_odd_files() {
    check_odd_files(Player::Firefox).await;
}

async fn check_odd_files(player: Player) {
    let cases = odd_files();
    let count = cases.len();
    let played = player.play_each(cases).await.expect("plays");
    assert_eq!(played.len(), count);
    for (playback, seconds) in played.iter().zip([30.0, 30.0, 30.0, 6.0, 7.5]) {
        assert_eq!(playback.complaints(), Vec::<String>::new(), "{playback:?}");
        let duration = playback.duration.expect("finite");
        assert!((duration - seconds).abs() < 0.6, "{duration} {playback:?}");
    }
    assert_eq!(played[3].sizes[..3], [(640, 360), (320, 180), (640, 360)], "{:?}", played[3]);
}
