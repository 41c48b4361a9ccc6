//! The journal of a recording on disk: facts, one JSON object a line, only ever appended.

use session::journal::Fact;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A journal that is written. Clones write to the same one, a line at a time.
#[derive(Debug, Clone)]
pub struct Journal {
    file: Arc<File>,
    folder: Arc<Path>,
    /// Whether the last line lacks its end: a crash or a full disk cut it.
    torn: Arc<Mutex<bool>>,
}

impl Journal {
    /// Opens the journal in a recording's folder. A torn last line is closed with the next one: the disk may be full now.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = Self::path(folder);
        let torn = std::fs::read(&path).is_ok_and(|bytes| bytes.last().is_some_and(|byte| *byte != b'\n'));
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        Ok(Self { file: Arc::new(file), folder: folder.into(), torn: Arc::new(Mutex::new(torn)) })
    }

    /// Where the journal of a folder lies.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("journal.jsonl")
    }

    /// The recording's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the folder is where it was: a disk that is away for a moment takes every file with it.
    pub fn is_there(&self) -> bool {
        Self::path(&self.folder).exists()
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
        self.file.sync_data()
    }

    /// Appends a fact whose loss in a power cut costs little.
    ///
    /// # Errors
    /// What the system says.
    pub fn note(&self, fact: &Fact) -> io::Result<()> {
        let mut torn = self.torn.lock().unwrap_or_else(PoisonError::into_inner);
        write_line(&mut &*self.file, &mut torn, &serde_json::to_vec(fact)?)
    }
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
