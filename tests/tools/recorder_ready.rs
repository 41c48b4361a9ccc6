//! `recorder-ready [SECONDS] [s3|garage]`: how long after the stop of a long recording its file can be downloaded.
//!
//! What is done at the end grows with the bytes of a file, hardly with the time that it took. So two hours of a call
//! (850 kbit/s) are fed in two minutes, at sixty times the rate: 51 Mbit/s, in which every picture is a key frame. Storage has
//! a sixtieth of the time for each part, too. Clusters and cues are fewer than in two hours, one or two a second; 7,200 cues
//! would be 170 KB more to write.

use std::io;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use signalling::message::Source;
use tests::bot::{Bot, Feed};
use tests::media_check;
use tests::media_source::{Picture, Sound, Video};
use tests::recording::{Stand, Storage};

/// Sixty times 850 kbit/s, less the sound.
const KILOBITS: u32 = 50_950;
/// Pictures a second, each a key frame: noise that size is made of nothing else.
const KEY_FRAMES: u32 = 25;
/// Cues a second, about: clusters of half a second may begin a moment sooner than cues may follow each other.
const CUES: f64 = 1.0;
/// What the end may take.
const MAX_WAIT: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let seconds = arguments.first().map_or(Ok(120), |text| text.parse());
    let storage = match arguments.get(1).map(String::as_str) {
        None | Some("s3") => Some(Storage::S3),
        Some("garage") => Some(Storage::Garage),
        Some(_) => None,
    };
    let (Ok(seconds), Some(storage)) = (seconds, storage) else {
        eprintln!("usage: recorder-ready [SECONDS] [s3|garage]");
        return ExitCode::FAILURE;
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(measure(Duration::from_secs(seconds), storage)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("recorder-ready: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(time: Duration, storage: Storage) -> io::Result<bool> {
    let video = Video {
        picture: Picture::Noise,
        width: 640,
        height: 360,
        fps: KEY_FRAMES,
        key_every: 1,
        seconds: 1.0,
        kilobits: KILOBITS,
    };
    let feeds = vec![
        Feed { source: Source::Mic, media: Sound::Tone.opus(1.0)? },
        Feed { source: Source::Camera, media: video.vp8()? },
    ];
    let stand = Stand::start(storage).await?;
    let recorder = recorder::start(stand.recorder_config("a")).await.map_err(io::Error::other)?;
    let mut bot = Bot::join(stand.address(), "ready", None, feeds).await?;
    bot.connected().await?;
    let id = stand.record("ready").await?;
    stand.wait(&id, &["recording"]).await?;
    tokio::time::sleep(time).await;
    let stopped = Instant::now();
    stand.stop("ready").await?;
    let recording = stand.wait(&id, &["ready", "failed"]).await?;
    let took = stopped.elapsed();
    let [file] = recording["files"].as_array().map_or(&[][..], Vec::as_slice) else {
        return Err(io::Error::other(format!("one file: {recording}")));
    };
    let path = stand.download(file).await?;
    let layout = media_check::layout(&std::fs::read(&path)?).map_err(io::Error::other)?;
    let megabytes = std::fs::metadata(&path)?.len() as f64 / 1e6;
    println!(
        "{megabytes:.0} MB in {} clusters with {} cues, recorded in {:.0} s",
        layout.clusters.len(),
        layout.cues.len(),
        time.as_secs_f64()
    );
    println!("ready {took:?} after the stop");
    let whole = recording["state"] == "ready" && layout.cues.len() as f64 > time.as_secs_f64() * 0.75 * CUES;
    if !whole {
        println!("not whole: {recording}");
    }
    bot.leave().await;
    recorder.stop();
    recorder.wait().await.expect("ends well");
    stand.end().await;
    Ok(whole && took <= MAX_WAIT)
}
