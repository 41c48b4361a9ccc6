//! The spool: what was recorded, on the local disk, until storage has it. One folder a recording:
//!
//! ```text
//! {spool}/lock                                 held while a recorder runs
//! {spool}/id                                   this recorder's id
//! {spool}/reserve                              bytes for the ends of files, given back when the disk is full
//! {spool}/UNREADABLE/                          files that could not be finished
//! {spool}/{recording}/journal.jsonl            facts, one a line, appended
//! {spool}/{recording}/{participant}-av-1.webm  whole clusters, appended; the head is rewritten in place
//! {spool}/{recording}.done/                    what storage has, being removed
//! ```
//! Bytes go to the system with the cluster that they belong to, so a killed process loses what its memory held (at most
//! two seconds); the whole spool is synced every second, so a power cut costs one more. Folders are synced when a file is
//! begun or a recording is removed, files when they are whole and after each step of a repair. The journal is synced with
//! every fact that cannot be found again by reading the file; what else it notes waits for one of those, or for the next
//! second in which media is written.

pub mod journal;
pub mod ledger;
pub mod media;
mod reserve;
mod syncer;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use session::journal::{Fact, Facts, Job};
use signalling::id::{RecorderId, RecordingId};

pub use journal::Journal;
pub use ledger::Ledger;
pub use media::MediaFile;
pub use syncer::Syncer;

const LOCK: &str = "lock";

const RESERVE: &str = "reserve";

/// Files that could not be finished. No recording has this name: ids have no capitals.
const ASIDE: &str = "UNREADABLE";

/// Behind the name of a folder that is being removed.
const DONE: &str = ".done";

/// The spool folder.
#[derive(Debug, Clone)]
pub struct Spool {
    path: PathBuf,
    /// Held open for its lock: two recorders on one spool would repair each other's live files.
    _lock: Arc<fs::File>,
    syncer: Syncer,
}

impl Spool {
    /// Opens the folder, making it if need be, for this process alone.
    ///
    /// # Errors
    /// What the system says, or that another recorder has it.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let lock = fs::File::create(path.join(LOCK))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            let why = format!("{} belongs to a running recorder ({error})", path.display());
            io::Error::new(io::ErrorKind::WouldBlock, why)
        })?;
        Ok(Self { path: path.to_owned(), _lock: Arc::new(lock), syncer: Syncer::start(path)? })
    }

    /// Who brings what is written here to the disk.
    pub fn syncer(&self) -> &Syncer {
        &self.syncer
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
            found.extend(name.filter(|name| !name.ends_with(DONE) && Journal::path(&entry.path()).exists()));
        }
        found.sort();
        Ok(found)
    }

    /// A folder for a recording that does not exist yet: another run of the same one may still be on its way to storage.
    /// Some are `taken` although they are not there: not yet, or not any more.
    pub fn new_folder(&self, recording: &RecordingId, taken: impl Fn(&str) -> bool) -> String {
        let names = std::iter::once(recording.to_string()).chain((2_u32..).map(|run| format!("{recording}.{run}")));
        let mut free = names.filter(|name| !taken(name) && !self.path.join(name).exists());
        free.next().unwrap_or_else(|| recording.to_string())
    }

    /// Begins a recording.
    ///
    /// # Errors
    /// What the system says; the folder must be new.
    pub fn create(&self, folder: &str, job: &Job) -> io::Result<Journal> {
        let folder = self.path.join(folder);
        fs::create_dir(&folder)?;
        let begun = self.begin(&folder, job);
        if begun.is_err() {
            // A full disk would get another one with every job.
            let _ = fs::remove_dir_all(&folder);
        }
        begun
    }

    fn begin(&self, folder: &Path, job: &Job) -> io::Result<Journal> {
        let journal = Journal::open(folder)?;
        journal.append(&Fact::Job(job.clone()))?;
        sync_dir(folder)?;
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

    /// The names of what lies in a recording's folder beside its journal.
    ///
    /// # Errors
    /// What the system says.
    pub fn media(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.path.join(folder))?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
        let names = names.filter_map(Result::transpose);
        names.filter(|name| name.as_ref().map_or(true, |name| !Journal::is_its(name))).collect()
    }

    /// Forgets a recording, at once: whoever is killed meanwhile finds a folder that only has to be removed.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self, folder: &str) -> io::Result<()> {
        let done = self.path.join(format!("{folder}{DONE}"));
        // Another run had the same name.
        absent_is_fine(fs::remove_dir_all(&done))?;
        fs::rename(self.path.join(folder), &done)?;
        sync_dir(&self.path)?;
        fs::remove_dir_all(&done)
    }

    /// Removes folders of recordings that hold neither a job nor media, and those that are done with: of a process that was
    /// killed when it made or removed them.
    ///
    /// # Errors
    /// What the system says about the spool itself.
    pub fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            let id = name.split('.').next().unwrap_or_default();
            let path = entry.path();
            if RecordingId::parse(id).is_ok() && path.is_dir() && (name.ends_with(DONE) || is_void(&path)) {
                tracing::info!(folder = name, "nothing of it is needed");
                if let Err(error) = fs::remove_dir_all(&path) {
                    tracing::warn!(folder = name, %error, "spool");
                }
            }
        }
        Ok(())
    }

    /// Keeps a file that cannot be finished, outside of the recording that goes; says where.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_aside(&self, folder: &str, name: &str) -> io::Result<PathBuf> {
        let aside = self.path.join(ASIDE);
        fs::create_dir_all(&aside)?;
        let kept = self.aside(folder, name);
        fs::rename(self.path.join(folder).join(name), &kept)?;
        sync_dir(&aside)?;
        sync_dir(&self.path)?;
        Ok(kept)
    }

    /// Whether a file was kept so, perhaps just before a crash.
    pub fn is_aside(&self, folder: &str, name: &str) -> bool {
        self.aside(folder, name).exists()
    }

    fn aside(&self, folder: &str, name: &str) -> PathBuf {
        self.path.join(ASIDE).join(format!("{folder}-{name}"))
    }

    /// Sets bytes of a full disk aside, unless they are, and while as much is left. Whoever cannot end a file for want of
    /// space gets them.
    ///
    /// # Errors
    /// What the system says.
    pub fn reserve(&self) -> io::Result<()> {
        reserve::take(&self.path.join(RESERVE), self.free()?)
    }

    /// Gives the reserve back to the disk: whoever begins with what a crash left may have nothing else to write with.
    pub fn release(&self) {
        // It is not there, or the disk is in worse trouble than that.
        let _ = fs::remove_file(self.path.join(RESERVE));
    }

    /// After an error: gives the reserve back to the disk, if that can help.
    ///
    /// # Errors
    /// The same error, if it is another one or the reserve is gone already.
    pub fn make_room(&self, error: &io::Error) -> io::Result<()> {
        let given = is_full(error) && fs::remove_file(self.path.join(RESERVE)).is_ok();
        if given { Ok(()) } else { Err(io::Error::new(error.kind(), error.to_string())) }
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

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Whether a folder holds nothing but a journal without a single whole line, and one that was to take its place.
fn is_void(folder: &Path) -> bool {
    let Ok(mut entries) = fs::read_dir(folder) else { return false };
    let is_its = |entry: fs::DirEntry| entry.file_name().to_str().is_some_and(Journal::is_its);
    let only_journal = entries.all(|entry| entry.is_ok_and(is_its));
    let has_line = || fs::read(Journal::path(folder)).is_ok_and(|bytes| bytes.contains(&b'\n'));
    only_journal && !has_line()
}

/// Whether an error says that the disk has no space.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

pub(crate) fn sync_dir(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_only_begun_is_swept_and_others_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(folder.path()).expect("opens");
        let make = |name: &str, files: &[(&str, &str)]| {
            fs::create_dir(folder.path().join(name)).expect("made");
            for (file, text) in files {
                fs::write(folder.path().join(name).join(file), text).expect("written");
            }
        };
        make("empty", &[]);
        make("torn.2", &[("journal.jsonl", "{\"fact\":\"job\",\"v\"")]);
        make("torn.3", &[("journal.jsonl", "{\"fact\":\"job\",\"v\""), ("journal.new", "{\"fact\":")]);
        make("media", &[("p1-av-1.webm", "x")]);
        make("foreign", &[("journal.jsonl", "of another version\n")]);
        make("lost+found", &[]);
        make("killed.2.done", &[("journal.jsonl", "of another version\n"), ("p1-av-1.webm", "x")]);
        assert_eq!(spool.folders().expect("lists"), ["foreign", "torn.2", "torn.3"]);
        spool.sweep().expect("sweeps");
        let is_there = |name: &str| folder.path().join(name).exists();
        let names = ["empty", "torn.2", "torn.3", "media", "foreign", "lost+found", "killed.2.done"];
        assert_eq!(names.map(is_there), [false, false, false, true, true, true, false]);
        assert_eq!(spool.media("media").expect("lists"), ["p1-av-1.webm"]);
        // What cannot be finished is kept, the rest goes.
        let kept = spool.set_aside("media", "p1-av-1.webm").expect("kept");
        spool.remove("media").expect("goes");
        assert!(kept.exists() && !is_there("media"));
    }

    #[test]
    fn the_id_is_made_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(&folder.path().join("deep/er")).expect("opens");
        let id = spool.id(7).expect("an id");
        assert_eq!(spool.id(8).expect("the same"), id);
        assert!(spool.free().expect("a disk") > 0);
        // What is set aside is given back once, and only to a full disk.
        spool.reserve().expect("space");
        assert!(spool.make_room(&io::ErrorKind::NotFound.into()).is_err());
        assert!(spool.make_room(&io::ErrorKind::StorageFull.into()).is_ok());
        assert!(spool.make_room(&io::ErrorKind::StorageFull.into()).is_err());
        spool.reserve().expect("space again");
        assert_eq!(spool.folders().expect("lists"), Vec::<String>::new());
    }
}
