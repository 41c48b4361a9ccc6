//! An upload in progress: does what the plan says, and finds out what storage really has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use service::storage::{Body, Error, Object, Part, multipart_etag};
use session::journal::{Fact, FileFacts, PartDigest};
use signalling::recording::RecordedFile;

use super::{Plan, Step, StepError, Upload, digest, sha256_parts};

const PART_SIZE: u64 = service::storage::PART_SIZE as u64;

/// So often storage may refuse to complete what it lists as whole, before all of it is sent anew.
const REFUSALS: u32 = 3;

/// So often storage may deny a look at an object, before that is taken for its way to say that there is none: AWS does so
/// when it does not let us list the bucket. Keys that expire are found again in that time.
const DENIALS: u32 = 5;

/// How long storage that is there may take to say something small.
const ANSWER: Duration = Duration::from_secs(5);

pub(super) struct Running {
    pub(super) upload: Upload,
    pub(super) plan: Plan,
    id: Option<String>,
    /// Storage said that it has the object. If it does not let us look at it, that is no reason to send all again.
    made: bool,
    refusals: u32,
    /// How often in a row storage denied a look at the object.
    denials: u32,
    /// Digests of what was read to find out what storage has: a whole file does not change.
    digests: BTreeMap<u32, PartDigest>,
}

impl Running {
    pub(super) fn new(upload: Upload) -> Self {
        Self { upload, plan: Plan::default(), id: None, made: false, refusals: 0, denials: 0, digests: BTreeMap::new() }
    }

    /// Does the next step; `true`: storage holds the file.
    pub(super) async fn step(&mut self) -> Result<bool, StepError> {
        match self.plan.next() {
            Step::Wait => Ok(false),
            Step::Begin => self.begin().await.map(|()| false),
            Step::Send(numbers) => self.send(numbers).await.map(|()| false),
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

    /// Sends parts beside each other. One that does not arrive does not undo the others.
    async fn send(&mut self, numbers: Vec<u32>) -> Result<(), StepError> {
        let Some(id) = self.id.clone() else { return Ok(()) };
        self.plan.checked = false;
        let sent = join_all(numbers.iter().map(|number| self.send_part(&id, *number))).await;
        let mut failed = Ok(());
        for (number, sent) in numbers.into_iter().zip(sent) {
            match sent {
                Ok(digest) => drop(self.plan.sent.insert(number, digest)),
                Err(error) => failed = failed.and(Err(error)),
            }
        }
        if let Err(StepError::Store(Error::NotFound(_))) = &failed {
            // It is gone: what was sent to it is, too.
            self.begin_anew().await;
        }
        failed
    }

    /// Sends one, and notes that it arrived.
    async fn send_part(&self, id: &str, number: u32) -> Result<PartDigest, StepError> {
        let Upload { store, key, name, ledger, metrics, .. } = &self.upload;
        let range = self.plan.range(number);
        let (sent, digest) = self.transmit(range, |body| store.upload_part(key, id, number, body)).await?;
        let digest = digest.with_etag(sent?);
        metrics.uploaded(digest.size);
        ledger.try_note(Fact::Part { file: name.clone(), number, digest: digest.clone() });
        Ok(digest)
    }

    async fn put(&mut self) -> Result<(), StepError> {
        if !self.made {
            let Upload { store, key, about, .. } = &self.upload;
            let (put, digest) = self.transmit(0..self.plan.len, |body| store.put(key, body, about.clone())).await?;
            put?;
            self.upload.metrics.uploaded(digest.size);
            self.plan.sent = [(1, digest)].into();
            self.made = true;
        }
        self.verify().await
    }

    /// Sends a range of the file when it is its turn, with as much time as the line needs; what came of it.
    async fn transmit<T>(
        &self,
        range: Range<u64>,
        send: impl AsyncFnOnce(Body) -> Result<T, Error>,
    ) -> Result<(Result<T, Error>, PartDigest), StepError> {
        let lanes = &self.upload.lanes;
        let lane = lanes.lane().await;
        let (bytes, digest) = self.read(range).await?;
        let usual = self.upload.store.request_timeout();
        let patience = usual.map(|usual| lane.patience(usual));
        let began = Instant::now();
        let sent = tokio::select! {
            sent = send(Body { bytes: bytes.clone(), md5: digest.md5.clone(), patience }) => sent,
            sent = self.hangs(usual.filter(|usual| Some(*usual) < patience)) => Err(sent),
        };
        lanes.reuse(bytes);
        if let Some((usual, patience)) = usual.zip(patience) {
            if sent.is_ok() {
                lane.handle_sent(usual, began.elapsed());
            } else if began.elapsed() >= patience && self.answers().await {
                lane.handle_slow();
            }
        }
        Ok((sent, digest))
    }

    /// Whether storage says anything at all: a try that took too long may be the fault of either, the line or storage.
    async fn answers(&self) -> bool {
        let answer = tokio::time::timeout(ANSWER, self.upload.store.head(&self.upload.key)).await;
        answer.is_ok_and(|answer| !matches!(answer, Err(Error::Unavailable { .. })))
    }

    /// Ends when storage has gone away while it is given more than the usual time.
    async fn hangs(&self, usual: Option<Duration>) -> Error {
        let Some(usual) = usual else { return std::future::pending().await };
        loop {
            tokio::time::sleep(usual).await;
            if !self.answers().await {
                let what = format!("upload {}", self.upload.key);
                return Error::Unavailable { what, why: "it does not answer meanwhile".into() };
            }
        }
    }

    /// Asks storage which parts it has; what it lost is sent again. `true`: the object is there already.
    async fn check(&mut self) -> Result<bool, StepError> {
        let Some(id) = self.id.clone() else { return Ok(false) };
        let listed = match self.upload.store.list_parts(&self.upload.key, &id).await {
            // Either it was completed and the answer was lost, or it is gone. Some servers list nothing then.
            Err(Error::NotFound(_)) => Vec::new(),
            listed => listed?,
        };
        let arrived = arrived(&self.plan.sent, &listed, self.upload.store.has_opaque_etags());
        let lost: Vec<u32> = self.plan.sent.keys().filter(|number| !arrived.contains_key(number)).copied().collect();
        if lost.is_empty() {
            self.plan.sent = arrived;
            self.plan.checked = true;
            return Ok(false);
        }
        // What storage does not say is not taken for a no.
        let object = self.look().await?;
        if self.compare(object).is_ok() {
            return Ok(true);
        }
        if arrived.is_empty() {
            self.begin_anew().await;
        }
        self.plan.sent = arrived;
        Err(StepError::Lost(lost))
    }

    async fn complete(&mut self) -> Result<(), StepError> {
        let Some(id) = self.id.clone() else { return Ok(()) };
        let etags: Vec<String> = self.plan.sent.values().map(|digest| digest.etag().to_owned()).collect();
        let completed = self.upload.store.complete_upload(&self.upload.key, &id, &etags).await;
        self.made |= completed.is_ok();
        // An answer that was lost does not undo what was done, and an answer is no proof that anything was.
        let Err(absent) = self.verify().await else {
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
                StepError::Differs { .. } | StepError::Lost(_) => false,
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
        self.made = false;
        self.refusals = 0;
    }

    /// Finds out how far a crashed process came: `true`: all the way. Storage is asked before anything is read.
    pub(super) async fn resume(&mut self, before: &FileFacts) -> Result<bool, StepError> {
        let object = self.look().await?;
        let listed = match &before.upload {
            None => Vec::new(),
            Some(id) => match self.upload.store.list_parts(&self.upload.key, id).await {
                Ok(parts) => parts,
                Err(Error::NotFound(_)) => Vec::new(),
                Err(error) => return Err(error.into()),
            },
        };
        // What the journal calls a part is one still: a repair strikes out what it changed.
        let known = before.parts.iter().filter(|(number, digest)| digest.size == self.size_of(**number));
        let known: BTreeMap<u32, PartDigest> = known.map(|(number, digest)| (*number, digest.clone())).collect();
        self.plan.sent = arrived(&known, &listed, self.upload.store.has_opaque_etags());
        self.plan.checked = false;
        self.id.clone_from(&before.upload);
        self.plan.begun = self.id.is_some();
        // The crash may have come between the end of the upload and the note of it.
        if let Some(object) = object.filter(|object| object.size == self.plan.len) {
            let sent = self.plan.sent.clone();
            match self.read_all(known).await {
                Ok(all) => self.plan.sent = all,
                // Nothing is left to compare it with; so it went when all was stored.
                Err(error) if self.is_gone(&error) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
            if self.compare(Some(object)).is_ok() {
                return Ok(true);
            }
            self.plan.sent = sent;
        }
        if self.plan.sent.is_empty() {
            self.begin_anew().await;
        }
        Ok(false)
    }

    /// The object; `None` if it is not there, or if storage denies a look again and again at what it never said to have.
    async fn look(&mut self) -> Result<Option<Object>, Error> {
        let object = self.upload.store.digest(&self.upload.key, self.plan.len > PART_SIZE).await;
        self.denials = if matches!(object, Err(Error::Denied { .. })) { self.denials + 1 } else { 0 };
        if self.denials > DENIALS && !self.made { Ok(None) } else { object }
    }

    /// Whether the spool is there, and the file is not in it.
    pub(super) fn is_gone(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::NotFound && self.upload.ledger.journal().is_there()
    }

    /// The digests of all parts; those that are not known are read.
    async fn read_all(&mut self, known: BTreeMap<u32, PartDigest>) -> io::Result<BTreeMap<u32, PartDigest>> {
        let parts = u32::try_from(self.plan.len.div_ceil(PART_SIZE)).unwrap_or(u32::MAX);
        self.digests.extend(known);
        for number in (1..=parts).filter(|number| !self.digests.contains_key(number)).collect::<Vec<_>>() {
            let start = u64::from(number - 1) * PART_SIZE;
            let _reader = self.upload.lanes.reader().await;
            let (bytes, digest) = self.read(start..start + self.size_of(number)).await?;
            self.upload.lanes.reuse(bytes);
            self.digests.insert(number, digest);
        }
        Ok(self.digests.clone())
    }

    fn size_of(&self, number: u32) -> u64 {
        self.plan.len.saturating_sub(u64::from(number.saturating_sub(1)) * PART_SIZE).min(PART_SIZE)
    }

    /// Asks storage what it holds.
    async fn verify(&mut self) -> Result<(), StepError> {
        let verified = self.compare(self.upload.store.digest(&self.upload.key, self.plan.len > PART_SIZE).await?);
        self.made &= verified.is_ok();
        verified
    }

    fn compare(&self, object: Option<Object>) -> Result<(), StepError> {
        let md5s: Vec<String> = self.plan.sent.values().map(|digest| digest.md5.clone()).collect();
        let etag = if self.plan.len > PART_SIZE { multipart_etag(&md5s) } else { md5s.into_iter().next() };
        // Without an ETag nobody could compare it: a key service encrypts, or it was put together before our eyes.
        let same = object
            .as_ref()
            .is_some_and(|object| object.size == self.plan.len && (object.etag.is_none() || object.etag == etag));
        if same {
            return Ok(());
        }
        Err(StepError::Differs { got: object.map(|object| (object.size, object.etag)), sent: (self.plan.len, etag) })
    }

    /// Storage holds the file: notes it, and gives up an upload that was not needed in the end.
    pub(super) async fn stored(&mut self, mut file: RecordedFile) -> RecordedFile {
        let all = self.plan.sent.len() as u64 == self.plan.len.div_ceil(PART_SIZE);
        file.sha256_parts = sha256_parts(self.plan.sent.values()).filter(|_| all).unwrap_or_default();
        // Nothing waits for the disk: after a power cut storage is asked again.
        self.upload.ledger.try_note(Fact::Stored { file: file.clone() });
        if let Some(id) = self.id.take() {
            // The one that was completed is not there any more, which is fine.
            let _ = self.upload.store.abort_upload(&self.upload.key, &id).await;
        }
        file
    }

    /// Bytes of the file with their digests, which take longer than reading them.
    async fn read(&self, range: Range<u64>) -> io::Result<(Bytes, PartDigest)> {
        let (path, buffer) = (self.upload.path.clone(), self.upload.lanes.buffer());
        let read = move || {
            let bytes = read_range(&path, range, buffer)?;
            let digest = digest(&bytes);
            Ok((bytes, digest))
        };
        tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
    }

    /// Waits before the next try; not any longer once the file is whole, for somebody waits for it then.
    pub(super) async fn pause(&mut self, error: &StepError, failures: u32) {
        let pause = self.upload.backoff.after(failures);
        self.upload.metrics.upload_failed();
        tracing::warn!(key = %self.upload.key, %error, retry_ms = pause.as_millis() as u64, "storage");
        let (was_whole, progress) = (self.plan.whole, &mut self.upload.progress);
        let becomes_whole = async {
            if was_whole || progress.wait_for(|progress| progress.whole.is_some()).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(pause, becomes_whole).await;
    }
}

/// Those parts that storage lists as they were sent, with what it calls them.
fn arrived(sent: &BTreeMap<u32, PartDigest>, listed: &[Part], opaque: bool) -> BTreeMap<u32, PartDigest> {
    let listed: BTreeMap<u32, &Part> = listed.iter().map(|part| (part.number, part)).collect();
    let arrived = |(number, digest): (&u32, &PartDigest)| {
        let part = listed.get(number).filter(|part| part.size == digest.size)?;
        let etag = part.etag.as_deref().unwrap_or(digest.etag());
        let same = opaque || etag == digest.etag() || etag == digest.md5;
        same.then(|| (*number, digest.clone().with_etag(etag.to_owned())))
    };
    sent.iter().filter_map(arrived).collect()
}

fn read_range(path: &Path, range: Range<u64>, mut buffer: BytesMut) -> io::Result<Bytes> {
    let file = File::open(path)?;
    buffer.resize(usize::try_from(range.end - range.start).map_err(io::Error::other)?, 0);
    file.read_exact_at(&mut buffer, range.start)?;
    Ok(buffer.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_known_by_its_md5_or_by_what_storage_called_it_before_a_crash() {
        let digest = PartDigest { size: 9, md5: "m".into(), sha256: "s".into(), etag: None };
        let encrypted = digest.clone().with_etag("k".into());
        for (sent, listed, opaque, called) in [
            (&digest, Some("m"), false, Some("m")),
            (&digest, None, false, Some("m")),
            (&digest, Some("k"), false, None),
            (&digest, Some("k"), true, Some("k")),
            (&encrypted, Some("k"), false, Some("k")),
            (&encrypted, None, false, Some("k")),
            (&encrypted, Some("l"), false, None),
        ] {
            let part = |number, size| Part { number, size, etag: listed.map(str::to_owned) };
            let sent = [2, 3, 4].map(|number| (number, sent.clone())).into();
            // Part 3 has another size, and part 4 is not there.
            let arrived = arrived(&sent, &[part(2, 9), part(3, 8)], opaque);
            let names: Vec<_> = arrived.iter().map(|(number, digest)| (*number, digest.etag())).collect();
            assert_eq!(names, called.map(|called| (2, called)).into_iter().collect::<Vec<_>>(), "{listed:?} {opaque}");
        }
    }
}
