//! One thread that brings to the disk what was written to the spool, once a second: one call for all files, however many.
//!
//! It learns that something did not arrive, not what. Which files are concerned is told when they are closed: Linux counts
//! the errors of a file and of its file system apart, so an error that was heard here is heard by whoever had the file
//! open then.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// How often written bytes are synced.
const EVERY: Duration = Duration::from_secs(1);

/// The thread, as those see it who write; it ends after the last clone of this value.
#[derive(Debug, Clone)]
pub struct Syncer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Whether anything was written since the last time.
    written: AtomicBool,
    failures: AtomicU64,
}

impl Syncer {
    /// Starts the thread for the disk that holds this folder.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(folder: &Path) -> io::Result<Self> {
        let (folder, shared) = (File::open(folder)?, Arc::<Shared>::default());
        let watched = Arc::downgrade(&shared);
        let work = move || {
            while let Some(shared) = watched.upgrade() {
                shared.sync(|| Ok(rustix::fs::syncfs(&folder)?));
                drop(shared);
                thread::sleep(EVERY);
            }
        };
        thread::Builder::new().name("spool-sync".into()).spawn(work)?;
        Ok(Self(shared))
    }

    /// Something was written.
    pub fn handle_write(&self) {
        self.0.written.store(true, Ordering::Release);
    }

    /// How often the disk did not take what had been written.
    pub fn failures(&self) -> u64 {
        self.0.failures.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn sync(&self, sync: impl FnOnce() -> io::Result<()>) {
        if !self.written.swap(false, Ordering::Acquire) {
            return;
        }
        if let Err(error) = sync() {
            tracing::error!(%error, "the spool's disk does not sync");
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
impl Syncer {
    /// What the thread does when the disk fails.
    pub(crate) fn fail(&self) {
        self.handle_write();
        self.0.sync(|| Err(io::ErrorKind::Other.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_is_synced_and_failures_count() {
        let shared = Shared::default();
        shared.sync(|| panic!("nothing was written"));
        let syncer = Syncer(Arc::new(shared));
        syncer.handle_write();
        syncer.0.sync(|| Ok(()));
        assert_eq!(syncer.failures(), 0);
        syncer.fail();
        syncer.0.sync(|| panic!("nothing was written since"));
        assert_eq!(syncer.failures(), 1);
    }
}
