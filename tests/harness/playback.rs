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

/// What is to be played.
#[derive(Debug, Clone)]
pub struct Case {
    pub file: Vec<u8>,
    /// Seconds to play from the start, at ten times the speed.
    pub play: f64,
    /// Then it is sought to these parts of the duration.
    pub seeks: Vec<f64>,
    /// Where the file has pictures, in seconds; elsewhere none is expected.
    pub pictures: [f64; 2],
}

impl Case {
    /// A file with pictures from its start to its end, or with none at all.
    pub fn new(file: Vec<u8>, play: f64, seeks: &[f64]) -> Self {
        Self { file, play, seeks: seeks.to_vec(), pictures: [0.0, f64::MAX] }
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
        let mut played = self.play_each(vec![Case::new(file, play, seeks)]).await?;
        played.pop().ok_or_else(|| io::Error::other("nothing was played"))
    }

    /// Plays one after the other, in one browser: launching it takes longer than most files.
    ///
    /// # Errors
    /// What the player says when it cannot go on.
    pub async fn play_each(self, cases: Vec<Case>) -> io::Result<Vec<Playback>> {
        let mut chromium = None;
        let mut firefox = None;
        match self {
            Self::Chromium => chromium = Some(Browser::launch().await?),
            Self::Firefox => firefox = Some(Firefox::launch().await?),
        }
        let mut played = Vec::new();
        for case in cases {
            let run = case.script()?;
            let server = RangeServer::start(case.file).await?;
            let (page, url) = (server.page(), server.url());
            let playback = match (&chromium, &mut firefox) {
                (Some(browser), _) => playback(browser, &page, &url, &run).await?,
                (_, Some(browser)) => playback_in_firefox(browser, &page, &url, &run).await?,
                (None, None) => continue,
            };
            played.push(Playback { requests: server.requests(), ..playback });
        }
        Ok(played)
    }
}

impl Case {
    /// What is run in the page, but for the address.
    fn script(&self) -> io::Result<String> {
        let (seeks, pictures) = (serde_json::to_string(&self.seeks)?, serde_json::to_string(&self.pictures)?);
        Ok(format!("{}, {seeks}, {pictures}", self.play))
    }
}

/// Plays what is at `url`. The player stands in the document at `page`, because Chromium lets no opaque origin read from
/// loopback.
async fn playback(browser: &Browser, page: &str, url: &str, run: &str) -> io::Result<Playback> {
    let page = browser.open(page).await?;
    let url_json = serde_json::to_string(url)?;
    page.eval::<()>(&format!("{{ {SCRIPT}; window.outcome = run({url_json}, {run}).catch(String) }} null")).await?;
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
async fn playback_in_firefox(firefox: &mut Firefox, page: &str, url: &str, run: &str) -> io::Result<Playback> {
    firefox.open(page).await?;
    let url = serde_json::to_string(url)?;
    let outcome: Value = firefox.eval(&format!("(() => {{ {SCRIPT}; return run({url}, {run}) }})()")).await?;
    Ok(serde_json::from_value(outcome)?)
}

const SCRIPT: &str = r#"
async function run(url, play, seeks, [first, last]) {
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
    const shows = video.videoWidth > 0 && first <= target && target <= last;
    const isThere = () => !shows || (picture !== null && Math.abs(picture - target) <= 0.05);
    while (!isThere() && performance.now() < end) {
      await Promise.race([failed, new Promise(done => setTimeout(done, 20))]);
    }
    went.push({ target, arrived: video.currentTime, picture: shows ? picture : null });
  }
  return { duration, sizes, played, seeks: went };
}
"#;
