//! One page: evaluate, wait for a condition, type, look, and account for what went wrong in it.

use std::io;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cdp::Cdp;

/// A viewport in CSS pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
    /// Whether to behave like a phone (touch, overlay scroll bars, viewport meta tag).
    pub mobile: bool,
}

impl Size {
    /// A laptop's window.
    pub const LAPTOP: Self = Self { width: 1280, height: 800, mobile: false };
    /// A narrow phone, upright.
    pub const PHONE: Self = Self { width: 360, height: 740, mobile: true };
}

/// A page of a [`super::Browser`].
pub struct Page {
    cdp: Cdp,
    session: String,
    context: String,
}

impl Page {
    pub(super) async fn create(cdp: Cdp, context: String) -> io::Result<Self> {
        let target = json!({"url": "about:blank", "browserContextId": context});
        let target = cdp.call(None, "Target.createTarget", target).await?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = cdp.call(None, "Target.attachToTarget", attach).await?;
        let session = attached["sessionId"].as_str().unwrap_or_default().to_owned();
        let page = Self { cdp, session, context };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({})).await?;
        }
        page.resize(Size::LAPTOP).await?;
        Ok(page)
    }

    /// Sends any DevTools command to this page.
    ///
    /// # Errors
    /// What the browser says.
    pub async fn call(&self, method: &str, params: Value) -> io::Result<Value> {
        self.cdp.call(Some(&self.session), method, params).await
    }

    /// Goes to a URL and waits until it is loaded.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub async fn goto(&self, url: &str) -> io::Result<()> {
        let result = self.call("Page.navigate", json!({"url": url})).await?;
        if let Some(error) = result["errorText"].as_str() {
            return Err(io::Error::other(format!("{url}: {error}")));
        }
        self.eval::<bool>(
            "new Promise(done => document.readyState === 'complete' ? done(true) : addEventListener('load', () => done(true)))",
        )
        .await?;
        Ok(())
    }

    /// Runs a script in every document from now on, before the document's own.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn inject(&self, script: &str) -> io::Result<()> {
        self.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": script})).await?;
        Ok(())
    }

    /// Evaluates an expression, awaits it if it is a promise, and reads its JSON value.
    ///
    /// # Errors
    /// What the expression threw, with its stack.
    pub async fn eval<T: DeserializeOwned>(&self, expression: &str) -> io::Result<T> {
        let params = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let mut result = self.call("Runtime.evaluate", params).await?;
        if let Some(thrown) = result.get("exceptionDetails") {
            let text = thrown["exception"]["description"].as_str().or(thrown["text"].as_str()).unwrap_or("?");
            return Err(io::Error::other(format!("{text}\nin: {expression}")));
        }
        Ok(serde_json::from_value(result["result"]["value"].take())?)
    }

    /// Waits until an expression is truthy and returns its value. It is polled inside the page, frame by frame;
    /// while it throws it is not yet true.
    ///
    /// # Errors
    /// After `deadline`, with the expression's last value, the page's errors and the text that it shows.
    pub async fn wait_until<T: DeserializeOwned>(&self, expression: &str, deadline: Duration) -> io::Result<T> {
        let script = format!(
            "new Promise((done, fail) => {{
                const end = performance.now() + {};
                const look = async () => {{
                    let last;
                    try {{ last = await ({expression}); }} catch (error) {{ last = null; look.error = error; }}
                    if (last) return done(last);
                    if (performance.now() > end) return fail(new Error('not within the deadline; last: '
                        + (look.error ?? JSON.stringify(last)) + '; shown: ' + document.body?.innerText.slice(0, 2000)));
                    setTimeout(look, 30);
                }};
                look();
            }})",
            deadline.as_millis()
        );
        match self.eval(&script).await {
            Ok(value) => Ok(value),
            Err(error) => Err(io::Error::other(format!("{error}\nerrors of the page: {:#?}", self.errors()))),
        }
    }

    /// Sets the viewport.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn resize(&self, size: Size) -> io::Result<()> {
        let metrics = json!({
            "width": size.width, "height": size.height, "deviceScaleFactor": 1, "mobile": size.mobile,
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics).await?;
        self.call("Emulation.setTouchEmulationEnabled", json!({"enabled": size.mobile})).await?;
        Ok(())
    }

    /// Emulates a CSS media feature, as `("prefers-reduced-motion", "reduce")`.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn prefer(&self, feature: &str, value: &str) -> io::Result<()> {
        let features = json!({"features": [{"name": feature, "value": value}]});
        self.call("Emulation.setEmulatedMedia", features).await?;
        Ok(())
    }

    /// Writes what is seen to a PNG file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub async fn screenshot(&self, path: &Path) -> io::Result<()> {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png"})).await?;
        let png = base64::engine::general_purpose::STANDARD
            .decode(shot["data"].as_str().unwrap_or_default())
            .map_err(io::Error::other)?;
        std::fs::write(path, png)
    }

    /// Presses and releases a key by its DOM name (`Tab`, `Enter`, `m`), as a person does.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn press(&self, key: &str) -> io::Result<()> {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            "Escape" => (27, ""),
            " " => (32, " "),
            letter => (u32::from(letter.to_ascii_uppercase().bytes().next().unwrap_or(0)), letter),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event = json!({
                "type": kind, "key": key, "windowsVirtualKeyCode": code, "text": text,
                "code": match key { " " => "Space".to_owned(), k if k.len() == 1 => format!("Key{}", k.to_uppercase()), k => k.to_owned() },
            });
            self.call("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    /// Types text into what has the focus.
    ///
    /// # Errors
    /// When the browser is gone.
    pub async fn type_text(&self, text: &str) -> io::Result<()> {
        self.call("Input.insertText", json!({"text": text})).await?;
        Ok(())
    }

    /// Clicks the middle of an element with the mouse, so that an element under another one is found out.
    ///
    /// # Errors
    /// When no such element is shown.
    pub async fn click(&self, selector: &str) -> io::Result<()> {
        let quoted = Value::from(selector);
        let [x, y]: [f64; 2] = self
            .eval(&format!(
                "(() => {{ const e = document.querySelector({quoted}); if (!e) throw new Error('no ' + {quoted});
                    e.scrollIntoView({{block: 'nearest'}}); const r = e.getBoundingClientRect();
                    if (!r.width) throw new Error({quoted} + ' is not shown');
                    return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
            ))
            .await?;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", event).await?;
        }
        Ok(())
    }

    /// Uncaught exceptions, `console.error` and failed loads so far.
    pub fn errors(&self) -> Vec<String> {
        self.cdp.events(&self.session, |events| events.iter().filter_map(error_of).collect())
    }

    /// Forgets the errors so far and returns them: for tests that provoke some.
    pub fn take_errors(&self) -> Vec<String> {
        let errors = self.errors();
        self.cdp.events(&self.session, |events| events.retain(|event| error_of(event).is_none()));
        errors
    }

    /// The URL of every request so far, WebSockets included.
    pub fn requests(&self) -> Vec<String> {
        let url = |event: &Value| match event["method"].as_str()? {
            "Network.requestWillBeSent" => event["params"]["request"]["url"].as_str().map(str::to_owned),
            "Network.webSocketCreated" => event["params"]["url"].as_str().map(str::to_owned),
            _ => None,
        };
        self.cdp.events(&self.session, |events| events.iter().filter_map(url).collect())
    }

    /// Closes the page with its context.
    ///
    /// # Errors
    /// When anything went wrong in the page since it was opened.
    pub async fn close(self) -> io::Result<()> {
        let errors = self.errors();
        self.cdp.call(None, "Target.disposeBrowserContext", json!({"browserContextId": self.context})).await?;
        if errors.is_empty() { Ok(()) } else { Err(io::Error::other(format!("errors in the page: {errors:#?}"))) }
    }
}

fn error_of(event: &Value) -> Option<String> {
    let params = &event["params"];
    match event["method"].as_str()? {
        "Runtime.exceptionThrown" => {
            let details = &params["exceptionDetails"];
            let text = details["exception"]["description"].as_str().or(details["text"].as_str());
            Some(format!("exception: {}", text.unwrap_or("?")))
        }
        "Runtime.consoleAPICalled" if params["type"] == "error" => {
            let words = params["args"].as_array().into_iter().flatten();
            let words = words.map(|word| word["description"].as_str().or(word["value"].as_str()).unwrap_or("?"));
            Some(format!("console: {}", words.collect::<Vec<_>>().join(" ")))
        }
        "Log.entryAdded" if params["entry"]["level"] == "error" => {
            let entry = &params["entry"];
            Some(format!("log: {} {}", entry["text"].as_str()?, entry["url"].as_str().unwrap_or_default()))
        }
        "Inspector.targetCrashed" => Some("the page crashed".into()),
        _ => None,
    }
}
