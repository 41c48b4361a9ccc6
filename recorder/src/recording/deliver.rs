//! After the media: every file whole, in storage, checked; then the segment; then the spool's folder goes.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use service::storage::{ContentType, Error, PART_SIZE};
use session::journal::Fact;
use signalling::code::Code;
use signalling::message::RecordingState;
use signalling::recording::{RecordedFile, RecorderSegment};
use tokio::sync::watch;
use tokio::task::{Id, JoinError};

use super::Recording;
use super::tries::Tries;
use crate::spool::media::{self, Repair, Repaired};
use crate::upload::{Ended, Progress};

/// How often a recording that is being stored says how far it is.
const REPORT: Duration = Duration::from_secs(1);
/// So often storage may say that it does not let us list uploads, before that is taken for its last word: keys expire.
const LISTINGS: u32 = 3;
/// So long it may be away when it is asked for them: the spool's disk is needed for others.
const ASKED: Duration = Duration::from_secs(15 * 60);
/// So often uploads may break down, which none should ever, before the recording is left to the next start.
const BREAKDOWNS: u32 = 10;

impl Recording {
    /// Takes up what a crash left, to its end.
    pub(crate) async fn recover(mut self) {
        // Nobody had stopped it: the server may want it to go on.
        if self.facts.stopped_ms.is_none() {
            self.append(Fact::Recovered).await;
        }
        self.deliver().await;
    }

    /// Brings everything to storage. Ends when storage has it, however long that takes.
    pub(super) async fn deliver(mut self) {
        self.hear();
        self.proven = true;
        self.set_state(RecordingState::Finalising);
        // What is whole does not wait for what is not.
        self.upload_rest();
        self.repair().await;
        if self.facts.stopped_ms.is_none() {
            let end = self.facts.files.values().map(|facts| facts.file.end_ms).max().unwrap_or(0);
            self.append(Fact::Stopped { at_ms: end }).await;
        }
        self.set_state(RecordingState::Uploading);
        if !self.upload_all().await {
            tracing::error!(recording = %self.id(), "uploads break down again and again: the next start goes on");
            let why = "the recorder cannot store it, and keeps it in its spool".to_owned();
            return self.send(RecordingState::Failed, None, Some((Code::Internal, why)));
        }
        let segment = self.facts.segment();
        // Who was stopped before it was in the room has nothing to tell.
        let is_empty = segment.files.is_empty() && segment.timeline.is_empty() && segment.error.is_none();
        if !is_empty {
            self.write_segment(&segment).await;
        }
        tracing::info!(recording = %self.id(), files = segment.files.len(), "ready");
        self.context.metrics.delivered();
        let status = super::Status {
            recording: self.id().clone(),
            state: RecordingState::Ready,
            // Its timeline would be more than the link takes; storage has it.
            segment: (!is_empty).then(|| RecorderSegment { timeline: Vec::new(), ..segment }),
            progress: None,
            failure: None,
        };
        let _ = self.statuses.send((self.folder.clone(), status));
        // Nobody waits for the clearing up.
        self.end_stray_uploads().await;
        let (spool, folder) = (self.context.spool.clone(), self.folder.clone());
        let removed = tokio::task::spawn_blocking(move || spool.remove(&folder)).await;
        if let Err(error) = removed.map_err(std::io::Error::other).flatten()
            && !self.is_gone(&error)
        {
            tracing::error!(recording = %self.id(), %error, "the spool's folder stays");
        }
    }

    /// Finishes files that nobody writes any more, and looks at those that the journal does not know: a power cut may keep a
    /// file's name and lose the line about it.
    async fn repair(&mut self) {
        let torn = self.facts.files.values().filter(|facts| !facts.whole).map(|facts| facts.file.name.clone());
        let mut torn: Vec<String> = torn.collect();
        torn.extend(self.unknown().await);
        for name in torn {
            // Its upload waits for a writer that is gone, or is busy with parts that may change now.
            if let Some(upload) = self.uploading.remove(&name) {
                upload.task.abort();
            }
            let path = self.ledger.journal().folder().join(&name);
            match self.repair_one(&path, &name).await {
                Some(Repair::Done(repaired)) if self.facts.files.contains_key(&name) => {
                    self.note_repaired(&name, repaired).await;
                }
                Some(Repair::Done(_)) => self.set_aside(&name, "nothing is known of it").await,
                Some(Repair::Unreadable(why)) => self.set_aside(&name, &why).await,
                // A crash came between that and the note of it.
                None if self.context.spool.is_aside(&self.folder, &name) => {
                    self.set_aside(&name, "it could not be finished").await;
                }
                Some(Repair::Empty) | None => {
                    // Not even one cluster: at most the first seconds of a file.
                    let _ = std::fs::remove_file(&path);
                    self.append(Fact::Empty { file: name }).await;
                }
            }
        }
    }

    /// Files that the journal does not know, however long the disk takes to list them: they go with the folder.
    async fn unknown(&self) -> Vec<String> {
        let known = |name: &String| self.facts.files.contains_key(name) || self.facts.dropped.contains(name);
        let mut tries = Tries::default();
        loop {
            match self.context.spool.media(&self.folder) {
                Ok(found) => return found.into_iter().filter(|name| !known(name)).collect(),
                Err(error) if self.is_gone(&error) => return Vec::new(),
                Err(error) => {
                    tracing::error!(recording = %self.id(), %error, "the spool's folder cannot be read yet");
                    tries.pause().await;
                }
            }
        }
    }

    /// Keeps a file that is of no use to the recording, however long the disk takes, and says so.
    async fn set_aside(&mut self, name: &str, why: &str) {
        let mut tries = Tries::default();
        loop {
            match self.context.spool.set_aside(&self.folder, name) {
                Ok(kept) => {
                    tracing::error!(recording = %self.id(), file = %kept.display(), why, "kept there");
                    break;
                }
                // It was, before a crash.
                Err(error) if self.is_gone(&error) => break,
                Err(error) => {
                    tracing::error!(recording = %self.id(), name, why, %error, "cannot be set aside yet");
                    tries.pause().await;
                }
            }
        }
        let why = format!("{why}; it is kept in the recorder's spool");
        self.append(Fact::Lost { file: name.to_owned(), why }).await;
    }

    /// Whether a file, or the recording's folder, is not there, although the spool is.
    fn is_gone(&self, error: &std::io::Error) -> bool {
        error.kind() == std::io::ErrorKind::NotFound && self.ledger.journal().is_there()
    }

    /// Finishes a file, however long the disk takes to have room for its cues; `None`: it is not there.
    async fn repair_one(&self, path: &Path, name: &str) -> Option<Repair> {
        let mut tries = Tries::default();
        loop {
            let file = path.to_owned();
            let facts = self.facts.files.get(name).map(|facts| facts.file.clone());
            let reader = self.context.lanes.reader().await;
            let repaired = tokio::task::spawn_blocking(move || media::repair(&file, facts.as_ref())).await;
            drop(reader);
            let error = match repaired.map_err(std::io::Error::other).flatten() {
                Ok(repaired) => return Some(repaired),
                Err(error) if self.is_gone(&error) => return None,
                Err(error) => error,
            };
            if self.context.spool.make_room(&error).is_err() {
                tracing::error!(file = %path.display(), %error, "cannot be repaired yet");
                tries.pause().await;
            }
        }
    }

    async fn note_repaired(&mut self, name: &str, repaired: Repaired) {
        let Some(facts) = self.facts.files.get(name) else { return };
        let mut file = facts.file.clone();
        file.size = repaired.size;
        file.end_ms = file.start_ms + u64::try_from(repaired.end.as_millis()).unwrap_or(0);
        // What was missing at the crash was so to the end.
        session::journal::close_gaps(&mut file);
        session::journal::keep_tracks(&mut file, repaired.codecs);
        file.resolutions.retain(|resolution| resolution.t <= file.end_ms);
        tracing::info!(recording = %self.id(), file = name, size = file.size, "repaired");
        let unchanged = facts.parts.iter().filter(|(number, part)| is_unchanged(**number, part.size, repaired.kept));
        let parts = unchanged.map(|(number, _)| *number).collect();
        self.append(Fact::Repaired { file: name.to_owned(), parts }).await;
        self.append(Fact::Whole { file }).await;
        self.upload_rest();
    }

    /// Uploads until storage has every file; one whose task broke down is begun again. `false`: that is of no use.
    async fn upload_all(&mut self) -> bool {
        let mut report = tokio::time::interval(REPORT);
        let mut breakdowns = Tries::default();
        while breakdowns.failures() < BREAKDOWNS {
            self.upload_rest();
            loop {
                tokio::select! {
                    done = self.uploads.join_next_with_id() => match done {
                        Some(done) => self.handle_uploaded(done).await,
                        None => break,
                    },
                    _ = report.tick() => self.tell_progress(),
                }
                self.hear();
            }
            self.hear();
            if self.facts.files.values().all(|facts| facts.stored) {
                return true;
            }
            breakdowns.pause().await;
        }
        false
    }

    async fn handle_uploaded(&mut self, done: Result<(Id, Result<RecordedFile, Ended>), JoinError>) {
        let id = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let name = self.uploading.iter().find(|(_, upload)| upload.task.id() == id).map(|(name, _)| name.clone());
        // Of a file that was repaired since, or never had any media.
        let Some(name) = name else { return };
        match done {
            Ok((_, Ok(_))) => return,
            Ok((_, Err(ended @ Ended::Gone))) => {
                tracing::error!(recording = %self.id(), name, why = %ended, "cannot be stored");
                self.append(Fact::Lost { file: name.clone(), why: ended.to_string() }).await;
            }
            Ok((_, Err(Ended::Unfinished))) => {}
            Err(error) => {
                tracing::error!(recording = %self.id(), name, %error, "an upload broke down: beginning again")
            }
        }
        self.uploading.remove(&name);
    }

    /// Starts the uploads of whole files that are not running: all of them after a crash.
    fn upload_rest(&mut self) {
        let rest: Vec<_> = self
            .facts
            .files
            .values()
            .filter(|facts| facts.whole && !facts.stored && !self.uploading.contains_key(&facts.file.name))
            .map(|facts| facts.file.clone())
            .collect();
        for file in rest {
            let name = file.name.clone();
            let (sender, progress) = watch::channel(Progress { len: file.size, whole: Some(Box::new(file)) });
            self.start_upload(&name, progress);
            drop(sender);
        }
    }

    /// Gives up unfinished uploads of our files: their beginning was answered, but the answer or the note of it was lost.
    async fn end_stray_uploads(&self) {
        let names = self.facts.files.keys().chain(&self.facts.dropped);
        let keys: BTreeSet<String> = names.map(|name| self.key(name)).collect();
        let folder = format!("{}/", self.facts.job.folder);
        let (mut tries, mut listings, until) = (Tries::default(), 0, Instant::now() + ASKED);
        loop {
            let error = match self.try_end_stray_uploads(&folder, &keys).await {
                Ok(0) => return,
                // Whoever says yes may not have done it.
                Ok(_) if listings < LISTINGS => {
                    listings += 1;
                    continue;
                }
                Ok(strays) => {
                    return tracing::warn!(folder, strays, "unfinished uploads stay although they were given up");
                }
                Err(error) => error,
            };
            listings += u32::from(matches!(error, Error::Denied { .. }));
            let passing = matches!(error, Error::Unavailable { .. }) && Instant::now() < until
                || matches!(error, Error::Denied { .. }) && listings < LISTINGS;
            if !passing {
                tracing::info!(folder, %error, "unfinished uploads that nobody noted are left to the bucket's own rules");
                return self.end_void_uploads().await;
            }
            self.pause(&folder, &error, &mut tries).await;
        }
    }

    /// Gives up those that storage lists; how many.
    async fn try_end_stray_uploads(&self, folder: &str, keys: &BTreeSet<String>) -> Result<usize, Error> {
        let store = &self.context.store;
        let mut strays = store.list_uploads(folder).await?;
        strays.retain(|upload| keys.contains(&upload.key));
        for stray in &strays {
            tracing::info!(key = stray.key, "an unfinished upload is given up");
            store.abort_upload(&stray.key, &stray.id).await?;
        }
        Ok(strays.len())
    }

    /// Gives up those that the journal knows, where storage lists none.
    async fn end_void_uploads(&self) {
        for (name, id) in &self.facts.void {
            if let Err(error) = self.context.store.abort_upload(&self.key(name), id).await {
                tracing::warn!(name, %error, "an unfinished upload may stay");
            }
        }
    }

    async fn pause(&self, what: &str, error: &Error, tries: &mut Tries) {
        tracing::warn!(what, %error, failures = tries.failures(), "storage");
        self.context.metrics.upload_failed();
        tries.pause().await;
    }

    /// The last object of a run; trying for ever, as everywhere.
    async fn write_segment(&self, segment: &RecorderSegment) {
        let key = segment.key();
        let mut tries = Tries::default();
        while let Err(error) = self.try_segment(&key, segment).await {
            self.pause(&key, &error, &mut tries).await;
        }
    }

    async fn try_segment(&self, key: &str, segment: &RecorderSegment) -> Result<(), Error> {
        let store = &self.context.store;
        let json = serde_json::to_vec_pretty(segment)
            .map_err(|error| Error::Refused { what: format!("write {key}"), why: error.to_string() })?;
        store.put(key, Bytes::from(json.clone()), ContentType::JSON).await?;
        if store.get(key).await? != json {
            return Err(Error::Unavailable { what: format!("write {key}"), why: "it reads back otherwise".into() });
        }
        Ok(())
    }
}

/// Whether a part still is what was sent, in a file whose repair left so many bytes as they were. The first one holds the head.
fn is_unchanged(number: u32, size: u64, kept: u64) -> bool {
    number > 1 && u64::from(number - 1) * PART_SIZE as u64 + size <= kept
}
