//! Uploads: one task a file, from its first full part until storage has proved that it holds every byte.
//!
//! Storage may be away for days: every step is tried again for ever, ever more slowly. The spool is deleted by somebody
//! else, after all files of a recording are stored.

pub mod plan;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use service::storage::{ContentType, Error, Store, multipart_etag};
use session::journal::{Fact, FileFacts};
use signalling::recording::RecordedFile;
use tokio::sync::watch;

pub use plan::{Plan, Step, digest, sha256_parts};

use crate::metrics::Metrics;

use crate::spool::Ledger;

/// The first pause after a failure; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How far a file is, told by whoever writes it.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// Bytes that will not change any more, but for the head.
    pub len: u64,
    /// The file is whole.
    pub whole: Option<Box<RecordedFile>>,
}

/// What an upload needs.
pub struct Upload {
    /// Where to.
    pub store: Store,
    /// What is to be remembered.
    pub ledger: Ledger,
    /// The key below the prefix.
    pub key: String,
    /// The file in the spool.
    pub path: PathBuf,
    /// The file's name.
    pub name: String,
    /// How far the file is.
    pub progress: watch::Receiver<Progress>,
    /// Counters.
    pub metrics: Metrics,
}

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("the spool: {0}")]
    Spool(#[from] io::Error),
    #[error("storage holds {got:?} where {sent:?} was sent")]
    Differs { got: Option<(u64, Option<String>)>, sent: (u64, Option<String>) },
}

/// An upload in progress.
struct Running {
    upload: Upload,
    plan: Plan,
    id: Option<String>,
}

impl Upload {
    /// Uploads until storage holds the whole file. `None`: the writer went away without finishing it.
    pub async fn run(self, before: Option<FileFacts>) -> Option<RecordedFile> {
        let mut running = Running { upload: self, plan: Plan::default(), id: None };
        let mut pause = MIN_PAUSE;
        let mut resumed = before.is_none();
        loop {
            let progress = running.upload.progress.borrow_and_update().clone();
            running.plan.len = progress.len;
            running.plan.whole = progress.whole.is_some();
            let done = match &before {
                Some(before) if !resumed => running.resume(before).await.inspect(|_| resumed = true),
                _ => running.step().await,
            };
            match (done, progress.whole) {
                (Ok(true), Some(file)) => match running.stored(*file) {
                    Ok(file) => return Some(file),
                    Err(error) => running.wait(&error.into(), &mut pause).await,
                },
                (Ok(_), _) if resumed && running.plan.next() == Step::Wait => {
                    pause = MIN_PAUSE;
                    running.upload.progress.changed().await.ok()?;
                }
                (Ok(_), _) => pause = MIN_PAUSE,
                (Err(error), _) => {
                    running.wait(&error, &mut pause).await;
                    running.after_failure(&error).await;
                }
            }
        }
    }
}

impl Running {
    /// Does the next step; `true`: storage holds the file.
    async fn step(&mut self) -> Result<bool, StepError> {
        let Upload { store, key, ledger, name, .. } = &self.upload;
        match self.plan.next() {
            Step::Wait => {}
            Step::Begin => {
                let id = store.create_upload(key, ContentType::WEBM).await?;
                ledger.append(Fact::Upload { file: name.clone(), id: id.clone() })?;
                self.id = Some(id);
                self.plan.begun = true;
            }
            Step::Send { number, range } => {
                let Some(id) = self.id.clone() else { return Ok(false) };
                let bytes = self.read(range).await?;
                let digest = digest(&bytes);
                self.upload.store.upload_part(&self.upload.key, &id, number, bytes).await?;
                self.upload.metrics.uploaded(digest.size);
                let fact = Fact::Part { file: self.upload.name.clone(), number, digest: digest.clone() };
                self.upload.ledger.append(fact)?;
                self.plan.sent.insert(number, digest);
            }
            Step::Put => {
                let bytes = self.read(0..self.plan.len).await?;
                let digest = digest(&bytes);
                self.upload.store.put(&self.upload.key, bytes, ContentType::WEBM).await?;
                self.upload.metrics.uploaded(digest.size);
                self.plan.sent.insert(1, digest);
                return self.verify(false).await.map(|()| true);
            }
            Step::Complete => {
                let Some(id) = self.id.clone() else { return Ok(false) };
                let etags: Vec<String> = self.plan.sent.values().map(|digest| digest.md5.clone()).collect();
                let completed = self.upload.store.complete_upload(&self.upload.key, &id, &etags).await;
                // An answer that was lost does not undo what was done.
                return match (self.verify(true).await, completed) {
                    (Ok(()), _) => Ok(true),
                    (Err(_), Err(error)) => Err(error.into()),
                    (Err(error), Ok(())) => Err(error),
                };
            }
        }
        Ok(false)
    }

    /// Finds out how far a crashed process came: `true`: all the way.
    async fn resume(&mut self, before: &FileFacts) -> Result<bool, StepError> {
        let Upload { store, key, .. } = &self.upload;
        let mut known = before.parts.clone();
        let listed = match &before.upload {
            None => Vec::new(),
            Some(id) => match store.list_parts(key, id).await {
                Ok(parts) => parts,
                Err(Error::NotFound(_)) => Vec::new(),
                Err(error) => return Err(error.into()),
            },
        };
        known.retain(|number, digest| {
            let same = |etag: &String| *etag == digest.md5;
            listed.iter().any(|part| part.number == *number && part.etag.as_ref().is_none_or(same))
        });
        // A repaired file may differ from what was sent: the file is the truth.
        let parts = self.plan.len.div_ceil(PART_SIZE) as u32;
        let mut now = Vec::new();
        for number in 1..=parts {
            let start = u64::from(number - 1) * PART_SIZE;
            let bytes = self.read(start..self.plan.len.min(start + PART_SIZE)).await?;
            now.push(digest(&bytes));
        }
        self.plan.sent =
            (1..).zip(&now).filter(|(n, digest)| known.get(n) == Some(digest)).map(|(n, d)| (n, d.clone())).collect();
        self.id = before.upload.clone().filter(|_| !self.plan.sent.is_empty());
        self.plan.begun = self.id.is_some();
        if let (Some(stale), None) = (&before.upload, &self.id) {
            // Nothing of it is of use; if it cannot be given up now, the bucket's own rules end it.
            let _ = self.upload.store.abort_upload(&self.upload.key, stale).await;
        }
        // The crash may have come between the end of the upload and the note of it.
        let sent = std::mem::replace(&mut self.plan.sent, (1..).zip(now).collect());
        let multipart = self.plan.len > PART_SIZE;
        match self.verify(multipart).await {
            Ok(()) => Ok(true),
            Err(StepError::Differs { .. }) => {
                self.plan.sent = sent;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks storage what it holds.
    async fn verify(&self, multipart: bool) -> Result<(), StepError> {
        let md5s: Vec<String> = self.plan.sent.values().map(|digest| digest.md5.clone()).collect();
        let etag = if multipart { multipart_etag(&md5s) } else { md5s.into_iter().next() };
        let object = self.upload.store.digest(&self.upload.key, multipart).await?;
        let same = object
            .as_ref()
            .is_some_and(|object| object.size == self.plan.len && (object.etag.is_none() || object.etag == etag));
        if same {
            return Ok(());
        }
        Err(StepError::Differs { got: object.map(|object| (object.size, object.etag)), sent: (self.plan.len, etag) })
    }

    fn stored(&self, mut file: RecordedFile) -> io::Result<RecordedFile> {
        file.sha256_parts = sha256_parts(self.plan.sent.values()).unwrap_or_default();
        self.upload.ledger.append(Fact::Stored { file: file.clone() })?;
        Ok(file)
    }

    async fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let path = self.upload.path.clone();
        tokio::task::spawn_blocking(move || read_range(&path, range)).await.map_err(io::Error::other)?
    }

    async fn wait(&self, error: &StepError, pause: &mut Duration) {
        self.upload.metrics.upload_failed();
        tracing::warn!(key = %self.upload.key, %error, retry_ms = pause.as_millis() as u64, "storage");
        tokio::time::sleep(*pause).await;
        *pause = (*pause * 2).min(MAX_PAUSE);
    }

    /// An upload that is refused or gone begins anew.
    async fn after_failure(&mut self, error: &StepError) {
        let lost =
            matches!(error, StepError::Store(Error::NotFound(_) | Error::Refused { .. }) | StepError::Differs { .. });
        if let Some(id) = self.id.take_if(|_| lost) {
            let _ = self.upload.store.abort_upload(&self.upload.key, &id).await;
            self.plan.begun = false;
            self.plan.sent.clear();
        }
    }
}

const PART_SIZE: u64 = service::storage::PART_SIZE as u64;

fn read_range(path: &Path, range: Range<u64>) -> io::Result<Bytes> {
    let file = File::open(path)?;
    let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.into())
}
