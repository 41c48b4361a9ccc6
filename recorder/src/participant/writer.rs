//! Puts what a session says into the spool.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use session::Output;
use session::file::Note;
use session::journal::Fact;
use signalling::recording::RecordedFile;
use tokio::sync::{mpsc, watch};

use super::Told;
use crate::spool::{Ledger, MediaFile, Syncer, sync_dir};
use crate::upload::Progress;

struct Open {
    file: MediaFile,
    progress: watch::Sender<Progress>,
}

/// The open files of one participant.
pub(super) struct Writer {
    ledger: Ledger,
    told: mpsc::UnboundedSender<Told>,
    files: BTreeMap<Arc<str>, Open>,
    syncer: Syncer,
    /// How often the disk had failed when this was last looked at.
    failures: u64,
    /// What waits for the disk.
    works: tokio::task::JoinSet<()>,
    failed: bool,
}

impl Writer {
    pub(super) fn new(ledger: Ledger, syncer: Syncer, told: mpsc::UnboundedSender<Told>) -> Self {
        let failures = syncer.failures();
        Self { ledger, told, files: BTreeMap::new(), syncer, failures, works: Default::default(), failed: false }
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
                self.syncer.handle_write();
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

    /// Whether what was written came to the disk, too. If not, everything ends: the files that are concerned cannot be closed
    /// then, and are left to recovery.
    pub(super) fn look_at_disk(&mut self) {
        let failures = self.syncer.failures();
        if std::mem::replace(&mut self.failures, failures) != failures && !self.files.is_empty() {
            let _ = self.told.send(Told::DiskFailed("what was written did not come to the disk".into()));
        }
    }

    /// Waits for the disk.
    pub(super) async fn close(mut self) {
        while self.works.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use session::journal::Facts;
    use signalling::recording::FileFigures;

    use super::*;
    use crate::recording::tests::Stand;
    use crate::spool::Journal;

    fn file(name: &str) -> Box<RecordedFile> {
        Box::new(RecordedFile {
            name: name.into(),
            size: 0,
            sha256_parts: String::new(),
            container: "webm".into(),
            codecs: Vec::new(),
            participant: signalling::ParticipantId::parse("p1").expect("an id"),
            participant_name: String::new(),
            sources: Vec::new(),
            tracks: Vec::new(),
            start_ms: 0,
            end_ms: 0,
            resolutions: Vec::new(),
            gaps: Vec::new(),
            figures: FileFigures::default(),
        })
    }

    #[tokio::test]
    async fn a_disk_that_lost_something_is_told_and_what_cannot_be_closed_is_not_whole() {
        let stand = Stand::new();
        let journal = stand.context.spool.create("abc", &stand.job("abc")).expect("creates");
        let path = Journal::path(journal.folder());
        let (told, mut hears) = mpsc::unbounded_channel();
        let syncer = stand.context.spool.syncer().clone();
        let mut writer = Writer::new(Ledger::new(journal, mpsc::unbounded_channel().0), syncer.clone(), told);
        for name in ["p1-av-1.webm", "p2-av-1.webm"] {
            writer.handle(Output::Open(file(name)));
            assert!(matches!(hears.recv().await, Some(Told::File(..))));
        }
        writer.look_at_disk();
        assert!(hears.try_recv().is_err(), "all is well");
        syncer.fail();
        writer.look_at_disk();
        assert!(matches!(hears.try_recv(), Ok(Told::DiskFailed(_))));
        writer.look_at_disk();
        assert!(hears.try_recv().is_err(), "it is told once");
        // Its disk has all of one file, and lost something of the other: a device that cannot sync stands for that.
        let broken = writer.files.get_mut("p2-av-1.webm").expect("is open");
        broken.file = MediaFile::of(std::fs::File::create("/dev/null").expect("opens"));
        for name in ["p1-av-1.webm", "p2-av-1.webm"] {
            writer.handle(Output::Finish(name.into(), Some(file(name))));
        }
        writer.close().await;
        assert!(matches!(hears.try_recv(), Ok(Told::DiskFailed(_))));
        let facts = Facts::parse(&std::fs::read(path).expect("reads")).expect("a journal");
        let whole: Vec<_> = facts.files.values().map(|facts| facts.whole).collect();
        assert_eq!(whole, [true, false], "{facts:?}");
    }
}
