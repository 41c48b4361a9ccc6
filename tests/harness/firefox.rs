//! A real Firefox, driven over WebDriver BiDi, which it serves itself: enough of it to run a script in a page.

use std::io;
use std::process::Stdio;

use futures_util::{SinkExt as _, StreamExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::browser::{DEADLINE, tree};
use crate::netns::Host;

/// What it is started with: candidates on loopback, and no word to its maker's servers.
const PREFERENCES: &str = r#"
user_pref("media.peerconnection.ice.loopback", true);
user_pref("media.peerconnection.ice.obfuscate_host_addresses", false);
user_pref("media.autoplay.default", 0);
user_pref("app.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("services.settings.server", "data:,");
user_pref("media.gmp-manager.updateEnabled", false);
user_pref("remote.active-protocols", 1);
"#;

/// A running Firefox with one page.
pub struct Firefox {
    child: Child,
    socket: WebSocketStream<TcpStream>,
    page: String,
    next: u64,
    /// Removed after the processes have ended.
    _profile: TempDir,
}

impl Firefox {
    /// Starts it with a profile of its own.
    ///
    /// # Errors
    /// When it is not installed or does not answer.
    pub async fn launch() -> io::Result<Self> {
        Self::start(Command::new("firefox-esr"), std::net::TcpStream::connect::<String>).await
    }

    /// Starts it on another host.
    ///
    /// # Errors
    /// As [`Firefox::launch`].
    pub async fn launch_on(host: &Host) -> io::Result<Self> {
        let connect = |address: String| host.within(|| std::net::TcpStream::connect(address));
        Self::start(host.command("firefox-esr").into(), connect).await
    }

    /// `connect` is a way to the loopback address that it listens at.
    async fn start(
        mut command: Command,
        connect: impl FnOnce(String) -> io::Result<std::net::TcpStream>,
    ) -> io::Result<Self> {
        let profile = TempDir::with_prefix("tern-firefox-")?;
        std::fs::write(profile.path().join("user.js"), PREFERENCES)?;
        let mut child = command
            .args(["--headless", "--no-remote", "--remote-debugging-port", "0", "--profile"])
            .arg(profile.path())
            .env("HOME", profile.path())
            .env("TMPDIR", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let said = child.stderr.take().expect("stderr is piped");
        let address = timeout(DEADLINE, listening(said)).await??;
        let url = format!("ws://{address}/session");
        let stream = connect(address)?;
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream)?;
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.map_err(io::Error::other)?;
        let mut firefox = Self { child, socket, page: String::new(), next: 0, _profile: profile };
        // Certificates of tests are nobody's.
        let capabilities = json!({"alwaysMatch": {"acceptInsecureCerts": true}});
        firefox.call("session.new", json!({"capabilities": capabilities})).await?;
        let tree = firefox.call("browsingContext.getTree", json!({})).await?;
        firefox.page = tree["contexts"][0]["context"].as_str().unwrap_or_default().to_owned();
        Ok(firefox)
    }

    /// Sends a command and waits for its result, at most [`DEADLINE`].
    ///
    /// # Errors
    /// What the browser says.
    pub async fn call(&mut self, method: &str, params: Value) -> io::Result<Value> {
        self.next += 1;
        let command = json!({"id": self.next, "method": method, "params": params});
        self.socket.send(Message::text(command.to_string())).await.map_err(io::Error::other)?;
        timeout(DEADLINE, self.result()).await?
    }

    /// The result of the last command; events are passed over.
    async fn result(&mut self) -> io::Result<Value> {
        while let Some(message) = self.socket.next().await {
            let Message::Text(text) = message.map_err(io::Error::other)? else { continue };
            let mut answer: Value = serde_json::from_str(&text)?;
            if answer["id"] == self.next {
                return if answer["type"] == "success" {
                    Ok(answer["result"].take())
                } else {
                    Err(io::Error::other(answer.to_string()))
                };
            }
        }
        Err(io::Error::other("the browser is gone"))
    }

    /// Opens a document, and waits until it has loaded.
    ///
    /// # Errors
    /// What the browser says.
    pub async fn open(&mut self, url: &str) -> io::Result<()> {
        let params = json!({"context": self.page, "url": url, "wait": "complete"});
        self.call("browsingContext.navigate", params).await.map(drop)
    }

    /// Evaluates an expression, awaits it if it is a promise, and reads its JSON value.
    ///
    /// # Errors
    /// What the expression threw.
    pub async fn eval<T: DeserializeOwned>(&mut self, expression: &str) -> io::Result<T> {
        // Values come in a notation of the protocol's own, texts excepted.
        let expression = format!("(async () => JSON.stringify(await ({expression}) ?? null))()");
        let params = json!({
            "expression": expression, "target": {"context": self.page}, "awaitPromise": true,
            "userActivation": true,
        });
        let result = self.call("script.evaluate", params).await?;
        match result["result"]["value"].as_str() {
            Some(text) => Ok(serde_json::from_str(text)?),
            None => Err(io::Error::other(result["exceptionDetails"]["text"].to_string())),
        }
    }
}

impl Drop for Firefox {
    fn drop(&mut self) {
        if let Some(root) = self.child.id() {
            tree::end(root);
        }
    }
}

/// The address that it says it listens at. What it says later is read too, so that it never waits for us.
async fn listening(said: tokio::process::ChildStderr) -> io::Result<String> {
    let mut lines = BufReader::new(said).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(address) = line.strip_prefix("WebDriver BiDi listening on ws://") {
            let address = address.trim().to_owned();
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return Ok(address);
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "Firefox ended before it listened"))
}
