//! Every step of bringing a recording to storage, under everything that storage does on a bad day: in the end the objects
//! hold every byte, nothing is there twice or half, and the spool is empty only then.

use std::path::Path;
use std::time::Duration;

use recorder::spool::Journal;
use recorder::upload::{digest, sha256_parts};
use service::storage::{ContentType, PART_SIZE, Store};
use session::journal::{self, Fact, Job};
use signalling::id::{ParticipantId, RecorderId, RecordingId, RoomName};
use signalling::recording::{FileFigures, MANIFEST_VERSION, RecordedFile, RecorderSegment, RecordingOptions};
use tests::fault_proxy::{Fault, FaultProxy, Operation};
use tests::s3::S3Server;

const FOLDER: &str = "r1/abc";
const SEGMENT: &str = "r1/abc/segments/rec1.json";
const BIG: &str = "p1-av-2.webm";
const SMALL: &str = "p2-av-2.webm";
/// How long one delivery may take.
const PATIENCE: Duration = Duration::from_secs(60);

const OPERATIONS: [Operation; 11] = [
    Operation::Create,
    Operation::Part(2),
    Operation::Part(1),
    Operation::ListParts,
    Operation::Complete,
    Operation::Abort,
    Operation::Head,
    Operation::Put,
    Operation::ListUploads,
    Operation::GetSegment,
    Operation::PutSegment,
];

fn file(name: &str, size: usize) -> RecordedFile {
    RecordedFile {
        name: name.into(),
        size: size as u64,
        sha256_parts: String::new(),
        container: "webm".into(),
        codecs: Vec::new(),
        participant: ParticipantId::parse("p1").expect("an id"),
        participant_name: String::new(),
        sources: Vec::new(),
        tracks: Vec::new(),
        start_ms: 0,
        end_ms: 1000,
        resolutions: Vec::new(),
        gaps: Vec::new(),
        figures: FileFigures::default(),
    }
}

/// A recording as a killed recorder leaves it: all files whole, nothing sent.
struct Spooled {
    folder: tempfile::TempDir,
    files: Vec<(&'static str, Vec<u8>)>,
}

impl Spooled {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let bytes = |len: usize| (0..len).map(|n| (n * 31 + n / 251) as u8).collect::<Vec<_>>();
        let files = vec![(BIG, bytes(PART_SIZE + 1000)), (SMALL, bytes(5000))];
        let spool = folder.path().join("spool");
        std::fs::create_dir_all(spool.join("abc")).expect("a folder");
        std::fs::write(spool.join("id"), "rec1").expect("written");
        let journal = Journal::open(&spool.join("abc")).expect("opens");
        journal.append(&Fact::Job(job())).expect("appends");
        for (name, bytes) in &files {
            std::fs::write(spool.join("abc").join(name), bytes).expect("written");
            for fact in [Fact::Open { file: file(name, 0) }, Fact::Whole { file: file(name, bytes.len()) }] {
                journal.append(&fact).expect("appends");
            }
        }
        journal.append(&Fact::Stopped { at_ms: 1000 }).expect("appends");
        Self { folder, files }
    }

    fn config(&self, server: &S3Server, proxy: &FaultProxy) -> recorder::Config {
        let mut config = recorder::Config { storage: server.config("tests"), ..Default::default() };
        config.storage.endpoint = format!("http://{}", proxy.address());
        config.storage.request_timeout_s = 1;
        config.server.key = "unused".into();
        config.recorder.spool = self.folder.path().join("spool");
        config
    }

    fn is_empty(&self) -> bool {
        !self.folder.path().join("spool/abc").exists()
    }

    /// The objects are what was recorded, and nothing else is there.
    async fn check(&self, store: &Store, what: &str) {
        assert!(self.is_empty(), "{what}: the spool is not empty");
        let segment = store.get(SEGMENT).await.expect("a segment");
        let segment: RecorderSegment = serde_json::from_slice(&segment).expect("JSON");
        let names: Vec<_> = segment.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["p0-av-1.webm", BIG, SMALL], "{what}: what an earlier run wrote is still told");
        for (name, bytes) in &self.files {
            let object = store.get(&format!("{FOLDER}/{name}")).await.expect("is there");
            assert!(object == *bytes, "{what}: {name} has other bytes");
            let digests: Vec<_> = bytes.chunks(PART_SIZE).map(digest).collect();
            let told = segment.files.iter().find(|file| file.name == *name).map(|file| file.sha256_parts.clone());
            assert_eq!(told, sha256_parts(&digests), "{what}: {name}");
        }
        assert_eq!(store.list_uploads("").await.expect("lists"), [], "{what}: an upload is left over");
        assert_eq!(store.list("").await.expect("lists").len(), 3, "{what}: other objects");
    }
}

fn job() -> Job {
    Job {
        v: journal::VERSION,
        recorder: RecorderId::parse("rec1").expect("an id"),
        recording: RecordingId::parse("abc").expect("an id"),
        room: RoomName::parse("demo").expect("a name"),
        room_id: "r1".into(),
        folder: FOLDER.into(),
        started_ms: 0,
        again: true,
        options: RecordingOptions::default(),
    }
}

/// What an earlier run of this recorder wrote of this recording.
async fn write_earlier_segment(store: &Store) {
    let job = job();
    let segment = RecorderSegment {
        v: MANIFEST_VERSION,
        recorder: job.recorder,
        recording: job.recording,
        room: job.room,
        room_id: job.room_id,
        folder: job.folder,
        started_ms: 0,
        ended_ms: Some(10),
        files: vec![file("p0-av-1.webm", 1)],
        timeline: Vec::new(),
        recovered: false,
    };
    let bytes = serde_json::to_vec(&segment).expect("JSON");
    store.put(SEGMENT, bytes::Bytes::from(bytes), ContentType::JSON).await.expect("written");
}

/// A server for one delivery after the other.
async fn serve(folder: &Path) -> (S3Server, FaultProxy, Store) {
    let server = S3Server::start(folder).await.expect("serves");
    let proxy = FaultProxy::start(server.address()).await.expect("listens");
    let store = Store::open(&server.config("tests")).expect("opens");
    (server, proxy, store)
}

async fn deliver(server: &S3Server, proxy: &FaultProxy, store: &Store, what: &str) {
    for object in store.list("").await.expect("lists") {
        store.delete(&object.key).await.expect("deletes");
    }
    write_earlier_segment(store).await;
    let spooled = Spooled::new();
    let delivered = tokio::time::timeout(PATIENCE, recorder::recover(spooled.config(server, proxy))).await;
    let segments = delivered.unwrap_or_else(|_| panic!("{what}: never ends")).expect("delivers");
    assert_eq!(segments.len(), 1, "{what}");
    spooled.check(store, what).await;
    assert_eq!(proxy.violations(), Vec::<String>::new(), "{what}");
}

/// One fault at each step in turn.
async fn suffers(fault: Fault) {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, proxy, store) = serve(folder.path()).await;
    for operation in OPERATIONS {
        proxy.order(operation, fault, 1);
        let before = proxy.suffered();
        deliver(&server, &proxy, &store, &format!("{fault:?} {operation:?}")).await;
        // Uploads are given up only where there is one too many.
        let met = proxy.suffered() - before;
        assert!(met == 1 || operation == Operation::Abort, "{fault:?} {operation:?}: met {met} times");
        proxy.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_at_any_step_loses_or_doubles_anything() {
    futures_util::future::join_all([Fault::Reset, Fault::Hang, Fault::LoseAnswer, Fault::HangAfter].map(suffers)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_answer_at_any_step_loses_or_doubles_anything() {
    let errors = [Fault::Status(500), Fault::Status(503), Fault::Status(403)].map(suffers);
    futures_util::future::join_all(errors).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_lies_at_any_step_is_found_out() {
    let lies = [Fault::Ignore, Fault::ErrorIn200, Fault::Cut, Fault::Corrupt, Fault::CorruptAnswer].map(suffers);
    futures_util::future::join_all(lies).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_keys_give_nothing_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, proxy, store) = serve(folder.path()).await;
    for (operation, times) in [(Operation::AnyPart, 1), (Operation::ListParts, 1), (Operation::Complete, 4)] {
        proxy.order(operation, Fault::Status(403), times);
        let before = proxy.count(Operation::Create);
        deliver(&server, &proxy, &store, &format!("denied {operation:?}")).await;
        assert_eq!(proxy.count(Operation::Create) - before, 1, "what was sent stays sent");
    }
    assert_eq!(proxy.count(Operation::Abort), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn random_faults_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, proxy, store) = serve(folder.path()).await;
    for seed in 0..2 {
        proxy.order_random(seed, 5);
        deliver(&server, &proxy, &store, &format!("seed {seed}")).await;
        proxy.heal();
    }
}

/// AWS without the right to list the bucket: what is not there is denied, and a recording must end all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_denies_what_is_not_there_gets_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, proxy, store) = serve(folder.path()).await;
    let spooled = Spooled::new();
    // Each of the two files asks at most six times, and so does the segment.
    proxy.order(Operation::Head, Fault::Status(403), 12);
    proxy.order(Operation::GetSegment, Fault::Status(403), 6);
    let delivered = tokio::time::timeout(PATIENCE, recorder::recover(spooled.config(&server, &proxy))).await;
    let segments = delivered.expect("ends").expect("delivers");
    assert_eq!((segments.len(), proxy.suffered()), (1, 18));
    for (name, bytes) in &spooled.files {
        assert!(store.get(&format!("{FOLDER}/{name}")).await.expect("is there") == *bytes, "{name}");
    }
    assert!(spooled.is_empty());
}
