//! The journal of a recording on disk: facts, one JSON object a line, only ever appended.

use session::journal::Fact;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A journal that is written. Clones write to the same one: a line is one append, which the system keeps whole.
#[derive(Debug, Clone)]
pub struct Journal {
    file: Arc<File>,
    folder: Arc<Path>,
}

impl Journal {
    /// Opens the journal in a recording's folder. A torn last line is closed first, so that it cannot spoil the next.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = Self::path(folder);
        let torn = std::fs::read(&path).is_ok_and(|bytes| bytes.last().is_some_and(|byte| *byte != b'\n'));
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        if torn {
            (&file).write_all(b"\n")?;
        }
        Ok(Self { file: Arc::new(file), folder: folder.into() })
    }

    /// Where the journal of a folder lies.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join("journal.jsonl")
    }

    /// The recording's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Appends a fact and waits until the disk has it.
    ///
    /// # Errors
    /// What the system says.
    pub fn append(&self, fact: &Fact) -> io::Result<()> {
        self.note(fact)?;
        self.file.sync_data()
    }

    /// Appends a fact whose loss in a power cut costs little.
    ///
    /// # Errors
    /// What the system says.
    pub fn note(&self, fact: &Fact) -> io::Result<()> {
        let mut line = serde_json::to_vec(fact)?;
        line.push(b'\n');
        (&*self.file).write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    use session::journal::Facts;

    use super::*;

    #[test]
    fn the_next_line_after_a_torn_one_counts() {
        let job = r#"{"fact":"job","v":1,"recorder":"rec1","recording":"abc","room":"demo","room_id":"r1","started_ms":5,"options":{}}"#;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(Journal::path(folder.path()), format!("{job}\n{{\"fact\":\"stopp")).expect("writes");
        let journal = Journal::open(folder.path()).expect("opens");
        journal.append(&Fact::Recovered).expect("appends");
        let facts = Facts::parse(&std::fs::read(Journal::path(folder.path())).expect("reads")).expect("a journal");
        assert_eq!((facts.stopped_ms, facts.recovered), (None, true));
    }
}
