//! The ids of deleted recordings, in a file, last deleted last: a part that a recorder stores later, also after a restart,
//! must not bring one back.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use signalling::RecordingId;

/// Deleted recordings that are remembered: those that were deleted last, however old they were.
const MAX: usize = 10_000;

/// Bytes after which the file is written anew, without what was forgotten.
const MAX_FILE: u64 = 2 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Deleted {
    ids: BTreeSet<RecordingId>,
    order: VecDeque<RecordingId>,
    /// Those whose deletion is under way: it may fail.
    begun: BTreeSet<RecordingId>,
    path: PathBuf,
}

impl Deleted {
    /// Those of a former run. A file that cannot be read is none.
    pub(super) fn load(path: PathBuf) -> Self {
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "deleted recordings are forgotten");
                String::new()
            }
            read => read.unwrap_or_default(),
        };
        let mut deleted = Self { path, ..Self::default() };
        text.lines().filter_map(|line| RecordingId::parse(line).ok()).for_each(|id| deleted.insert(id));
        deleted
    }

    fn insert(&mut self, id: RecordingId) {
        if self.ids.insert(id.clone()) {
            self.order.push_back(id);
        }
        if self.order.len() > MAX
            && let Some(first) = self.order.pop_front()
        {
            self.ids.remove(&first);
        }
    }

    /// Remembers one from now on, for as long as this process lives.
    pub(super) fn begin(&mut self, id: &RecordingId) {
        self.begun.insert(id.clone());
    }

    /// It is there still: that it is deleted was said too early.
    pub(super) fn take_back(&mut self, id: &RecordingId) {
        self.begun.remove(id);
    }

    /// It is gone. Its id is a short line, which the disk takes at once.
    pub(super) fn keep(&mut self, id: &RecordingId) {
        self.begun.remove(id);
        self.insert(id.clone());
        if let Err(error) = self.write(id) {
            tracing::warn!(recording = %id, %error, "it is forgotten with the next start that it was deleted");
        }
    }

    fn write(&self, id: &RecordingId) -> io::Result<()> {
        std::fs::create_dir_all(self.path.parent().unwrap_or(Path::new(".")))?;
        if std::fs::metadata(&self.path).is_ok_and(|meta| meta.len() >= MAX_FILE) {
            let lines: String = self.order.iter().map(|id| format!("{id}\n")).collect();
            let new = self.path.with_extension("new");
            std::fs::write(&new, lines)?;
            return std::fs::rename(new, &self.path);
        }
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&self.path)?;
        // A power cut may have torn the last line.
        file.write_all(format!("\n{id}\n").as_bytes())
    }

    pub(super) fn contains(&self, id: &RecordingId) -> bool {
        self.ids.contains(id) || self.begun.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_remembers_as_many_as_fit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("state/deleted-recordings");
        let id = |n: usize| RecordingId::parse(format!("r{n:09}")).expect("an id");
        let mut deleted = Deleted::load(path.clone());
        deleted.begin(&id(1));
        deleted.keep(&id(1));
        deleted.begin(&id(2));
        deleted.take_back(&id(2));
        // The end of a line that a power cut tore.
        std::fs::OpenOptions::new().append(true).open(&path).expect("opens").write_all(b"r00").expect("writes");
        deleted.begin(&id(3));
        deleted.keep(&id(3));
        let again = Deleted::load(path.clone());
        assert!(again.contains(&id(1)) && !again.contains(&id(2)) && again.contains(&id(3)));
        // The last ones that were deleted are older than those before.
        let lines: String = (0..200_000).rev().map(|n| format!("{}\n", id(n))).collect();
        std::fs::write(&path, lines).expect("writes");
        let mut full = Deleted::load(path.clone());
        assert_eq!((full.ids.len(), full.contains(&id(0)), full.contains(&id(199_999))), (MAX, true, false));
        full.begin(&id(200_001));
        assert!(full.contains(&id(200_001)));
        full.begin(&id(200_000));
        full.keep(&id(200_000));
        assert_eq!((full.ids.len(), full.order.len(), full.contains(&id(MAX - 1))), (MAX, MAX, false));
        let length = std::fs::metadata(&path).expect("is there").len();
        assert!(length < 200_000, "{length}");
        let again = Deleted::load(path);
        assert!(!again.contains(&id(200_001)), "it may be there still");
        assert!(again.contains(&id(200_000)) && again.contains(&id(0)) && again.order == full.order);
    }
}
