//! Files of `crates/webm` before everything that will read them: ffmpeg, mkvtoolnix, libwebm's own checker.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use session::audio::{Audio, Filling};
use tempfile::TempDir;
use tests::media_check::{
    self, check_all, converted, converted_seconds, decode, events, layout, probe, skew, wav_seconds,
};
use tests::media_source::{Encoded, Picture, Sound, Video};
use webm::{Codec, Frame, HEAD_LEN, Muxer, Options, Recovery, Size, TrackNumber};

const SEED: u64 = 0x7e57_0001;

/// A file on disk that obeys a muxer.
struct Written {
    muxer: Muxer,
    bytes: Vec<u8>,
    folder: TempDir,
}

impl Written {
    fn new() -> Self {
        let folder = TempDir::with_prefix("tern-webm-").expect("a folder");
        Self { muxer: Muxer::new(Options::default()), bytes: Vec::new(), folder }
    }

    fn track(&mut self, codec: Codec) -> TrackNumber {
        self.muxer.add_track(codec).expect("room for a track")
    }

    fn obey(&mut self) {
        while let Some(output) = self.muxer.poll_output() {
            output.apply(&mut self.bytes);
        }
    }

    /// Writes all frames in order of time, as they would arrive.
    fn write(&mut self, mut frames: Vec<(TrackNumber, Encoded)>) {
        frames.sort_by_key(|(_, frame)| frame.at);
        for (track, Encoded { at, key, size, data, .. }) in frames {
            let size = size.map(|(width, height)| Size { width, height });
            self.muxer.handle_timeout(at);
            self.muxer.handle_frame(Frame { track, at, key, size, data }).expect("the frame is taken");
            self.obey();
        }
    }

    fn finish(mut self, end: Duration) -> (PathBuf, Vec<u8>, TempDir) {
        self.muxer.finish(end);
        self.obey();
        let path = self.folder.path().join("recording.webm");
        std::fs::write(&path, &self.bytes).expect("written");
        (path, self.bytes, self.folder)
    }
}

fn on(track: TrackNumber, frames: Vec<Encoded>, start: Duration) -> Vec<(TrackNumber, Encoded)> {
    frames.into_iter().map(|frame| (track, Encoded { at: frame.at + start, ..frame })).collect()
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn assert_good(path: &Path) {
    if let Err(wrong) = check_all(path) {
        panic!("{}:\n{wrong}", path.display());
    }
}

#[test]
fn a_call_of_ten_seconds_satisfies_every_reader() {
    let mut file = Written::new();
    let (mic, cam) = (file.track(Codec::Opus), file.track(Codec::Vp8));
    let video = Video::default().vp8().expect("video");
    let audio = Sound::Tone.opus(10.0).expect("audio");
    let (pictures, packets) = (video.len(), audio.len());
    file.write([on(cam, video, Duration::ZERO), on(mic, audio, Duration::ZERO)].concat());
    let (path, bytes, _folder) = file.finish(seconds(10.0));
    assert_good(&path);

    let probe = probe(&path).expect("probed");
    let duration = probe.duration.expect("a duration");
    assert!((duration - 10.0).abs() < 0.05, "{duration}");
    let video = probe.stream("video").expect("video");
    assert_eq!((video.codec.as_str(), video.width, video.height), ("vp8", Some(640), Some(360)));
    assert_eq!(video.packets as usize, pictures);
    let audio = probe.stream("audio").expect("audio");
    assert_eq!((audio.codec.as_str(), audio.packets as usize), ("opus", packets));

    let layout = layout(&bytes).expect("elements add up");
    assert_eq!(layout.cues.len(), 5, "a key frame every two seconds");
    assert!(layout.clusters.len() >= 10);
    assert_eq!((layout.document, layout.timestamp_scale), (("webm".to_owned(), 4, 2), 1_000_000));
    let private = [&b"OpusHead"[..], &[1, 2, 0, 0], &48_000_u32.to_le_bytes(), &[0, 0, 0]].concat();
    let sound = media_check::Sound { private, seek_pre_roll: 80_000_000, codec_delay: 0, channels: 2 };
    assert_eq!(layout.sound, Some(sound));
    let heard = converted_seconds(&path).expect("converted");
    assert!((heard - packets as f64 * 0.02).abs() < 0.02, "{heard}");
}

#[test]
fn flashes_and_beeps_stay_together() {
    let first = Duration::from_millis(500);
    let video =
        Video { picture: Picture::Flashes(first), width: 320, height: 180, ..Video::default() }.vp8().expect("video");
    let audio = Sound::Beeps(first).opus(10.0).expect("audio");
    for shift in [0, 120] {
        let mut file = Written::new();
        let (mic, cam) = (file.track(Codec::Opus), file.track(Codec::Vp8));
        let shifted = on(mic, audio.clone(), Duration::from_millis(shift));
        file.write([on(cam, video.clone(), Duration::ZERO), shifted].concat());
        let (path, _, _folder) = file.finish(seconds(10.0));
        assert_good(&path);
        let skew = skew(&events(&path).expect("decodes"));
        assert_eq!((skew.flashes, skew.each.len()), (10, 10), "{skew:?}");
        // Opus at pre-skip 0 gives 6.5 ms of the encoder's delay, and a file counts whole milliseconds.
        let expected = shift as f64 + 6.5;
        assert!((skew.median() - expected).abs() < 3.0 && (skew.max() - expected).abs() < 5.0, "{shift}: {skew:?}");
    }
}

#[test]
fn a_crash_at_any_byte_costs_only_the_torn_cluster() {
    let mut file = Written::new();
    let (mic, cam) = (file.track(Codec::Opus), file.track(Codec::Vp8));
    let video = Video { width: 320, height: 180, ..Video::default() }.vp8().expect("video");
    let audio = Sound::Tone.opus(10.0).expect("audio");
    file.write([on(cam, video, Duration::ZERO), on(mic, audio, Duration::ZERO)].concat());
    // The process is gone: the muxer never hears of the end.
    let live = std::mem::take(&mut file.bytes);
    let mut rng = StdRng::seed_from_u64(SEED);
    for _ in 0..20 {
        let cut = rng.random_range(HEAD_LEN + 150_000..live.len());
        let torn = &live[..cut];
        let mut recovery = Recovery::new(Vec::new());
        torn.chunks(65_536).for_each(|chunk| recovery.handle_bytes(chunk));
        let recovered = recovery.finish().expect("recoverable");
        let mut repaired = torn.to_vec();
        recovered.apply(&mut repaired);
        let path = file.folder.path().join(format!("cut-{cut}.webm"));
        std::fs::write(&path, &repaired).expect("written");
        assert_good(&path);
        let duration = probe(&path).expect("probed").duration.expect("a duration");
        assert!((duration - recovered.end.as_secs_f64()).abs() < 0.05, "seed {SEED:#x} cut {cut}: {duration}");
        let lost = cut - recovered.valid_len as usize;
        assert!(lost < 150_000, "seed {SEED:#x} cut {cut}: {lost} bytes lost");
    }
}

#[test]
fn a_growing_file_can_be_read() {
    let mut file = Written::new();
    let (mic, cam) = (file.track(Codec::Opus), file.track(Codec::Vp8));
    let video = Video { width: 320, height: 180, seconds: 5.0, ..Video::default() }.vp8().expect("video");
    let audio = Sound::Tone.opus(5.0).expect("audio");
    file.write([on(cam, video, Duration::ZERO), on(mic, audio, Duration::ZERO)].concat());
    let path = file.folder.path().join("growing.webm");
    std::fs::write(&path, &file.bytes).expect("written");
    let complaints = media_check::decode_complaints(&path, "opus").expect("ffmpeg runs");
    assert!(complaints.is_empty(), "{complaints:?}");
    let decoded = decode(&path).expect("decodes");
    assert!(decoded.pictures.len() >= 100, "{} pictures", decoded.pictures.len());
    // A copy knows how long it is; the last half second waits in memory.
    assert_eq!(probe(&path).expect("probed").duration, None);
    let copy = file.folder.path().join("copy.webm");
    media_check::copy(&path, &[], &copy).expect("copied");
    let duration = probe(&copy).expect("probed").duration.expect("a duration");
    assert!((3.5..=5.0).contains(&duration), "{duration}");
}

#[test]
fn the_picture_may_change_its_size() {
    for (encoder, codec) in [(rtc_client::Codec::Vp8, Codec::Vp8), (rtc_client::Codec::Vp9, Codec::Vp9)] {
        let mut file = Written::new();
        let cam = file.track(codec);
        let mut frames = Vec::new();
        for (n, (width, height)) in [(640, 360), (320, 180), (640, 360)].into_iter().enumerate() {
            let video = Video { width, height, seconds: 4.0, ..Video::default() }.encode(encoder).expect("video");
            frames.extend(on(cam, video, seconds(4.0) * n as u32));
        }
        let count = frames.len();
        file.write(frames);
        let (path, _, _folder) = file.finish(seconds(12.0));
        assert_good(&path);
        let decoded = decode(&path).expect("decodes");
        let mut sizes: Vec<u32> = decoded.pictures.iter().map(|picture| picture.width).collect();
        sizes.dedup();
        assert_eq!((decoded.pictures.len(), sizes), (count, vec![640, 320, 640]), "{encoder:?}");
        assert_eq!(probe(&path).expect("probed").stream("video").and_then(|video| video.width), Some(640));
    }
}

#[test]
fn a_camera_may_come_late() {
    let mut file = Written::new();
    let (mic, cam) = (file.track(Codec::Opus), file.track(Codec::Vp8));
    let video = Video { width: 320, height: 180, seconds: 5.0, ..Video::default() }.vp8().expect("video");
    let audio = Sound::Tone.opus(25.0).expect("audio");
    file.write([on(cam, video, seconds(20.0)), on(mic, audio, Duration::ZERO)].concat());
    let (path, bytes, _folder) = file.finish(seconds(25.0));
    assert_good(&path);
    let decoded = decode(&path).expect("decodes");
    assert_eq!(decoded.pictures.first().map(|picture| picture.at), Some(20.0));
    assert_eq!(decoded.pictures.len(), 150);
    let layout = layout(&bytes).expect("elements add up");
    let first = layout.blocks_of(1).next().expect("video");
    assert!(first.key && first.at == 20_000, "{first:?}");
}

#[test]
fn a_track_that_never_delivers_is_not_declared() {
    let mut file = Written::new();
    let (mic, _cam) = (file.track(Codec::Opus), file.track(Codec::Vp8));
    file.write(on(mic, Sound::Tone.opus(6.0).expect("audio"), Duration::ZERO));
    let (path, bytes, _folder) = file.finish(seconds(6.0));
    assert_good(&path);
    assert_eq!(probe(&path).expect("probed").streams.len(), 1);
    let layout = layout(&bytes).expect("elements add up");
    assert_eq!((layout.cues.len(), layout.clusters.len()), (7, 7), "a cue for each cluster, the last one short");
}

#[test]
fn what_is_filled_is_as_long_for_everybody_who_converts_it() {
    let mut file = Written::new();
    let mic = file.track(Codec::Opus);
    let spoken = Sound::Tone.opus(2.0).expect("audio");
    let (mut audio, mut sounds) = (Audio::default(), Vec::new());
    // Two seconds are heard, 300 ms are lost, then two more, a mute of three seconds, and two more.
    let parts = [(0, Filling::Silence), (110_400, Filling::Conceal), (350_400, Filling::Silence)];
    for (start, filling) in parts {
        for (n, frame) in spoken.iter().take(100).enumerate() {
            audio.handle_packet(start + n as i64 * 960, frame.data.clone(), filling, i64::MAX, &mut sounds);
        }
    }
    audio.fill(480_000, Filling::Silence, &mut sounds);
    assert!(audio.filled > 0 && sounds.len() > 300, "{audio:?}");
    let frames = sounds.into_iter().map(|sound| {
        let at = Duration::from_micros((sound.at * 1_000 / 48).cast_unsigned());
        (mic, Encoded { codec: rtc_client::Codec::Opus, at, key: true, size: None, data: sound.data })
    });
    file.write(frames.collect());
    let (path, _, _folder) = file.finish(seconds(10.0));
    assert_good(&path);
    let heard =
        [wav_seconds(&path, "opus"), wav_seconds(&path, "libopus"), converted(&path, "ogg"), converted(&path, "mp4")];
    for heard in heard.map(|heard| heard.expect("converted")) {
        assert!((heard - 10.0).abs() <= 0.02, "{heard}");
    }
}

#[test]
fn the_checks_see_faults() {
    let mut file = Written::new();
    let cam = file.track(Codec::Vp8);
    let video = Video { width: 320, height: 180, seconds: 4.0, ..Video::default() }.vp8().expect("video");
    file.write(on(cam, video, Duration::ZERO));
    let (path, bytes, folder) = file.finish(seconds(4.0));
    assert_good(&path);
    let faulty = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        check_all(&path).expect_err(name)
    };
    let torn = faulty("torn.webm", &bytes[..bytes.len() * 2 / 3]);
    assert!(torn.contains("prematurely"), "{torn}");

    // Without an EBML header it is no Matroska for anybody.
    let mut headless = bytes.clone();
    headless[0] ^= 1;
    let told = faulty("head.webm", &headless);
    for tool in ["mkvinfo", "mkvmerge", "webm_info"] {
        assert!(told.contains(tool), "{tool} is silent: {told}");
    }

    // The last cue's relative position is the file's last byte.
    let mut astray = bytes.clone();
    *astray.last_mut().expect("bytes") += 1;
    assert!(faulty("cue.webm", &astray).contains("points at None"));

    // The start code of the second key frame (RFC 6386 section 9.1).
    let mut noise = bytes;
    let code =
        noise.windows(3).enumerate().filter(|(_, bytes)| *bytes == [0x9d, 0x01, 0x2a]).nth(1).expect("a key frame").0;
    noise[code] = 0;
    assert!(faulty("code.webm", &noise).contains("Invalid start code"));
}
