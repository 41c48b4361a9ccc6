//! Puts what a session says into the spool.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use session::Output;
use session::file::Note;
use session::journal::Fact;
use signalling::recording::RecordedFile;
use tokio::sync::{mpsc, watch};

use super::Told;
use crate::spool::{Ledger, MediaFile, sync_dir};
use crate::upload::Progress;

/// How often written bytes are synced.
const SYNC: Duration = Duration::from_secs(1);

struct Open {
    file: MediaFile,
    progress: watch::Sender<Progress>,
}

/// The open files of one participant.
pub(super) struct Writer {
    ledger: Ledger,
    told: mpsc::UnboundedSender<Told>,
    files: BTreeMap<Arc<str>, Open>,
    last_sync: Option<Instant>,
    /// A sync that runs; the next one waits for it.
    syncing: Option<tokio::task::JoinHandle<()>>,
    /// What waits for the disk.
    works: tokio::task::JoinSet<()>,
    failed: bool,
}

impl Writer {
    pub(super) fn new(ledger: Ledger, told: mpsc::UnboundedSender<Told>) -> Self {
        Self {
            ledger,
            told,
            files: BTreeMap::new(),
            last_sync: None,
            syncing: None,
            works: Default::default(),
            failed: false,
        }
    }

    /// Does what the session says. After the disk failed nothing more is written: what is there is whole up to then, and
    /// recovery finishes it.
    pub(super) fn handle(&mut self, output: Output) {
        if self.failed {
            return;
        }
        if let Err(error) = self.write(output) {
            self.failed = true;
            self.files.clear();
            let _ = self.told.send(Told::DiskFailed(error.to_string()));
        }
    }

    fn write(&mut self, output: Output) -> io::Result<()> {
        match output {
            Output::Open(file) => self.open(file),
            Output::Write(name, output) => {
                let Some(open) = self.files.get_mut(&name) else { return Ok(()) };
                let len = open.file.write(&output)?;
                open.progress.send_if_modified(|progress| std::mem::replace(&mut progress.len, len) != len);
                Ok(())
            }
            Output::Note(name, note) => self.ledger.note(match note {
                Note::Track(track) => Fact::Track { file: name.to_string(), track },
                Note::Figures(figures) => Fact::Figures { file: name.to_string(), figures },
                Note::Resolution(resolution) => Fact::Size { file: name.to_string(), resolution },
                Note::Gap(gap) => Fact::Gap { file: name.to_string(), gap },
            }),
            Output::Finish(name, whole) => self.finish(&name, whole),
            Output::KeyFrame(_) | Output::Refuse(..) => Ok(()),
        }
    }

    fn open(&mut self, facts: Box<RecordedFile>) -> io::Result<()> {
        let path = self.ledger.journal().folder().join(&facts.name);
        self.ledger.note(Fact::Open { file: (*facts).clone() })?;
        let (progress, receiver) = watch::channel(Progress::default());
        let name: Arc<str> = facts.name.as_str().into();
        self.files.insert(name, Open { file: MediaFile::create(&path)?, progress });
        let journal = self.ledger.journal().clone();
        // The bytes are synced every second; without its name a power cut would lose them all the same. A fact about a
        // file that is not there is only dropped, so the name comes first.
        self.beside(move || {
            sync_dir(journal.folder())?;
            journal.sync()
        });
        let _ = self.told.send(Told::File(facts, receiver));
        Ok(())
    }

    fn finish(&mut self, name: &Arc<str>, whole: Option<Box<RecordedFile>>) -> io::Result<()> {
        let Some(open) = self.files.remove(name) else { return Ok(()) };
        let Some(mut file) = whole else {
            // The upload's task sees the end of its channel and goes.
            return self.ledger.note(Fact::Empty { file: name.to_string() });
        };
        let ledger = self.ledger.clone();
        // A file is called whole only after the disk has all of it.
        self.beside(move || {
            let len = open.file.close()?;
            file.size = len;
            ledger.append(Fact::Whole { file: (*file).clone() })?;
            open.progress.send_replace(Progress { len, whole: Some(file) });
            Ok(())
        });
        Ok(())
    }

    /// Does what waits for the disk where that holds nobody up.
    fn beside(&mut self, work: impl FnOnce() -> io::Result<()> + Send + 'static) {
        while self.works.try_join_next().is_some() {}
        let told = self.told.clone();
        self.works.spawn_blocking(move || {
            if let Err(error) = work() {
                let _ = told.send(Told::DiskFailed(error.to_string()));
            }
        });
    }

    /// Syncs once a second, beside the media.
    pub(super) fn sync(&mut self, now: Instant) {
        let soon = self.last_sync.is_some_and(|last| now < last + SYNC);
        if soon || self.syncing.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        self.last_sync = Some(now);
        let dirty: Vec<_> = self.files.values_mut().filter_map(|open| open.file.to_sync()).collect();
        self.syncing = (!dirty.is_empty()).then(|| {
            tokio::task::spawn_blocking(move || {
                for file in dirty {
                    if let Err(error) = file.sync_data() {
                        tracing::error!(%error, "the spool's disk does not sync");
                    }
                }
            })
        });
    }

    /// Waits for the disk.
    pub(super) async fn close(mut self) {
        if let Some(task) = self.syncing {
            let _ = task.await;
        }
        while self.works.join_next().await.is_some() {}
    }
}
