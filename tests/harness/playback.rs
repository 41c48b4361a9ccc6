//! A recording in the players of Chromium and Firefox: does it play, what does it say, where does it get when it seeks.

use std::io;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::browser::Browser;
use crate::firefox::Firefox;
use crate::range_server::RangeServer;

/// How long a whole playback may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// One seek.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Seek {
    /// Where to, in seconds.
    pub target: f64,
    /// Where the player says it is.
    pub arrived: f64,
    /// Time of the picture then shown; none in a file without video.
    pub picture: Option<f64>,
}

/// What the player did.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Playback {
    /// Seconds; a file that nobody finished has none.
    pub duration: Option<f64>,
    /// Each size of the picture, in order.
    pub sizes: Vec<(u32, u32)>,
    /// How far it played before it was asked to seek, in seconds.
    pub played: f64,
    pub seeks: Vec<Seek>,
    /// Requests for the file.
    #[serde(default)]
    pub requests: usize,
}

impl Playback {
    /// Whatever is not where a seek should have led.
    pub fn complaints(&self) -> Vec<String> {
        let is_there = |seek: &&Seek| {
            let shows = seek.picture.is_none_or(|shown| (shown - seek.target).abs() < 0.05);
            (seek.arrived - seek.target).abs() < 0.01 && shows
        };
        self.seeks.iter().filter(|seek| !is_there(seek)).map(|seek| format!("{seek:?}")).collect()
    }
}

/// A player that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Player {
    Chromium,
    Firefox,
}

impl Player {
    /// Plays `play` seconds of a file from its start, then seeks to each of these parts of its duration.
    ///
    /// # Errors
    /// What the player says when it cannot go on.
    pub async fn play(self, file: Vec<u8>, play: f64, seeks: &[f64]) -> io::Result<Playback> {
        let server = RangeServer::start(file).await?;
        let (page, url) = (server.page(), server.url());
        let playback = match self {
            Self::Chromium => playback(&Browser::launch().await?, &page, &url, play, seeks).await?,
            Self::Firefox => playback_in_firefox(&mut Firefox::launch().await?, &page, &url, play, seeks).await?,
        };
        Ok(Playback { requests: server.requests(), ..playback })
    }
}

/// Plays `play` seconds of what is at `url` from its start at ten times the speed, then seeks to each of these parts of its
/// duration. The player stands in the document at `page`, because Chromium lets no opaque origin read from loopback.
///
/// # Errors
/// What the player says when it cannot go on.
pub async fn playback(browser: &Browser, page: &str, url: &str, play: f64, seeks: &[f64]) -> io::Result<Playback> {
    let page = browser.open(page).await?;
    let (url_json, seeks) = (serde_json::to_string(url)?, serde_json::to_string(seeks)?);
    page.eval::<()>(&format!("{{ {SCRIPT}; window.outcome = run({url_json}, {play}, {seeks}).catch(String) }} null"))
        .await?;
    let outcome: Value = page.wait_until("window.outcome", DEADLINE).await?;
    if let Some(error) = outcome.as_str() {
        return Err(io::Error::other(format!("{error}: {:?}", page.errors())));
    }
    let mut playback: Playback = serde_json::from_value(outcome)?;
    playback.requests = page.requests().iter().filter(|requested| *requested == url).count();
    page.close().await?;
    Ok(playback)
}

/// The same in Firefox. Requests are not counted: the server knows them.
///
/// # Errors
/// What the player says when it cannot go on.
async fn playback_in_firefox(
    firefox: &mut Firefox,
    page: &str,
    url: &str,
    play: f64,
    seeks: &[f64],
) -> io::Result<Playback> {
    firefox.open(page).await?;
    let (url, seeks) = (serde_json::to_string(url)?, serde_json::to_string(seeks)?);
    let outcome: Value = firefox.eval(&format!("(() => {{ {SCRIPT}; return run({url}, {play}, {seeks}) }})()")).await?;
    Ok(serde_json::from_value(outcome)?)
}

const SCRIPT: &str = r#"
async function run(url, play, seeks) {
  const video = document.createElement('video');
  video.muted = true;
  // With less, Chromium closes its connection after each megabyte that it reads.
  video.preload = 'auto';
  document.body.replaceChildren(video);
  const failed = new Promise((_, fail) => {
    video.onerror = () => fail(new Error(video.error.message || 'code ' + video.error.code));
  });
  const happens = (name) => Promise.race([failed, new Promise(done => video.addEventListener(name, done, { once: true }))]);
  // The picture that is shown: a player that stands still shows one only once.
  let picture = null;
  const look = () => video.requestVideoFrameCallback((_, frame) => { picture = frame.mediaTime; look(); });
  look();
  const sizes = [];
  video.addEventListener('resize', () => sizes.push([video.videoWidth, video.videoHeight]));
  const known = happens('loadeddata');
  video.src = url;
  await known;
  const duration = Number.isFinite(video.duration) ? video.duration : null;
  if (play > 0) {
    video.playbackRate = 10;
    await Promise.race([failed, video.play()]);
    while (video.currentTime < play && !video.ended) await happens('timeupdate');
    video.pause();
  }
  const played = video.currentTime;
  const went = [];
  for (const part of seeks) {
    const target = duration * part;
    const arrived = happens('seeked');
    video.currentTime = target;
    await arrived;
    // Until then it may still be the one from before.
    const end = performance.now() + 5000;
    const isThere = () => !video.videoWidth || (picture !== null && Math.abs(picture - target) <= 0.5);
    while (!isThere() && performance.now() < end) {
      await Promise.race([failed, new Promise(done => setTimeout(done, 20))]);
    }
    went.push({ target, arrived: video.currentTime, picture });
  }
  return { duration, sizes, played, seeks: went };
}
"#;
