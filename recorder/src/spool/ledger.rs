//! Facts on their way to the journal and to the task that owns a recording: everybody who learns one writes it down at once.

use std::io;

use session::journal::Fact;
use tokio::sync::mpsc;

use super::Journal;

/// A way to write facts down; cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    journal: Journal,
    heard: mpsc::UnboundedSender<Fact>,
}

impl Ledger {
    /// Facts go to `journal` and to whoever listens to `heard`. Facts are few: some a minute for each file.
    pub fn new(journal: Journal, heard: mpsc::UnboundedSender<Fact>) -> Self {
        Self { journal, heard }
    }

    /// Writes a fact down and waits until the disk has it.
    ///
    /// # Errors
    /// What the system says.
    pub fn append(&self, fact: Fact) -> io::Result<()> {
        self.journal.append(&fact)?;
        // Nobody listens any more when the recorder stops; the journal is what counts.
        let _ = self.heard.send(fact);
        Ok(())
    }

    /// Writes a fact down whose loss in a power cut costs little.
    ///
    /// # Errors
    /// What the system says.
    pub fn note(&self, fact: Fact) -> io::Result<()> {
        self.journal.note(&fact)?;
        let _ = self.heard.send(fact);
        Ok(())
    }

    /// Writes a fact down whose loss costs only that something is asked or sent again: a journal that does not take it is
    /// no reason to stop.
    pub fn try_note(&self, fact: Fact) {
        if let Err(error) = self.journal.note(&fact) {
            tracing::warn!(%error, "the journal cannot be written");
        }
        let _ = self.heard.send(fact);
    }

    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }
}
