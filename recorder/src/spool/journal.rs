//! The journal of a recording on disk: facts, one JSON object a line, only ever appended.
//!
//! A disk that lost something says so once, and never writes it again. A journal of which it said that is not safe until
//! all of it was written anew, to another file that takes its place: at once, while the system still has it in memory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use session::journal::Fact;

use super::{LOCK, sync_dir};

const NAME: &str = "journal.jsonl";
/// One that is being written to take its place.
const NEW: &str = "journal.new";

/// A journal that is written. Clones write to the same one, a line at a time.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    open: Mutex<Open>,
    /// Whether the disk may lack something that was written. Held while it is asked: it tells one of those who ask.
    lost: Mutex<bool>,
}

#[derive(Debug)]
struct Open {
    file: Arc<File>,
    /// Whether the last line lacks its end: a crash or a full disk cut it.
    torn: bool,
}

impl Journal {
    /// Opens the journal in a recording's folder. A torn last line is closed with the next one: the disk may be full now.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = Self::path(folder);
        let torn = std::fs::read(&path).is_ok_and(|bytes| bytes.last().is_some_and(|byte| *byte != b'\n'));
        let open = Mutex::new(Open { file: Arc::new(open(&path)?), torn });
        Ok(Self(Arc::new(Shared { folder: folder.to_owned(), open, lost: Mutex::new(false) })))
    }

    /// Where the journal of a folder lies.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(NAME)
    }

    /// Whether a name in a recording's folder is a journal's.
    pub fn is_its(name: &str) -> bool {
        name == NAME || name == NEW
    }

    /// The recording's folder.
    pub fn folder(&self) -> &Path {
        &self.0.folder
    }

    /// Whether the spool is where it was: a disk that is away for a moment takes its lock with it, and somebody who
    /// removes the folder does not.
    pub fn is_there(&self) -> bool {
        let lock = self.folder().parent().map(|spool| spool.join(LOCK));
        Self::path(self.folder()).exists() || lock.is_some_and(|lock| lock.exists())
    }

    /// Appends a fact and waits until the disk has it.
    ///
    /// # Errors
    /// What the system says.
    pub fn append(&self, fact: &Fact) -> io::Result<()> {
        self.note(fact)?;
        self.sync()
    }

    /// Waits until the disk has every fact.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync(&self) -> io::Result<()> {
        let mut lost = lock(&self.0.lost);
        if !*lost {
            let file = lock(&self.0.open).file.clone();
            let Err(error) = file.sync_data() else { return Ok(()) };
            tracing::warn!(folder = %self.folder().display(), %error, "the disk did not take the journal");
            *lost = true;
        }
        self.write_anew()?;
        *lost = false;
        Ok(())
    }

    /// Puts another file in the place of this one. The system still has what the disk has not.
    fn write_anew(&self) -> io::Result<()> {
        let mut open = lock(&self.0.open);
        let mut bytes = Vec::new();
        (&*open.file).rewind()?;
        (&*open.file).read_to_end(&mut bytes)?;
        let (new, path) = (self.folder().join(NEW), Self::path(self.folder()));
        let mut file = File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(new, &path)?;
        open.file = Arc::new(self::open(&path)?);
        sync_dir(self.folder())
    }

    /// Appends a fact whose loss in a power cut costs little.
    ///
    /// # Errors
    /// What the system says.
    pub fn note(&self, fact: &Fact) -> io::Result<()> {
        let mut open = lock(&self.0.open);
        let Open { file, torn } = &mut *open;
        write_line(&mut &**file, torn, &serde_json::to_vec(fact)?)
    }
}

#[cfg(test)]
impl Journal {
    /// What an error of the disk leaves.
    pub(crate) fn lose(&self) {
        *lock(&self.0.lost) = true;
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).open(path)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a line. One that is cut, because the disk has no room for its end, must not take the next one with it.
fn write_line(out: &mut impl Write, torn: &mut bool, line: &[u8]) -> io::Result<()> {
    let start: &[u8] = if *torn { b"\n" } else { b"" };
    let written = out.write_all(&[start, line, b"\n"].concat());
    *torn = written.is_err();
    written
}

#[cfg(test)]
mod tests {
    use session::journal::Facts;

    use super::*;

    /// A disk with room for so many bytes.
    struct Disk(Vec<u8>, usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = bytes.len().min(self.1 - self.0.len());
            self.0.extend_from_slice(&bytes[..room]);
            if room == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(room) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_a_full_disk_cut_does_not_spoil_the_next() {
        let (mut disk, mut torn) = (Disk(Vec::new(), 7), false);
        write_line(&mut disk, &mut torn, b"one").expect("there is room");
        assert!(write_line(&mut disk, &mut torn, b"second").is_err());
        disk.1 = 100;
        write_line(&mut disk, &mut torn, b"two").expect("there is room again");
        write_line(&mut disk, &mut torn, b"three").expect("there is room");
        assert_eq!(disk.0, b"one\nsec\ntwo\nthree\n");
    }

    #[test]
    fn a_journal_of_which_the_disk_lost_something_is_written_anew() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(folder.path()).expect("opens");
        let path = Journal::path(folder.path());
        let look = || (std::fs::metadata(&path).expect("is there").ino(), std::fs::read(&path).expect("reads"));
        journal.append(&Fact::Recovered).expect("appends");
        let (first, before) = look();
        journal.lose();
        // It cannot be written: a folder has its name.
        std::fs::create_dir(folder.path().join(NEW)).expect("a folder");
        journal.clone().append(&Fact::Recovered).expect_err("is not safe");
        journal.append(&Fact::Recovered).expect_err("and stays so");
        std::fs::remove_dir(folder.path().join(NEW)).expect("goes");
        journal.append(&Fact::Recovered).expect("is safe again");
        journal.clone().append(&Fact::Recovered).expect("and goes on");
        let (second, after) = look();
        assert_ne!(first, second, "the old one may lack anything");
        assert_eq!(after, before.repeat(5));
        assert!(!folder.path().join(NEW).exists());
    }

    #[test]
    fn what_the_disk_does_not_take_is_written_anew_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::open(folder.path()).expect("opens");
        // Something that can be read, and that no disk ever takes.
        let text = std::fs::read("/proc/version").expect("reads");
        let file = File::open("/proc/version").expect("opens");
        file.sync_data().expect_err("is on no disk");
        lock(&journal.0.open).file = Arc::new(file);
        journal.sync().expect("is safe");
        journal.append(&Fact::Recovered).expect("and goes on");
        let after = std::fs::read(Journal::path(folder.path())).expect("reads");
        assert_eq!(after, [&text[..], b"{\"fact\":\"recovered\"}\n"].concat());
    }

    #[test]
    fn the_next_line_after_a_torn_one_counts() {
        let job = r#"{"fact":"job","v":1,"recorder":"rec1","recording":"abc","room":"demo","room_id":"r1","folder":"r1/abc","started_ms":5,"options":{}}"#;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(Journal::path(folder.path()), format!("{job}\n{{\"fact\":\"stopp")).expect("writes");
        let before = std::fs::metadata(Journal::path(folder.path())).expect("is there").len();
        let journal = Journal::open(folder.path()).expect("opens");
        let after = std::fs::metadata(Journal::path(folder.path())).expect("is there").len();
        assert_eq!(before, after, "opening needs no room");
        journal.append(&Fact::Recovered).expect("appends");
        let facts = Facts::parse(&std::fs::read(Journal::path(folder.path())).expect("reads")).expect("a journal");
        assert_eq!((facts.stopped_ms, facts.recovered), (None, true));
    }
}
