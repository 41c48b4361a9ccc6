//! Webhooks: the operator's own service is told of every recording, signed as Standard Webhooks says.
//!
//! ```text
//! recording -> say (never waits) -> journal (on disk) -> queue -> POST -> done, or again later
//! ```
//! Each message goes to every URL, those of one recording in order. One that was written down is delivered at least once,
//! over restarts, or given up after a day; its id stays the same, so that a receiver can tell what it has.

mod event;
mod journal;
mod queue;
mod signature;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use signalling::RecordingId;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::app::App;
use crate::recording::RecordingView;
use crate::{clock, plain_http};
pub(crate) use event::Event;
use journal::Journal;
pub(crate) use queue::Message;
use queue::{Attempt, Outcome, Queue};
pub(crate) use signature::SigningKey;

/// Messages that wait for their receivers, at most; beyond it new ones are lost. As many may be on their way to the journal.
const WAITING: usize = 10_000;

/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the clock is looked at when nothing is due: a due time is exact anyhow.
const IDLE: Duration = Duration::from_secs(3600);

enum Said {
    Message(Message),
    /// Answered when everything said before is on disk.
    Flush(oneshot::Sender<()>),
}

/// The way in, for everybody who has something to say.
pub(crate) struct Webhooks {
    sender: mpsc::Sender<Said>,
    receiver: Mutex<Option<mpsc::Receiver<Said>>>,
    /// The time and the number in it of the last id.
    last: Mutex<(u64, u32)>,
}

impl Default for Webhooks {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self { sender, receiver: Mutex::new(Some(receiver)), last: Mutex::default() }
    }
}

impl Webhooks {
    /// Says what happened to a recording, to whoever is configured. Never waits.
    pub(crate) fn say(&self, app: &App, event: Event, recording: &RecordingView) {
        if app.config().webhooks.urls.is_empty() {
            return;
        }
        let now_ms = clock::unix_ms();
        let id = self.new_id(now_ms, &recording.id);
        let message = match event.message(id, recording, now_ms) {
            Ok(message) => message,
            Err(error) => return tracing::error!(%error, "a webhook cannot be written as JSON"),
        };
        if self.sender.try_send(Said::Message(message)).is_err() {
            app.metrics.webhooks_failed.inc();
            tracing::warn!(recording = %recording.id, event = event.as_str(), "a webhook is lost: too many wait");
        }
    }

    /// The id of a new message: the time, a number and a random tail. Ids rise also when the clock is set back, so that the
    /// journal's files are in the order in which they were said.
    fn new_id(&self, now_ms: u64, recording: &RecordingId) -> String {
        use rand::RngExt as _;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = if now_ms > last.0 { (now_ms, 0) } else { (last.0, last.1 + 1) };
        let tail: u32 = rand::rng().random();
        format!("msg_{:012x}{:08x}{tail:08x}_{recording}", last.0, last.1)
    }

    /// Goes on after the ids of a former run.
    fn rise_above(&self, id: &str) {
        let time = id.strip_prefix("msg_").and_then(|rest| rest.get(..12));
        let time = time.and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (*last).max((time + 1, 0));
    }

    /// Waits until everything that was said is on disk.
    pub(crate) async fn flush(&self) {
        let (done, waits) = oneshot::channel();
        if self.sender.send(Said::Flush(done)).await.is_ok() {
            // Nobody answers where nothing is delivered.
            let _ = waits.await;
        }
    }
}

/// Delivers until the process ends.
pub(crate) async fn run(app: Arc<App>) {
    let receiver = app.webhooks.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Nobody else takes it.
    let Some(mut receiver) = receiver else { return };
    let mut deliverer = Deliverer {
        journal: Journal::new(app.config().api.state_dir.join("webhooks")),
        app,
        queue: Queue::default(),
        attempts: JoinSet::new(),
    };
    deliverer.recover().await;
    loop {
        deliverer.begin();
        let idle = Instant::now() + IDLE;
        let due = tokio::time::Instant::from_std(deliverer.queue.poll_timeout().unwrap_or(idle).min(idle));
        tokio::select! {
            said = receiver.recv() => match said {
                Some(Said::Message(message)) => deliverer.take(message).await,
                // Whoever asked may have given up.
                Some(Said::Flush(done)) => drop(done.send(())),
                None => return,
            },
            Some(ended) = deliverer.attempts.join_next() => if let Ok((attempt, result)) = ended {
                deliverer.ended(attempt, result).await;
            },
            () = tokio::time::sleep_until(due) => {}
        }
    }
}

struct Deliverer {
    app: Arc<App>,
    journal: Journal,
    queue: Queue,
    attempts: JoinSet<(Attempt, Result<(), String>)>,
}

impl Deliverer {
    /// Takes up what a former run left.
    async fn recover(&mut self) {
        match self.journal.read().await {
            Ok(found) => {
                for (message, tries) in found {
                    self.app.webhooks.rise_above(&message.id);
                    self.queue.push(message, tries, Instant::now());
                }
            }
            Err(error) => tracing::error!(%error, "waiting webhooks cannot be read"),
        }
        self.count();
    }

    async fn take(&mut self, message: Message) {
        let tries: Vec<_> = self.app.config().webhooks.urls.iter().map(|url| (url.clone(), 0)).collect();
        if self.queue.messages() >= WAITING {
            self.app.metrics.webhooks_failed.inc_by(tries.len() as u64);
            tracing::warn!(id = message.id, "a webhook is lost: {WAITING} wait already");
            return;
        }
        // Even if the disk is full it is delivered, as long as this process lives.
        if let Err(error) = self.journal.write(&message, &tries).await {
            tracing::warn!(%error, id = message.id, "a webhook cannot be written down");
        }
        self.queue.push(message, tries, Instant::now());
        self.count();
    }

    /// Begins what is due. How much that is at most is the queue's: so many at a URL.
    fn begin(&mut self) {
        while let Some(attempt) = self.queue.poll_attempt(Instant::now()) {
            let app = self.app.clone();
            self.attempts.spawn(async move {
                let result = deliver(&app, &attempt).await;
                (attempt, result)
            });
        }
    }

    async fn ended(&mut self, attempt: Attempt, result: Result<(), String>) {
        let delivered = result.is_ok();
        // What was meant for a URL that was taken out of the configuration is nobody's any more.
        let wanted = self.app.config().webhooks.urls.contains(&attempt.url);
        let outcome = self.queue.handle_ended(&attempt, delivered || !wanted, clock::unix_ms(), Instant::now());
        self.count();
        let (id, recording, why) = (&attempt.message.id, &attempt.message.recording, result.err().unwrap_or_default());
        let (metrics, url) = (&self.app.metrics, place(&attempt.url));
        match outcome {
            Outcome::Done if delivered => {
                metrics.webhooks_delivered.inc();
            }
            Outcome::Done => tracing::info!(id, %recording, url, "a webhook is dropped: its URL is not configured"),
            Outcome::Later(after) => {
                tracing::warn!(id, %recording, url, why, again_s = after.as_secs(), "a webhook was not taken");
            }
            Outcome::GivenUp => {
                metrics.webhooks_failed.inc();
                tracing::error!(id, %recording, url, why, "a webhook is given up");
            }
        }
        let left = self.queue.left(id);
        let kept = if left.is_empty() {
            self.journal.remove(id).await
        } else {
            self.journal.write(&attempt.message, &left).await
        };
        if let Err(error) = kept {
            tracing::warn!(%error, id, "the journal of webhooks cannot be kept");
        }
    }

    fn count(&self) {
        self.app.metrics.webhooks_waiting.set(i64::try_from(self.queue.len()).unwrap_or(i64::MAX));
    }
}

/// A URL for the log: without a user, password and query, which may hold secrets.
fn place(url: &str) -> String {
    let uri = url.parse::<http::Uri>().unwrap_or_default();
    format!("{}{}", uri.host().unwrap_or_default(), uri.path())
}

async fn deliver(app: &App, attempt: &Attempt) -> Result<(), String> {
    if !app.config().webhooks.urls.contains(&attempt.url) {
        return Err("its URL was taken out of the configuration".into());
    }
    let Message { id, body, .. } = &*attempt.message;
    let now = clock::unix_s();
    let signature = signature::sign(&app.secrets.load().webhooks, id, now, body);
    let headers =
        [("webhook-id", id.clone()), ("webhook-timestamp", now.to_string()), ("webhook-signature", signature)];
    // A redirect is not followed: it would take the message to somebody whom nobody configured.
    match plain_http::post_within(PATIENCE, &attempt.url, &headers, body.clone()).await {
        Ok(status @ 200..=299) => {
            tracing::debug!(id, status, "a webhook was delivered");
            Ok(())
        }
        Ok(status) => Err(format!("it answered with status {status}")),
        Err(error) => Err(error.why().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_rise_whatever_the_clock_does() {
        let (webhooks, recording) = (Webhooks::default(), RecordingId::parse("r1").expect("an id"));
        let mut ids: Vec<_> = [5, 5, 5, 6, 2, 6, 7].iter().map(|now_ms| webhooks.new_id(*now_ms, &recording)).collect();
        let after = Webhooks::default();
        after.rise_above(ids.last().expect("some"));
        ids.push(after.new_id(1, &recording));
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        // Nothing of the disk can harm it.
        ["", "msg_", "msg_zzzzzzzzzzzz", "x"].into_iter().for_each(|odd| after.rise_above(odd));
    }
}
