//! The spool: what was recorded, on the local disk, until storage has it. One folder a recording:
//!
//! ```text
//! {spool}/lock                                 held while a recorder runs
//! {spool}/id                                   this recorder's id
//! {spool}/{recording}/journal.jsonl            facts, one a line, appended
//! {spool}/{recording}/{participant}-av-1.webm  whole clusters, appended; the head is rewritten in place
//! ```
//! Bytes go to the system with the cluster that they belong to, so a killed process loses what its memory held (at most
//! two seconds); they are synced every second, so a power cut costs one more. The journal is synced with every fact that
//! cannot be found again by reading the file.

pub mod journal;
pub mod ledger;
pub mod media;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use session::journal::{Fact, Facts, Job};
use signalling::id::{RecorderId, RecordingId};

pub use journal::Journal;
pub use ledger::Ledger;
pub use media::MediaFile;

/// The spool folder.
#[derive(Debug, Clone)]
pub struct Spool {
    path: PathBuf,
    /// Held open for its lock: two recorders on one spool would repair each other's live files.
    _lock: Arc<fs::File>,
}

impl Spool {
    /// Opens the folder, making it if need be, for this process alone.
    ///
    /// # Errors
    /// What the system says, or that another recorder has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let lock = fs::File::create(path.join("lock"))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            let why = format!("{} belongs to a running recorder ({error})", path.display());
            io::Error::new(io::ErrorKind::WouldBlock, why)
        })?;
        Ok(Self { path: path.to_owned(), _lock: Arc::new(lock) })
    }

    /// The id of this recorder: made once, `random` being its source, then kept.
    ///
    /// # Errors
    /// What the system says, or that the file holds no id.
    pub fn id(&self, random: u64) -> io::Result<RecorderId> {
        let path = self.path.join("id");
        match fs::read_to_string(&path) {
            Ok(text) => RecorderId::parse(text.trim())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let id = format!("rec{random:016x}");
                let temporary = self.path.join("id.new");
                fs::write(&temporary, &id)?;
                fs::File::open(&temporary)?.sync_all()?;
                fs::rename(&temporary, &path)?;
                sync_dir(&self.path)?;
                RecorderId::parse(id).map_err(io::Error::other)
            }
            Err(error) => Err(error),
        }
    }

    /// The folders of recordings that lie here.
    ///
    /// # Errors
    /// What the system says.
    pub fn folders(&self) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().into_string().ok();
            found.extend(name.filter(|_| Journal::path(&entry.path()).exists()));
        }
        found.sort();
        Ok(found)
    }

    /// A folder for a recording that does not exist yet: another run of the same one may still be on its way to storage.
    pub fn new_folder(&self, recording: &RecordingId) -> String {
        let names = std::iter::once(recording.to_string()).chain((2_u32..).map(|run| format!("{recording}.{run}")));
        let mut free = names.filter(|name| !self.path.join(name).exists());
        free.next().unwrap_or_else(|| recording.to_string())
    }

    /// Begins a recording.
    ///
    /// # Errors
    /// What the system says; the folder must be new.
    pub fn create(&self, folder: &str, job: &Job) -> io::Result<Journal> {
        let folder = self.path.join(folder);
        fs::create_dir(&folder)?;
        let journal = Journal::open(&folder)?;
        journal.append(&Fact::Job(job.clone()))?;
        sync_dir(&folder)?;
        sync_dir(&self.path)?;
        Ok(journal)
    }

    /// Takes up a recording.
    ///
    /// # Errors
    /// What the system says, or that its journal says nothing.
    pub fn reopen(&self, folder: &str) -> io::Result<(Facts, Journal)> {
        let folder = self.path.join(folder);
        let bytes = fs::read(Journal::path(&folder))?;
        let facts = Facts::parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok((facts, Journal::open(&folder)?))
    }

    /// Forgets a recording.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self, folder: &str) -> io::Result<()> {
        fs::remove_dir_all(self.path.join(folder))?;
        sync_dir(&self.path)
    }

    /// Bytes that may still be written to the disk of the spool.
    ///
    /// # Errors
    /// What the system says.
    pub fn free(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

pub(crate) fn sync_dir(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_made_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(&folder.path().join("deep/er")).expect("opens");
        let id = spool.id(7).expect("an id");
        assert_eq!(spool.id(8).expect("the same"), id);
        assert!(spool.free().expect("a disk") > 0);
        assert_eq!(spool.folders().expect("lists"), Vec::<String>::new());
    }
}
