//! Files of `crates/webm` in the players of Chromium and Firefox: they play, seek with few requests, and survive what calls do to them.

use std::time::Duration;

use tests::media_source::{Encoded, Sound, Video};
use tests::playback::{Playback, Player};
use webm::{Codec, Frame, HEAD_LEN, Muxer, Options, Output, Recovery, Size};

/// A part of a recording: a codec, its frames, and when they start.
type Part = (Codec, Vec<Encoded>, f64);

/// The bytes of a file with one track per codec, finished or as a crash leaves it.
fn file(parts: &[Part], end: Option<f64>) -> Vec<u8> {
    let mut muxer = Muxer::new(Options::default());
    let mut bytes = vec![0; HEAD_LEN];
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
        muxer.handle_frame(Frame { track, at, key, size, data }).expect("the frame is taken");
    }
    if let Some(end) = end {
        muxer.finish(Duration::from_secs_f64(end));
    }
    while let Some(output) = muxer.poll_output() {
        match output {
            Output::Append(more) => bytes.extend_from_slice(&more),
            Output::PatchHead(head) => bytes[..HEAD_LEN].copy_from_slice(&head),
        }
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

#[tokio::test]
async fn chromium_follows_a_change_of_size() {
    let parts: Vec<Part> = [(640, 360), (320, 180), (640, 360)]
        .into_iter()
        .enumerate()
        .map(|(n, (width, height))| {
            let video = Video { width, height, seconds: 2.0, ..Video::default() }.vp8().expect("video");
            (Codec::Vp8, video, n as f64 * 2.0)
        })
        .collect();
    let playback = play(file(&parts, Some(6.0)), 5.0, &[0.1, 0.5, 0.9]).await;
    assert_eq!(playback.sizes[..3], [(640, 360), (320, 180), (640, 360)], "{playback:?}");
}

#[tokio::test]
async fn chromium_plays_a_camera_that_came_late() {
    let video = Video { width: 320, height: 180, seconds: 10.0, ..Video::default() }.vp8().expect("video");
    let audio = Sound::Tone.opus(30.0).expect("audio");
    play(file(&[(Codec::Opus, audio, 0.0), (Codec::Vp8, video, 20.0)], Some(30.0)), 2.0, &[0.8, 0.9]).await;
}

#[tokio::test]
async fn chromium_plays_sound_alone() {
    let audio = Sound::Tone.opus(30.0).expect("audio");
    let playback = play(file(&[(Codec::Opus, audio, 0.0)], Some(30.0)), 2.0, &[0.1, 0.5, 0.9]).await;
    assert_eq!(playback.duration.map(f64::round), Some(30.0));
}

#[tokio::test]
async fn chromium_plays_what_a_crash_left_and_recovery_finished() {
    let video = Video { width: 320, height: 180, ..Video::default() }.vp8().expect("video");
    let audio = Sound::Tone.opus(10.0).expect("audio");
    let mut bytes = file(&[(Codec::Opus, audio, 0.0), (Codec::Vp8, video, 0.0)], None);
    bytes.truncate(bytes.len() * 4 / 5);
    let mut recovery = Recovery::new(Vec::new());
    recovery.handle_bytes(&bytes);
    let recovered = recovery.finish().expect("recoverable");
    bytes.truncate(recovered.valid_len as usize);
    bytes.extend_from_slice(&recovered.cues);
    bytes[..HEAD_LEN].copy_from_slice(&recovered.head);
    let playback = play(bytes, 2.0, &[0.1, 0.5, 0.9]).await;
    let duration = playback.duration.expect("finite");
    assert!((duration - recovered.end.as_secs_f64()).abs() < 0.05, "{duration} {:?}", recovered.end);
}
