//! A real Chromium, driven over the DevTools protocol. One [`Browser`] a test, one [`Page`] a participant.
//!
//! The browser's lifetime is ours: its control connection is a pair of pipes, so that it ends by itself even if the
//! test process is killed. Camera, microphone and permission prompts are Chromium's own fakes.

mod cdp;
mod page;
pub(crate) mod tree;

use std::io;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::netns::Host;
use cdp::Cdp;
pub use page::{Page, Size};

/// How long anything in the browser may take on a busy machine unless a test says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(40);

const FLAGS: &[&str] = &[
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-features=Translate,MediaRouter,OptimizationHints",
    // Pages of one test share a browser and none of them is "in front".
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--mute-audio",
    "--use-fake-device-for-media-stream=fps=30",
    "--use-fake-ui-for-media-stream",
    "--auto-accept-this-tab-capture",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    "--ignore-certificate-errors",
    "--lang=en-US",
];

/// A running Chromium.
pub struct Browser {
    cdp: Cdp,
    child: Child,
    /// Removed after the processes have ended.
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser with a profile of its own.
    ///
    /// # Errors
    /// When Chromium is not installed or does not answer.
    pub async fn launch() -> io::Result<Self> {
        Self::launch_with(&[]).await
    }

    /// Starts a browser with more command line switches.
    ///
    /// # Errors
    /// As [`Browser::launch`].
    pub async fn launch_with(more: &[&str]) -> io::Result<Self> {
        Self::start(Command::new("/bin/sh"), more).await
    }

    /// Starts a browser on another host.
    ///
    /// # Errors
    /// As [`Browser::launch`].
    pub async fn launch_on(host: &Host) -> io::Result<Self> {
        Self::start(host.command("/bin/sh").into(), &[]).await
    }

    /// `shell` is a shell's command line without arguments.
    async fn start(mut shell: Command, more: &[&str]) -> io::Result<Self> {
        let profile = TempDir::with_prefix("tern-browser-")?;
        let log = std::fs::File::create(profile.path().join("stderr.log"))?;
        // The protocol's pipes are descriptors 3 and 4; a shell maps our stdin and stdout to them.
        let mut child = shell
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 0</dev/null 1>&2", "chromium"])
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(more)
            .env("HOME", profile.path())
            .env("TMPDIR", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let to = child.stdin.take().expect("stdin is piped");
        let from = child.stdout.take().expect("stdout is piped");
        let cdp = Cdp::new(to, from);
        let browser = Self { cdp, child, _profile: profile };
        browser.cdp.call(None, "Browser.getVersion", json!({})).await?;
        Ok(browser)
    }

    /// Opens a page in a context of its own (no cookies or storage shared with the others) and waits until it is loaded.
    ///
    /// # Errors
    /// When the page cannot be reached.
    pub async fn open(&self, url: &str) -> io::Result<Page> {
        let page = self.blank().await?;
        page.goto(url).await?;
        Ok(page)
    }

    /// Opens an empty page in a context of its own, to be set up (size, scripts) before [`Page::goto`].
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn blank(&self) -> io::Result<Page> {
        let context = self.cdp.call(None, "Target.createBrowserContext", json!({})).await?;
        let context = context["browserContextId"].as_str().unwrap_or_default().to_owned();
        Page::create(self.cdp.clone(), context).await
    }

    /// The process id, for CPU accounting.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(root) = self.child.id() {
            tree::end(root);
        }
    }
}
