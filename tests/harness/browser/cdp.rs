//! The DevTools protocol over a pair of pipes: JSON messages that end with a zero byte.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::oneshot;

/// No command takes longer, an awaited promise included.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection to a browser, shared by its pages.
#[derive(Clone)]
pub(super) struct Cdp(Arc<Shared>);

struct Shared {
    next: AtomicU64,
    to: tokio::sync::Mutex<ChildStdin>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pending: HashMap<u64, oneshot::Sender<Value>>,
    /// What happened in each session (page), for the page to read.
    events: HashMap<String, Vec<Value>>,
    closed: bool,
}

impl Cdp {
    pub(super) fn new(to: ChildStdin, from: ChildStdout) -> Self {
        let shared =
            Shared { next: AtomicU64::new(1), to: tokio::sync::Mutex::new(to), state: Mutex::new(State::default()) };
        let cdp = Self(Arc::new(shared));
        tokio::spawn(cdp.clone().read(from));
        cdp
    }

    /// Sends a command and waits for its result.
    pub(super) async fn call(&self, session: Option<&str>, method: &str, params: Value) -> io::Result<Value> {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed);
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let (reply, result) = oneshot::channel();
        {
            let mut state = self.state();
            if state.closed {
                return Err(io::Error::other("the browser is gone"));
            }
            state.pending.insert(id, reply);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.0.to.lock().await.write_all(&bytes).await?;
        let mut answer = tokio::time::timeout(PATIENCE, result)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("{method} got no answer")))?
            .map_err(|_| io::Error::other(format!("the browser went away during {method}")))?;
        match answer.get("error") {
            Some(error) => Err(io::Error::other(format!("{method}: {error}"))),
            None => Ok(answer["result"].take()),
        }
    }

    /// Everything that happened in a session since it was attached.
    pub(super) fn events<T>(&self, session: &str, read: impl FnOnce(&mut Vec<Value>) -> T) -> T {
        read(self.state().events.entry(session.to_owned()).or_default())
    }

    async fn read(self, from: ChildStdout) {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        while matches!(from.read_until(0, &mut bytes).await, Ok(1..)) {
            if let Ok(message) = serde_json::from_slice::<Value>(bytes.strip_suffix(&[0]).unwrap_or(&bytes)) {
                self.dispatch(message);
            }
            bytes.clear();
        }
        let mut state = self.state();
        state.closed = true;
        state.pending.clear();
    }

    fn dispatch(&self, message: Value) {
        let mut state = self.state();
        if let Some(id) = message["id"].as_u64() {
            if let Some(reply) = state.pending.remove(&id) {
                // The caller may have given up.
                let _ = reply.send(message);
            }
        } else if let Some(session) = message["sessionId"].as_str() {
            state.events.entry(session.to_owned()).or_default().push(message);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
