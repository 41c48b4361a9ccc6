//! Uploads that are cut off after every fact and taken up again from the journal, as after a kill.

use std::time::Duration;

use service::storage::{ContentType, StorageConfig, StorageKind};
use session::journal::{self, Fact, Facts, Job};
use signalling::id::{ParticipantId, RecorderId, RecordingId, RoomName};
use signalling::recording::{FileFigures, RecordingOptions};
use tokio::sync::mpsc;

use super::*;
use crate::spool::Journal;

const NAME: &str = "p1-av-1.webm";
const KEY: &str = "r1/abc/p1-av-1.webm";

struct Stand {
    folder: tempfile::TempDir,
    store: Store,
    bytes: Vec<u8>,
    file: RecordedFile,
}

impl Stand {
    fn new(len: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let config = StorageConfig { kind: StorageKind::Disk, path: folder.path().join("store"), ..Default::default() };
        let store = Store::open(&config).expect("opens");
        let bytes: Vec<u8> = (0..len).map(|n| (n * 31 + n / 251) as u8).collect();
        std::fs::write(folder.path().join(NAME), &bytes).expect("written");
        let file = RecordedFile {
            name: NAME.into(),
            size: len as u64,
            sha256_parts: String::new(),
            container: "webm".into(),
            codecs: vec![],
            participant: ParticipantId::parse("p1").expect("an id"),
            participant_name: String::new(),
            sources: vec![],
            tracks: Vec::new(),
            start_ms: 0,
            end_ms: 0,
            resolutions: vec![],
            gaps: vec![],
            figures: FileFigures::default(),
        };
        let job = Job {
            v: journal::VERSION,
            recorder: RecorderId::parse("rec1").expect("an id"),
            recording: RecordingId::parse("abc").expect("an id"),
            room: RoomName::parse("demo").expect("a name"),
            room_id: "r1".into(),
            folder: "r1/abc".into(),
            started_ms: 0,
            run: 0,
            options: RecordingOptions::default(),
        };
        let journal = Journal::open(folder.path()).expect("opens");
        for fact in [Fact::Job(job), Fact::Open { file: file.clone() }, Fact::Whole { file: file.clone() }] {
            journal.append(&fact).expect("appends");
        }
        Self { folder, store, bytes, file }
    }

    fn facts(&self) -> Facts {
        Facts::parse(&std::fs::read(Journal::path(self.folder.path())).expect("reads")).expect("a journal")
    }

    fn upload(&self) -> (Upload, mpsc::UnboundedReceiver<Fact>) {
        let (sender, heard) = mpsc::unbounded_channel();
        let ledger = Ledger::new(Journal::open(self.folder.path()).expect("opens"), sender);
        let whole = Some(Box::new(self.file.clone()));
        let (_, progress) = watch::channel(Progress { len: self.file.size, whole });
        let upload = Upload {
            store: self.store.clone(),
            ledger,
            key: KEY.into(),
            about: ContentType::of(KEY).into(),
            path: self.folder.path().join(NAME),
            name: NAME.into(),
            progress,
            metrics: Metrics::default(),
            lanes: Arc::default(),
            backoff: Backoff::default(),
        };
        (upload, heard)
    }

    /// Uploads from where the journal says, until `facts` more are written; `None`: to the end.
    async fn run(&self, facts: Option<usize>) -> Option<Result<RecordedFile, Ended>> {
        let before = self.facts().files[NAME].clone();
        let (upload, mut heard) = self.upload();
        let mut task = tokio::spawn(upload.run(Some(before)));
        for _ in 0..facts.unwrap_or(usize::MAX) {
            tokio::select! {
                done = &mut task => return Some(done.expect("no panic")),
                fact = heard.recv() => if fact.is_none() { break },
            }
        }
        if facts.is_some() {
            task.abort();
        }
        task.await.ok()
    }

    async fn check(&self) {
        let object = self.store.get(KEY).await.expect("is there");
        assert!(object == self.bytes, "other bytes");
        assert!(self.facts().files[NAME].stored);
        assert_eq!(self.store.list_uploads("").await.expect("lists"), [], "nothing is left over");
    }
}

const BIG: usize = 2 * service::storage::PART_SIZE + 1000;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_cut_off_anywhere_goes_on_where_it_was() {
    // Before the first fact there may be an upload of which only storage knows: whoever ends the recording finds it.
    for cut in 1..6 {
        let stand = Stand::new(BIG);
        stand.run(Some(cut)).await;
        let before = stand.facts().files[NAME].parts.len();
        let file = stand.run(None).await.expect("ends").expect("is stored");
        stand.check().await;
        let digests: Vec<_> = stand.bytes.chunks(service::storage::PART_SIZE).map(digest).collect();
        assert_eq!(Some(file.sha256_parts), sha256_parts(&digests));
        // What the journal knew to be there was not sent again.
        let text = std::fs::read_to_string(Journal::path(stand.folder.path())).expect("reads");
        let sent = text.lines().filter(|line| line.contains("\"fact\":\"part\"")).count();
        assert_eq!(sent, 3, "cut after {cut}: {before} parts were known");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_repaired_since_is_sent_anew_where_it_differs() {
    let mut stand = Stand::new(BIG);
    stand.run(Some(3)).await;
    assert!(stand.facts().files[NAME].parts.contains_key(&2));
    let middle = service::storage::PART_SIZE + 5;
    stand.bytes[middle] ^= 1;
    std::fs::write(stand.folder.path().join(NAME), &stand.bytes).expect("written");
    let journal = Journal::open(stand.folder.path()).expect("opens");
    journal.append(&Fact::Repaired { file: NAME.into(), parts: [].into() }).expect("appends");
    stand.run(None).await.expect("ends").expect("is stored");
    stand.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_storage_forgot_begins_anew() {
    let stand = Stand::new(BIG);
    stand.run(Some(3)).await;
    let id = stand.facts().files[NAME].upload.clone().expect("was begun");
    stand.store.abort_upload(KEY, &id).await.expect("gives up");
    stand.run(None).await.expect("ends").expect("is stored");
    stand.check().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_is_put_and_put_again_does_no_harm() {
    let stand = Stand::new(100);
    let file = stand.run(None).await.expect("ends").expect("is stored");
    stand.check().await;
    assert_eq!(stand.run(None).await.expect("ends").expect("is stored"), file);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_not_read_again() {
    let stand = Stand::new(BIG);
    stand.run(Some(3)).await;
    assert!(stand.facts().files[NAME].parts.contains_key(&2));
    // Whoever reads the part finds others bytes than were sent.
    let mut bytes = stand.bytes.clone();
    bytes[service::storage::PART_SIZE + 5] ^= 1;
    std::fs::write(stand.folder.path().join(NAME), &bytes).expect("written");
    stand.run(None).await.expect("ends").expect("is stored");
    stand.check().await;
}

/// A storage where nobody answers.
fn away() -> Store {
    let config = StorageConfig {
        kind: StorageKind::S3,
        endpoint: "http://127.0.0.1:1".into(),
        bucket: "b".into(),
        access_key: "k".into(),
        secret_key: "s".into(),
        ..Default::default()
    };
    Store::open(&config).expect("opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_while_storage_is_away() {
    let mut stand = Stand::new(BIG);
    stand.store = away();
    // Whoever reads the file finds none.
    std::fs::remove_file(stand.folder.path().join(NAME)).expect("removed");
    let (upload, _heard) = stand.upload();
    let metrics = upload.metrics.clone();
    let mut task = tokio::spawn(upload.run(Some(stand.facts().files[NAME].clone())));
    while metrics.upload_failures() < 2 {
        let ended = tokio::time::timeout(Duration::from_millis(10), &mut task).await;
        assert!(ended.is_err(), "{ended:?}");
    }
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_becomes_whole_is_tried_at_once() {
    let mut stand = Stand::new(BIG);
    stand.store = away();
    let hour = Duration::from_secs(3600);
    let (mut upload, _heard) = stand.upload();
    upload.backoff = Backoff { min: hour, max: hour };
    let (sender, progress) = watch::channel(Progress { len: BIG as u64, whole: None });
    upload.progress = progress;
    let metrics = upload.metrics.clone();
    let task = tokio::spawn(upload.run(None));
    let failed = async |times| {
        while metrics.upload_failures() < times {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    failed(1).await;
    sender.send_replace(Progress { len: BIG as u64, whole: Some(Box::new(stand.file.clone())) });
    tokio::time::timeout(Duration::from_secs(20), failed(2)).await.expect("it does not wait for an hour");
    task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_is_stored_if_storage_has_it() {
    for len in [100, BIG] {
        let stand = Stand::new(len);
        let before = stand.facts().files[NAME].clone();
        let first = stand.run(None).await.expect("ends").expect("is stored");
        std::fs::remove_file(stand.folder.path().join(NAME)).expect("removed");
        // The note of it was lost.
        let (upload, _heard) = stand.upload();
        let again = upload.run(Some(before)).await.expect("is stored");
        assert_eq!((again.size, again.sha256_parts), (first.size, String::new()), "nobody knows its digest");
        stand.store.delete(KEY).await.expect("deletes");
        let (upload, _heard) = stand.upload();
        assert_eq!(upload.run(Some(stand.facts().files[NAME].clone())).await, Err(Ended::Gone));
    }
}
