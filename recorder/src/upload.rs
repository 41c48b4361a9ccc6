//! Uploads: one task a file, from its first full part until storage has proved that it holds every byte.
//!
//! Storage may be away for days, its keys may expire: every step is tried again for ever, ever more slowly. What was sent
//! is given up only when storage lists none of it any more, says that the upload is gone, or refuses again and again to make
//! the object of it. The spool is deleted by somebody else, after all files of a recording are stored.

pub mod backoff;
pub mod lanes;
pub mod plan;
mod running;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use service::storage::{About, Error, Store};
use session::journal::FileFacts;
use signalling::recording::RecordedFile;
use tokio::sync::watch;

pub use backoff::Backoff;
pub use lanes::{LANES, Lanes};
pub use plan::{Plan, Step, digest, sha256_parts};

use crate::metrics::Metrics;
use crate::spool::Ledger;
use running::Running;

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
    /// What storage is told of the file.
    pub about: About,
    /// The file in the spool.
    pub path: PathBuf,
    /// The file's name.
    pub name: String,
    /// How far the file is.
    pub progress: watch::Receiver<Progress>,
    /// Counters.
    pub metrics: Metrics,
    /// Shared by all uploads.
    pub lanes: Arc<Lanes>,
    /// Between tries.
    pub backoff: Backoff,
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
    #[error("storage lost parts that it had: {0:?}")]
    Lost(Vec<u32>),
}

/// Why an upload ended before storage has the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The writer went away without finishing the file.
    #[error("nobody finishes it")]
    Unfinished,
    /// It is not in the spool, and not in storage either.
    #[error("it is gone from the recorder's spool")]
    Gone,
}

impl Upload {
    /// Uploads until storage holds the whole file. `before` is what the journal says of an earlier try.
    ///
    /// # Errors
    /// [`Ended`]; storage is no reason to end.
    pub async fn run(self, before: Option<FileFacts>) -> Result<RecordedFile, Ended> {
        let mut running = Running::new(self);
        let mut failures = 0;
        let mut resumed = before.is_none();
        loop {
            let progress = running.upload.progress.borrow_and_update().clone();
            running.plan.len = progress.len;
            running.plan.whole = progress.whole.is_some();
            let had = running.plan.sent.len();
            let done = match &before {
                Some(before) if !resumed => running.resume(before).await.inspect(|_| resumed = true),
                _ => running.step().await,
            };
            let done = match (done, progress.whole) {
                (Ok(true), Some(file)) => return Ok(running.stored(*file).await),
                (done, _) => done.map(drop),
            };
            match done {
                Ok(()) => {
                    failures = 0;
                    if resumed && running.plan.next() == Step::Wait {
                        running.upload.progress.changed().await.map_err(|_| Ended::Unfinished)?;
                    }
                }
                Err(StepError::Spool(error)) if running.is_gone(&error) => return Err(Ended::Gone),
                Err(error) => {
                    // Whoever takes some parts of several is there.
                    if running.plan.sent.len() > had {
                        failures = 0;
                    }
                    running.pause(&error, failures).await;
                    failures += 1;
                }
            }
        }
    }
}
