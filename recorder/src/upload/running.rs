//! An upload in progress: does what the plan says, and finds out what storage really has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use service::storage::{Body, Error, Part, multipart_etag};
use session::journal::{Fact, FileFacts, PartDigest};
use signalling::recording::RecordedFile;

use super::{DENIALS, Plan, Step, StepError, Upload, digest, sha256_parts};

const PART_SIZE: u64 = service::storage::PART_SIZE as u64;

/// So often storage may refuse to complete what it lists as whole, before all of it is sent anew.
const REFUSALS: u32 = 3;

pub(super) struct Running {
    pub(super) upload: Upload,
    pub(super) plan: Plan,
    id: Option<String>,
    /// What storage calls the parts, as it listed them.
    etags: BTreeMap<u32, String>,
    refusals: u32,
}

impl Running {
    pub(super) fn new(upload: Upload) -> Self {
        Self { upload, plan: Plan::default(), id: None, etags: BTreeMap::new(), refusals: 0 }
    }

    /// Does the next step; `true`: storage holds the file.
    pub(super) async fn step(&mut self) -> Result<bool, StepError> {
        match self.plan.next() {
            Step::Wait => Ok(false),
            Step::Begin => self.begin().await.map(|()| false),
            Step::Send { number, range } => self.send(number, range).await.map(|()| false),
            Step::Put => self.put().await.map(|()| true),
            Step::Check => self.check().await,
            Step::Complete => self.complete().await.map(|()| true),
        }
    }

    async fn begin(&mut self) -> Result<(), StepError> {
        let Upload { store, key, about, ledger, name, .. } = &self.upload;
        let id = store.create_upload(key, about.clone()).await?;
        // An upload whose note is lost is found among the unfinished ones when the recording is stored.
        ledger.try_note(Fact::Upload { file: name.clone(), id: id.clone() });
        self.id = Some(id);
        self.plan.begun = true;
        Ok(())
    }

    async fn send(&mut self, number: u32, range: Range<u64>) -> Result<(), StepError> {
        let Some(id) = self.id.clone() else { return Ok(()) };
        let (store, key) = (&self.upload.store, &self.upload.key);
        let (sent, digest) = self.transmit(range, |body| store.upload_part(key, &id, number, body)).await?;
        match sent {
            // It is gone: what was sent to it is, too.
            Err(Error::NotFound(_)) => self.begin_anew().await,
            sent => drop(sent?),
        }
        if self.id.is_none() {
            return Ok(());
        }
        self.upload.metrics.uploaded(digest.size);
        let fact = Fact::Part { file: self.upload.name.clone(), number, digest: digest.clone() };
        self.upload.ledger.try_note(fact);
        self.plan.sent.insert(number, digest);
        self.plan.checked = false;
        Ok(())
    }

    async fn put(&mut self) -> Result<(), StepError> {
        let Upload { store, key, about, .. } = &self.upload;
        let (put, digest) = self.transmit(0..self.plan.len, |body| store.put(key, body, about.clone())).await?;
        put?;
        self.upload.metrics.uploaded(digest.size);
        self.plan.sent = [(1, digest)].into();
        self.verify(false).await
    }

    /// Sends a range of the file when it is its turn, with as much time as the line needs; what came of it.
    async fn transmit<T>(
        &self,
        range: Range<u64>,
        send: impl AsyncFnOnce(Body) -> Result<T, Error>,
    ) -> Result<(Result<T, Error>, PartDigest), StepError> {
        let lane = self.upload.lanes.lane().await;
        let (bytes, digest) = self.read(range).await?;
        let usual = self.upload.store.request_timeout();
        let patience = usual.map(|usual| lane.patience(usual));
        let began = Instant::now();
        let sent = send(Body { bytes, md5: digest.md5.clone(), patience }).await;
        if let Some(usual) = usual {
            lane.handle_try(usual, began.elapsed(), sent.is_ok());
        }
        Ok((sent, digest))
    }

    /// Asks storage which parts it has; what it lost is sent again. `true`: the object is there already.
    async fn check(&mut self) -> Result<bool, StepError> {
        let Some(id) = self.id.clone() else { return Ok(false) };
        let listed = match self.upload.store.list_parts(&self.upload.key, &id).await {
            Err(Error::NotFound(_)) => {
                // Either it was completed and the answer was lost, or it is gone.
                if self.verify(true).await.is_ok() {
                    return Ok(true);
                }
                self.begin_anew().await;
                return Ok(false);
            }
            listed => listed?,
        };
        let opaque = self.upload.store.has_opaque_etags();
        let all = self.plan.sent.len();
        let known = |number: &u32, digest: &mut PartDigest| has(&listed, opaque, *number, digest);
        let mut sent = self.plan.sent.clone();
        sent.retain(known);
        // Some servers list nothing of an upload that is over where others say that it is not there.
        if sent.len() < all && self.verify(true).await.is_ok() {
            return Ok(true);
        }
        if sent.is_empty() {
            self.begin_anew().await;
            return Ok(false);
        }
        self.plan.sent = sent;
        self.etags = listed.into_iter().filter_map(|part| Some((part.number, part.etag?))).collect();
        self.plan.checked = true;
        Ok(false)
    }

    async fn complete(&mut self) -> Result<(), StepError> {
        let Some(id) = self.id.clone() else { return Ok(()) };
        let etag = |(number, digest): (&u32, &PartDigest)| {
            self.etags.get(number).cloned().unwrap_or_else(|| digest.md5.clone())
        };
        let etags: Vec<String> = self.plan.sent.iter().map(etag).collect();
        let completed = self.upload.store.complete_upload(&self.upload.key, &id, &etags).await;
        // An answer that was lost does not undo what was done, and an answer is no proof that anything was.
        let Err(absent) = self.verify(true).await else {
            self.id = None;
            return Ok(());
        };
        self.plan.checked = false;
        // Nothing is known while storage does not answer, and expired keys say nothing of what it has.
        let passing = |error: &Error| matches!(error, Error::Unavailable { .. } | Error::Denied { .. });
        let trouble = completed.as_ref().is_err_and(passing)
            || match &absent {
                StepError::Store(error) => passing(error),
                StepError::Spool(_) => true,
                StepError::Differs { .. } => false,
            };
        self.refusals += u32::from(!trouble);
        if self.refusals >= REFUSALS {
            tracing::warn!(key = %self.upload.key, "storage has all parts and makes no object of them: sending anew");
            self.begin_anew().await;
        }
        Err(completed.err().map_or(absent, StepError::from))
    }

    /// Forgets an upload of which nothing is of use.
    async fn begin_anew(&mut self) {
        if let Some(id) = self.id.take() {
            // What cannot be given up now is found among the unfinished uploads when the recording is stored.
            let _ = self.upload.store.abort_upload(&self.upload.key, &id).await;
        }
        self.plan.begun = false;
        self.plan.checked = false;
        self.plan.sent.clear();
        self.etags.clear();
        self.refusals = 0;
    }

    /// Finds out how far a crashed process came: `true`: all the way.
    /// `failures`: how often in a row that failed by now.
    pub(super) async fn resume(&mut self, before: &FileFacts, failures: u32) -> Result<bool, StepError> {
        let listed = match &before.upload {
            None => Vec::new(),
            Some(id) => match self.upload.store.list_parts(&self.upload.key, id).await {
                Ok(parts) => parts,
                Err(Error::NotFound(_)) => Vec::new(),
                Err(error) => return Err(error.into()),
            },
        };
        // A repaired file may differ from what was sent: the file is the truth.
        let parts = u32::try_from(self.plan.len.div_ceil(PART_SIZE)).unwrap_or(u32::MAX);
        let mut now = BTreeMap::new();
        for number in 1..=parts {
            let start = u64::from(number - 1) * PART_SIZE;
            let _place = self.upload.lanes.place().await;
            let (_, digest) = self.read(start..self.plan.len.min(start + PART_SIZE)).await?;
            now.insert(number, digest);
        }
        let opaque = self.upload.store.has_opaque_etags();
        let sent = |number: &u32, digest: &PartDigest| {
            before.parts.get(number) == Some(digest) && has(&listed, opaque, *number, digest)
        };
        self.plan.sent = now.iter().filter(|(n, digest)| sent(n, digest)).map(|(n, d)| (*n, d.clone())).collect();
        self.plan.checked = false;
        self.id.clone_from(&before.upload);
        self.plan.begun = self.id.is_some();
        if self.plan.sent.is_empty() {
            self.begin_anew().await;
        }
        // The crash may have come between the end of the upload and the note of it.
        let sent = std::mem::replace(&mut self.plan.sent, now);
        match self.verify(self.plan.len > PART_SIZE).await {
            Ok(()) => Ok(true),
            Err(StepError::Differs { .. }) => {
                self.plan.sent = sent;
                Ok(false)
            }
            Err(StepError::Store(Error::Denied { .. })) if failures >= DENIALS => {
                self.plan.sent = sent;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks storage what it holds.
    async fn verify(&self, multipart: bool) -> Result<(), StepError> {
        let md5s: Vec<String> = self.plan.sent.values().map(|digest| digest.md5.clone()).collect();
        let etag = if multipart { multipart_etag(&md5s) } else { md5s.into_iter().next() };
        let object = self.upload.store.digest(&self.upload.key, multipart).await?;
        // Without an ETag nobody could compare it: a key service encrypts.
        let same = object
            .as_ref()
            .is_some_and(|object| object.size == self.plan.len && (object.etag.is_none() || object.etag == etag));
        if same {
            return Ok(());
        }
        Err(StepError::Differs { got: object.map(|object| (object.size, object.etag)), sent: (self.plan.len, etag) })
    }

    /// Storage holds the file: notes it, and gives up an upload that was not needed in the end.
    pub(super) async fn stored(&mut self, mut file: RecordedFile) -> io::Result<RecordedFile> {
        file.sha256_parts = sha256_parts(self.plan.sent.values()).unwrap_or_default();
        let (ledger, fact) = (self.upload.ledger.clone(), Fact::Stored { file: file.clone() });
        // A full disk gets room by this file's end, not by its waiting: after a crash storage is asked again.
        tokio::task::spawn_blocking(move || ledger.try_append(fact)).await.map_err(io::Error::other)?;
        if let Some(id) = self.id.take() {
            // The one that was completed is not there any more, which is fine.
            let _ = self.upload.store.abort_upload(&self.upload.key, &id).await;
        }
        Ok(file)
    }

    /// Bytes of the file with their digests, which take longer than reading them.
    async fn read(&self, range: Range<u64>) -> io::Result<(Bytes, PartDigest)> {
        let path = self.upload.path.clone();
        let read = move || {
            let bytes = read_range(&path, range)?;
            let digest = digest(&bytes);
            Ok((bytes, digest))
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }

    pub(super) async fn pause(&self, error: &StepError, failures: u32) {
        let pause = self.upload.backoff.after(failures);
        self.upload.metrics.upload_failed();
        tracing::warn!(key = %self.upload.key, %error, retry_ms = pause.as_millis() as u64, "storage");
        tokio::time::sleep(pause).await;
    }
}

/// Whether a listing has this part.
fn has(listed: &[Part], opaque: bool, number: u32, digest: &PartDigest) -> bool {
    listed.iter().any(|part| {
        let same = |etag: &String| opaque || *etag == digest.md5;
        part.number == number && part.size == digest.size && part.etag.as_ref().is_none_or(same)
    })
}

fn read_range(path: &Path, range: Range<u64>) -> io::Result<Bytes> {
    let file = File::open(path)?;
    let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.into())
}
