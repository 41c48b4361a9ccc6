//! A person in a call: a page of a real browser that joined a room the way people do, and what it sees and hears.

use std::io;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::browser::{Browser, DEADLINE, Page};

/// What flows over one RTCPeerConnection, by the browser's own statistics.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Connection {
    pub state: String,
    /// Type of the selected local candidate: `host`, `srflx`, `prflx`, `relay`.
    pub local: Option<String>,
    /// With `relay`: how the browser reaches the relay (`udp`, `tcp`, `tls`).
    pub relay_protocol: Option<String>,
    pub remote: Option<String>,
    pub frames_decoded: u64,
    pub freezes: u64,
    pub audio_energy: f64,
    pub samples: u64,
    /// Samples that were invented, silence excepted.
    pub concealed: u64,
    pub packets_received: u64,
    pub packets_sent: u64,
}

/// A participant that uses the page.
pub struct Guest {
    pub page: Page,
    pub name: String,
}

impl Guest {
    /// Opens the page at `origin`, sees the own camera in the lobby, presses Join and waits for the call.
    ///
    /// # Errors
    /// When the page does not get that far; the error has what it shows.
    pub async fn join(browser: &Browser, origin: &str, room: &str, name: &str, query: &str) -> io::Result<Self> {
        Self::join_with(browser, origin, room, name, query, "").await
    }

    /// The same in a browser that runs a script before the page's own.
    ///
    /// # Errors
    /// As [`Guest::join`].
    pub async fn join_with(
        browser: &Browser,
        origin: &str,
        room: &str,
        name: &str,
        query: &str,
        script: &str,
    ) -> io::Result<Self> {
        let guest = Self::in_lobby_with(browser, origin, room, name, query, script).await?;
        guest.page.click("#join").await?;
        guest.page.wait_until::<bool>("document.body.dataset.view === 'call'", DEADLINE).await?;
        Ok(guest)
    }

    /// Opens the page and waits until the lobby shows the own camera.
    ///
    /// # Errors
    /// As [`Guest::join`].
    pub async fn in_lobby(browser: &Browser, origin: &str, room: &str, name: &str, query: &str) -> io::Result<Self> {
        Self::in_lobby_with(browser, origin, room, name, query, "").await
    }

    async fn in_lobby_with(
        browser: &Browser,
        origin: &str,
        room: &str,
        name: &str,
        query: &str,
        script: &str,
    ) -> io::Result<Self> {
        let page = browser.blank().await?;
        page.inject(script).await?;
        page.inject(include_str!("guest/observe.js")).await?;
        // VGA: several cameras on a small machine, and no test is about resolution.
        page.inject("localStorage.setItem('tern.devices', '{\"quality\":\"standard\"}')").await?;
        page.goto(&format!("{origin}/?name={name}&{query}#{room}")).await?;
        page.wait_until::<bool>("document.querySelector('#preview').videoWidth > 0", DEADLINE).await?;
        Ok(Self { page, name: name.into() })
    }

    /// Every open connection, that to the server first.
    ///
    /// # Errors
    /// When the page is gone.
    pub async fn connections(&self) -> io::Result<Vec<Connection>> {
        self.page.eval("observed()").await
    }

    /// Waits until somebody's picture moves on this page, `frames` further frames of it.
    ///
    /// # Errors
    /// After [`DEADLINE`].
    pub async fn sees(&self, other: &str, frames: u32) -> io::Result<()> {
        let video = format!("document.querySelector({})", Value::from(format!("{} video", tile(other))));
        let count = format!("{video}.getVideoPlaybackQuality().totalVideoFrames");
        let shown = format!("{video}.closest('.showing') && {video}.videoWidth > 0 && {count} > 0 && {count}");
        let first: u32 = self.page.wait_until(&shown, DEADLINE).await?;
        self.page.wait_until::<bool>(&format!("{count} >= {}", first + frames), DEADLINE).await.map(drop)
    }

    /// Waits until nothing moves in somebody's tile any more because the page took the picture away.
    ///
    /// # Errors
    /// After [`DEADLINE`].
    pub async fn sees_no_picture_of(&self, other: &str) -> io::Result<()> {
        let tile = Value::from(tile(other));
        let gone = format!("!document.querySelector({tile}).matches('.showing')");
        self.page.wait_until::<bool>(&gone, DEADLINE).await.map(drop)
    }

    /// Waits until sound of at least this energy more is played. The fake microphone beeps once a second.
    ///
    /// # Errors
    /// After [`DEADLINE`].
    pub async fn hears_something(&self) -> io::Result<()> {
        let energy = "(await observed()).reduce((sum, c) => sum + c.audio_energy, 0)";
        let first: f64 = self.page.eval(&format!("(async () => {energy})()")).await?;
        let more = format!("(async () => {energy} > {first} + 1e-6)()");
        self.page.wait_until::<bool>(&more, DEADLINE).await.map(drop)
    }

    /// Waits for a condition on the page, with the usual deadline.
    ///
    /// # Errors
    /// After [`DEADLINE`].
    pub async fn until(&self, condition: &str) -> io::Result<()> {
        self.page.wait_until::<bool>(&format!("Boolean({condition})"), DEADLINE).await.map(drop)
    }

    /// Lets so much time pass in the page: for what is measured over time, as a recording's length.
    ///
    /// # Errors
    /// When the page is gone.
    pub async fn stays(&self, time: Duration) -> io::Result<()> {
        self.page
            .eval::<bool>(&format!("new Promise(done => setTimeout(() => done(true), {}))", time.as_millis()))
            .await?;
        Ok(())
    }
}

/// The selector of the camera tile of somebody by its shown name.
pub fn tile(name: &str) -> String {
    format!(".tile.camera[aria-label^=\"{name}\"]")
}
