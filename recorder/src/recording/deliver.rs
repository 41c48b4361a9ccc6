//! After the media: every file whole, in storage, checked; then the segment; then the spool's folder goes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use service::storage::{ContentType, Error};
use session::journal::Fact;
use signalling::message::RecordingState;
use signalling::recording::{Happening, Moment, RecorderSegment};
use tokio::sync::watch;

use super::Recording;
use crate::spool::media::{self, Repair, Repaired};
use crate::upload::{Backoff, DENIALS, Progress};

/// How often a recording that is being stored says how far it is.
const REPORT: Duration = Duration::from_secs(1);
/// So often storage may say that it does not let us list uploads, before that is taken for its last word: keys expire.
const LISTINGS: u32 = 3;

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
        self.repair().await;
        if self.facts.stopped_ms.is_none() {
            let end = self.facts.files.values().map(|facts| facts.file.end_ms).max().unwrap_or(0);
            self.append(Fact::Stopped { at_ms: end }).await;
        }
        self.set_state(RecordingState::Uploading);
        self.upload_rest();
        let mut report = tokio::time::interval(REPORT);
        loop {
            tokio::select! {
                done = self.uploads.join_next() => if done.is_none() { break },
                _ = report.tick() => self.tell_progress(),
            }
            self.hear();
        }
        self.hear();
        let unstored: Vec<_> = self.facts.files.values().filter(|facts| !facts.stored).collect();
        if let Some(facts) = unstored.first() {
            // An upload only ends early when its writer went away without a word, after the repair above: cannot be.
            tracing::error!(recording = %self.id(), file = facts.file.name, "left in the spool");
            return;
        }
        self.end_stray_uploads().await;
        let segment = self.write_segment().await;
        let (spool, folder) = (self.context.spool.clone(), self.folder.clone());
        let removed = tokio::task::spawn_blocking(move || spool.remove(&folder)).await;
        if let Err(error) = removed.map_err(std::io::Error::other).flatten() {
            tracing::error!(recording = %self.id(), %error, "the spool's folder stays");
        }
        tracing::info!(recording = %self.id(), files = segment.files.len(), "ready");
        self.context.metrics.delivered();
        let status = super::Status {
            recording: self.id().clone(),
            state: RecordingState::Ready,
            // Its timeline would be more than the link takes; storage has it.
            segment: Some(RecorderSegment { timeline: Vec::new(), ..segment }),
            progress: None,
            failure: None,
        };
        let _ = self.statuses.send((self.folder.clone(), status));
    }

    /// Finishes files that nobody writes any more.
    async fn repair(&mut self) {
        let torn: Vec<String> =
            self.facts.files.values().filter(|facts| !facts.whole).map(|facts| facts.file.name.clone()).collect();
        for name in torn {
            // Its upload waits for a writer that is gone, or is busy with parts that may change now.
            if let Some(upload) = self.uploading.remove(&name) {
                upload.abort();
            }
            let path = self.ledger.journal().folder().join(&name);
            match self.repair_one(&path, &name).await {
                Some(Repair::Done(repaired)) => self.note_repaired(&name, repaired).await,
                Some(Repair::Unreadable(why)) => {
                    match self.context.spool.set_aside(&self.folder, &name) {
                        Ok(kept) => tracing::error!(
                            recording = %self.id(), file = %kept.display(), why, "cannot be finished, and is kept there"
                        ),
                        Err(error) => {
                            tracing::error!(recording = %self.id(), name, why, %error, "cannot be finished, and stays");
                            continue;
                        }
                    }
                    self.append(Fact::Empty { file: name }).await;
                }
                Some(Repair::Empty) | None => {
                    // Not even one cluster: at most the first seconds of a file.
                    let _ = std::fs::remove_file(&path);
                    self.append(Fact::Empty { file: name }).await;
                }
            }
        }
    }

    /// Finishes a file, however long the disk takes to have room for its cues; `None`: it is not there.
    async fn repair_one(&self, path: &Path, name: &str) -> Option<Repair> {
        let mut failures = 0;
        loop {
            let file = path.to_owned();
            let facts = self.facts.files.get(name).map(|facts| facts.file.clone());
            let repaired = tokio::task::spawn_blocking(move || media::repair(&file, facts.as_ref())).await;
            let error = match repaired.map_err(std::io::Error::other).flatten() {
                Ok(repaired) => return Some(repaired),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
                Err(error) => error,
            };
            if self.context.spool.make_room(&error).is_err() {
                let pause = Backoff::default().after(failures);
                tracing::error!(file = %path.display(), %error, "cannot be repaired yet");
                tokio::time::sleep(pause).await;
                failures += 1;
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
        if file.codecs.is_empty() {
            file.codecs = repaired.codecs;
        }
        file.resolutions.retain(|resolution| resolution.t <= file.end_ms);
        tracing::info!(recording = %self.id(), file = name, size = file.size, "repaired");
        self.append(Fact::Whole { file }).await;
    }

    /// Starts the uploads that are not running: all of them after a crash.
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
        let keys: BTreeSet<String> = self.facts.files.keys().map(|name| self.key(name)).collect();
        let folder = format!("{}/", self.facts.job.folder);
        let mut failures = 0;
        while let Err(error) = self.try_end_stray_uploads(&folder, &keys).await {
            let final_word = match &error {
                Error::Unavailable { .. } => false,
                Error::Denied { .. } => failures + 1 >= LISTINGS,
                _ => true,
            };
            if final_word {
                tracing::info!(folder, %error, "unfinished uploads, if any, are left to the bucket's own rules");
                return;
            }
            self.pause(&folder, &error, failures).await;
            failures += 1;
        }
    }

    async fn try_end_stray_uploads(&self, folder: &str, keys: &BTreeSet<String>) -> Result<(), Error> {
        let store = &self.context.store;
        for stray in store.list_uploads(folder).await?.into_iter().filter(|upload| keys.contains(&upload.key)) {
            tracing::info!(key = stray.key, "an unfinished upload is given up");
            store.abort_upload(&stray.key, &stray.id).await?;
        }
        Ok(())
    }

    async fn pause(&self, what: &str, error: &Error, failures: u32) {
        let pause = Backoff::default().after(failures);
        tracing::warn!(what, %error, retry_ms = pause.as_millis() as u64, "storage");
        self.context.metrics.upload_failed();
        tokio::time::sleep(pause).await;
    }

    /// The last object of a recording; trying for ever, as everywhere.
    async fn write_segment(&self) -> RecorderSegment {
        let job = &self.facts.job;
        let key = self.key(&format!("segments/{}.json", job.recorder));
        let mut failures = 0;
        loop {
            match self.try_segment(&key, failures).await {
                Ok(segment) => return segment,
                Err(error) => self.pause(&key, &error, failures).await,
            }
            failures += 1;
        }
    }

    async fn try_segment(&self, key: &str, failures: u32) -> Result<RecorderSegment, Error> {
        // Two runs of one recording may end together, and each adds itself to what is there.
        let _alone = self.context.segments.lock(self.id()).await;
        let store = &self.context.store;
        let mut segment = self.facts.segment();
        // This recorder may have recorded a part of it before, and have lost and got it again since.
        match store.get(key).await {
            Ok(bytes) => match serde_json::from_slice::<RecorderSegment>(&bytes) {
                Ok(before) => segment = merge(before, segment),
                // The bytes are what storage holds: it was checked. Nobody else could read them either.
                Err(error) => tracing::warn!(key, %error, "replacing a segment that cannot be read"),
            },
            Err(Error::NotFound(_)) => {}
            Err(Error::Denied { .. }) if failures >= DENIALS => {}
            Err(error) => return Err(error),
        }
        let json = serde_json::to_vec_pretty(&segment)
            .map_err(|error| Error::Refused { what: format!("write {key}"), why: error.to_string() })?;
        store.put(key, Bytes::from(json.clone()), ContentType::JSON).await?;
        if store.get(key).await? != json {
            return Err(Error::Unavailable { what: format!("write {key}"), why: "it reads back otherwise".into() });
        }
        Ok(segment)
    }
}

/// Two runs of one recorder in one recording.
pub(super) fn merge(before: RecorderSegment, now: RecorderSegment) -> RecorderSegment {
    let mut files: Vec<_> =
        before.files.into_iter().filter(|old| now.files.iter().all(|new| new.name != old.name)).collect();
    files.extend(now.files);
    files.sort_by(|a, b| (a.start_ms, &a.name).cmp(&(b.start_ms, &b.name)));
    let mut timeline = before.timeline;
    // This run may have been merged before, and have missed the answer or have been killed then.
    let mut known: BTreeMap<u64, Vec<Happening>> = BTreeMap::new();
    timeline.iter().for_each(|moment| known.entry(moment.t).or_default().push(moment.what.clone()));
    let is_new = |moment: &Moment| known.get(&moment.t).is_none_or(|happened| !happened.contains(&moment.what));
    timeline.extend(now.timeline.into_iter().filter(is_new));
    timeline.sort_by_key(|moment| moment.t);
    let (ended_ms, recovered) = (before.ended_ms.max(now.ended_ms), before.recovered || now.recovered);
    RecorderSegment { files, timeline, ended_ms, recovered, ..now }
}
