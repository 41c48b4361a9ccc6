//! One recording, from its job to the moment when storage has all of it. One task owns it.
//!
//! ```text
//! live (recording::live)  ─►  deliver (recording::deliver): repair what is torn, upload, write the segment, forget
//!            recovery after a crash begins here ─┘
//! ```

mod deliver;
mod live;
mod participants;
#[cfg(test)]
pub(crate) mod tests;
mod timeline;
mod tries;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use service::storage::{About, ContentType, Error, Store};
use session::journal::{Fact, Facts, Job};
use signalling::code::Code;
use signalling::id::{RecorderId, RecordingId};
use signalling::message::RecordingState;
use signalling::recording::{self, RecordedFile, RecorderSegment};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use crate::dial::Target;
use crate::metrics::Metrics;
use crate::participant::Tally;
use crate::pulse::Pulse;
use crate::spool::{Ledger, Spool};
use crate::upload::{Backoff, Ended, Lanes, Progress, Upload};

/// Why storage must not be written to, once that is known; `None`: it may.
type Proof = JoinHandle<Option<String>>;

/// So long a recording waits for storage to show that it encrypts; after that it is found out while media is written.
const PROOF: Duration = Duration::from_secs(1);

/// What every recording needs.
#[derive(Clone)]
pub(crate) struct Context {
    /// Who we are.
    pub(crate) recorder: RecorderId,
    /// Where files grow.
    pub(crate) spool: Spool,
    /// Where they end up.
    pub(crate) store: Store,
    /// The server.
    pub(crate) target: Target,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// Parts in memory, of all uploads.
    pub(crate) lanes: Arc<Lanes>,
    /// Whether this process stood still.
    pub(crate) pulse: Pulse,
}

/// What the link orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Stop, finalise, upload.
    Stop,
    /// Write nothing.
    Pause,
    /// Write again.
    Resume,
}

/// How a recording stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Status {
    /// Which.
    pub(crate) recording: RecordingId,
    /// How far.
    pub(crate) state: RecordingState,
    /// What there is of it.
    pub(crate) segment: Option<RecorderSegment>,
    /// Its figures, while it is not ready.
    pub(crate) progress: Option<recording::Progress>,
    /// With `failed`: why.
    pub(crate) failure: Option<(Code, String)>,
}

impl Status {
    /// Nothing comes of it here.
    pub(crate) fn failed(recording: RecordingId, code: Code, why: String) -> Self {
        let state = RecordingState::Failed;
        Self { recording, state, segment: None, progress: None, failure: Some((code, why)) }
    }
}

/// Where a recording tells how it stands: its folder in the spool, and the status.
pub(crate) type Statuses = mpsc::UnboundedSender<(String, Status)>;

/// The upload of a file.
struct Uploading {
    task: AbortHandle,
    /// How far the file is.
    progress: watch::Receiver<Progress>,
}

/// A recording's task.
pub(crate) struct Recording {
    context: Context,
    folder: String,
    facts: Facts,
    ledger: Ledger,
    heard: mpsc::UnboundedReceiver<Fact>,
    uploads: JoinSet<Result<RecordedFile, Ended>>,
    /// The upload of each file, while and after it runs.
    uploading: BTreeMap<String, Uploading>,
    tally: Arc<Tally>,
    /// Participants in the room.
    people: u32,
    statuses: Statuses,
    state: RecordingState,
    /// Whether storage has shown that it does what it must, or could not be asked in time: what is recorded is kept.
    proven: bool,
}

/// More files of a kind than anybody has made of one participant by that age of the recording: nobody makes one in a
/// millisecond. All recorders know the age from the same clock, so no two runs give a file the same name.
pub(crate) fn number(age: Duration) -> u32 {
    // Begins anew after 46 days.
    u32::try_from(age.as_millis() % 4_000_000_000).unwrap_or(0).max(1)
}

/// What a new recording is made of.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    /// What is asked for.
    pub(crate) job: Job,
    /// How it begins.
    pub(crate) start: Start,
}

/// How a recording begins here.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// For the room.
    pub(crate) token: String,
    /// Zero of its clock.
    pub(crate) zero: Instant,
    /// Whether it begins paused.
    pub(crate) paused: bool,
    /// When it is over by itself, by the server's clock.
    pub(crate) ends_in: Option<Duration>,
}

impl Recording {
    /// Begins a recording in a new folder.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn create(context: Context, folder: String, job: &Job, statuses: Statuses) -> std::io::Result<Self> {
        let journal = context.spool.create(&folder, job)?;
        let facts = Facts::of(job.clone());
        Ok(Self::with(context, folder, facts, journal, statuses))
    }

    /// Takes up what a crash left in a folder.
    ///
    /// # Errors
    /// What the disk says, or that the journal says nothing.
    pub(crate) fn reopen(context: Context, folder: String, statuses: Statuses) -> std::io::Result<Self> {
        let (facts, journal) = context.spool.reopen(&folder)?;
        Ok(Self::with(context, folder, facts, journal, statuses))
    }

    fn with(
        context: Context,
        folder: String,
        facts: Facts,
        journal: crate::spool::Journal,
        statuses: Statuses,
    ) -> Self {
        let (sender, heard) = mpsc::unbounded_channel();
        let ledger = Ledger::new(journal, sender);
        let state = RecordingState::Starting;
        Self {
            context,
            folder,
            facts,
            ledger,
            heard,
            uploads: JoinSet::new(),
            uploading: BTreeMap::new(),
            tally: Arc::default(),
            people: 0,
            statuses,
            state,
            proven: false,
        }
    }

    /// Which recording it is.
    pub(crate) fn id(&self) -> &RecordingId {
        &self.facts.job.recording
    }

    /// Records until it is stopped, then delivers.
    pub(crate) async fn record(mut self, start: Start, orders: mpsc::UnboundedReceiver<Order>) {
        self.set_state(RecordingState::Starting);
        let store = self.context.store.clone();
        // Storage that is away is waited for; storage that would keep everything in the clear is not.
        let mut proof: Proof = tokio::spawn(async move {
            let refused = |error: Error| matches!(error, Error::Refused { .. }).then(|| error.to_string());
            store.prove().await.err().and_then(refused)
        });
        let proof = match tokio::time::timeout(PROOF, &mut proof).await {
            // It will refuse the next time, too: the light must not stay on for that.
            Ok(Ok(Some(why))) => return self.refuse(Code::RecordingFailed, why).await,
            Ok(_) => {
                self.proven = true;
                None
            }
            Err(_) => Some(proof),
        };
        match live::run(&mut self, start, orders, proof).await {
            Err((code, why)) if self.facts.files.is_empty() => self.refuse(code, why).await,
            Err((code, why)) => {
                // Its uploads are refused, too, and tried again: it stays in the spool until storage does what it must.
                tracing::error!(recording = %self.id(), %code, why, "what was recorded cannot be stored yet");
                self.deliver().await;
            }
            Ok(()) => self.deliver().await,
        }
    }

    /// Nothing was recorded: there is nothing to keep either.
    async fn refuse(&self, code: Code, why: String) {
        tracing::warn!(recording = %self.id(), %code, why, "cannot record");
        let (spool, folder) = (self.context.spool.clone(), self.folder.clone());
        let removed = tokio::task::spawn_blocking(move || spool.remove(&folder)).await;
        if let Err(error) = removed.map_err(std::io::Error::other).flatten() {
            tracing::warn!(recording = %self.id(), %error, "spool");
        }
        self.send(RecordingState::Failed, None, Some((code, why)));
    }

    fn set_state(&mut self, state: RecordingState) {
        if self.state != state {
            tracing::info!(recording = %self.id(), ?state, "recording");
        }
        self.state = state;
        self.tell();
    }

    /// Tells everything that is known, but for the timeline.
    fn tell(&mut self) {
        // What never got further than this wrote nothing, and nothing is to be looked for.
        let told = self.proven && self.state != RecordingState::Starting;
        let segment = told.then(|| self.outline());
        self.send(self.state, segment, None);
    }

    /// The segment without its timeline: that of a long call is larger than the link takes, and storage has it.
    fn outline(&mut self) -> RecorderSegment {
        // Set aside rather than copied: this is said every few seconds.
        let timeline = std::mem::take(&mut self.facts.timeline);
        let segment = self.facts.segment();
        self.facts.timeline = timeline;
        segment
    }

    /// Tells the figures only.
    fn tell_progress(&self) {
        self.send(self.state, None, None);
    }

    fn send(&self, state: RecordingState, segment: Option<RecorderSegment>, failure: Option<(Code, String)>) {
        let progress = Some(self.progress());
        let status = Status { recording: self.id().clone(), state, segment, progress, failure };
        // The recorder stops when nobody listens; the journal has everything.
        let _ = self.statuses.send((self.folder.clone(), status));
    }

    /// How it stands.
    fn progress(&self) -> recording::Progress {
        let len = |name: &String, facts: &session::journal::FileFacts| {
            let grown = self.uploading.get(name).map_or(0, |uploading| uploading.progress.borrow().len);
            grown.max(facts.file.size)
        };
        let stored = |facts: &session::journal::FileFacts| match facts.stored {
            true => facts.file.size,
            false => facts.parts.values().map(|part| part.size).sum(),
        };
        recording::Progress {
            bytes: self.facts.files.iter().map(|(name, facts)| len(name, facts)).sum(),
            stored: self.facts.files.values().map(stored).sum(),
            participants: self.people,
            packets: self.tally.packets.load(Ordering::Relaxed),
            lost: self.tally.lost.load(Ordering::Relaxed),
            key_frames_asked: self.tally.key_frames_asked.load(Ordering::Relaxed),
        }
    }

    /// Uploads a file as it grows, or what is left of it after a crash.
    fn start_upload(&mut self, name: &str, progress: watch::Receiver<Progress>) {
        let before = self.facts.files.get(name).filter(|facts| facts.whole).cloned();
        let upload = Upload {
            store: self.context.store.clone(),
            ledger: self.ledger.clone(),
            key: self.key(name),
            about: About { kind: ContentType::of(name), tags: self.facts.job.options.tags.clone() },
            path: self.ledger.journal().folder().join(name),
            name: name.to_owned(),
            progress: progress.clone(),
            metrics: self.context.metrics.clone(),
            lanes: self.context.lanes.clone(),
            backoff: Backoff::default(),
        };
        let task = self.uploads.spawn(upload.run(before));
        self.uploading.insert(name.to_owned(), Uploading { task, progress });
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.facts.job.folder)
    }

    /// Takes in every fact that was written down since.
    fn hear(&mut self) {
        while let Ok(fact) = self.heard.try_recv() {
            self.facts.apply(fact);
        }
    }

    /// Writes a fact down; a disk that does not take it will not take media either, which is handled there.
    async fn append(&mut self, fact: Fact) {
        let (ledger, spool, noted) = (self.ledger.clone(), self.context.spool.clone(), fact.clone());
        let append = move || {
            ledger.append(noted.clone()).or_else(|error| {
                spool.make_room(&error)?;
                ledger.append(noted)
            })
        };
        let written = tokio::task::spawn_blocking(append).await.map_err(std::io::Error::other).flatten();
        if let Err(error) = written {
            tracing::error!(recording = %self.id(), %error, "the journal cannot be written");
            // What is known counts all the same; after a crash it is found again by reading the files.
            self.facts.apply(fact);
        }
        self.hear();
    }
}
