//! Every step of bringing a recording to storage, under everything that storage does on a bad day: in the end the objects
//! hold every byte, nothing is there twice or half, and the spool is empty only then.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use recorder::spool::{Journal, Ledger};
use recorder::upload::{Backoff, LANES, Lanes, Progress, Upload, digest, sha256_parts};
use service::storage::{ContentType, Error, PART_SIZE, Sse, StorageConfig, Store};
use session::journal::{self, Fact, Facts, FileFacts, Job};
use signalling::id::{ParticipantId, RecorderId, RecordingId, RoomName};
use signalling::recording::{FileFigures, MANIFEST_VERSION, RecordedFile, RecorderSegment, RecordingOptions};
use tests::fault_proxy::{Fault, FaultProxy, Operation};
use tests::garage::Garage;
use tests::s3::S3Server;

const FOLDER: &str = "r1/abc";
const SEGMENT: &str = "r1/abc/segments/rec1-5000.json";
const BIG: &str = "p1-av-2.webm";
const SMALL: &str = "p2-av-2.webm";
/// How long a request may take where storage hangs.
const HANGS_S: u64 = 1;
/// And elsewhere: on a machine with other work to do, 8 MiB may take seconds, and a request that is given up is one more.
const ANSWERS_S: u64 = 20;
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
        config.storage.request_timeout_s = ANSWERS_S;
        config.server.key = "unused".into();
        config.recorder.spool = self.folder.path().join("spool");
        config
    }

    /// The upload of one of its files, by a process that knows nothing of storage yet.
    fn upload(&self, storage: &StorageConfig, name: &str) -> Upload {
        let spool = self.folder.path().join("spool/abc");
        let len = self.files.iter().find(|(known, _)| *known == name).map_or(0, |(_, bytes)| bytes.len());
        let whole = Some(Box::new(file(name, len)));
        let pause = Duration::from_millis(10);
        Upload {
            store: Store::open(storage).expect("opens"),
            ledger: Ledger::new(Journal::open(&spool).expect("opens"), tokio::sync::mpsc::unbounded_channel().0),
            key: key(name),
            about: ContentType::of(name).into(),
            path: spool.join(name),
            name: name.into(),
            progress: tokio::sync::watch::channel(Progress { len: len as u64, whole }).1,
            metrics: Default::default(),
            lanes: Default::default(),
            backoff: Backoff { min: pause, max: pause },
        }
    }

    /// What its journal says of one of its files.
    fn facts(&self, name: &str) -> Option<FileFacts> {
        let journal = std::fs::read(self.folder.path().join("spool/abc/journal.jsonl")).expect("reads");
        Facts::parse(&journal).expect("a journal").files.remove(name)
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
        assert_eq!(names, [BIG, SMALL], "{what}");
        for (name, bytes) in &self.files {
            let object = store.get(&key(name)).await.expect("is there");
            assert!(object == *bytes, "{what}: {name} has other bytes");
            let digests: Vec<_> = bytes.chunks(PART_SIZE).map(digest).collect();
            let told = segment.files.iter().find(|file| file.name == *name).map(|file| file.sha256_parts.clone());
            assert_eq!(told, sha256_parts(&digests), "{what}: {name}");
        }
        assert_eq!(store.list_uploads("").await.expect("lists"), [], "{what}: an upload is left over");
        assert_eq!(store.list("").await.expect("lists").len(), 4, "{what}: with what an earlier run told");
    }
}

fn key(name: &str) -> String {
    format!("{FOLDER}/{name}")
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
        run: 5000,
        options: RecordingOptions::default(),
    }
}

/// What an earlier run of this recorder wrote of this recording.
async fn write_earlier_segment(store: &Store) {
    let job = job();
    let segment = RecorderSegment {
        v: MANIFEST_VERSION,
        recorder: job.recorder,
        run: 0,
        recording: job.recording,
        room: job.room,
        room_id: job.room_id,
        folder: job.folder,
        started_ms: 0,
        ended_ms: Some(10),
        files: vec![file("p0-av-1.webm", 1)],
        timeline: Vec::new(),
        recovered: false,
        error: None,
    };
    let bytes = serde_json::to_vec(&segment).expect("JSON");
    store.put(&segment.key(), bytes::Bytes::from(bytes), ContentType::JSON).await.expect("written");
}

/// A server for one delivery after the other.
async fn serve(folder: &Path) -> (S3Server, FaultProxy, Store) {
    let server = S3Server::start(folder).await.expect("serves");
    let proxy = FaultProxy::start(server.address()).await.expect("listens");
    let store = Store::open(&server.config("tests")).expect("opens");
    (server, proxy, store)
}

/// One delivery from its beginning to its end, with so many seconds for each request.
async fn deliver(server: &S3Server, proxy: &FaultProxy, store: &Store, timeout_s: u64, what: &str) {
    for object in store.list("").await.expect("lists") {
        store.delete(&object.key).await.expect("deletes");
    }
    write_earlier_segment(store).await;
    // Its beginning was answered, but the note of it was lost.
    store.create_upload(&key(BIG), ContentType::WEBM).await.expect("begins");
    let spooled = Spooled::new();
    let mut config = spooled.config(server, proxy);
    config.storage.request_timeout_s = timeout_s;
    let delivered = tokio::time::timeout(PATIENCE, recorder::recover(config)).await;
    let segments = delivered.unwrap_or_else(|_| panic!("{what}: never ends")).expect("delivers");
    assert_eq!(segments.len(), 1, "{what}");
    spooled.check(store, what).await;
    assert_eq!(proxy.violations(), Vec::<String>::new(), "{what}");
}

/// Whether a request has what the fault changes: a body, or an answer with a body or an ETag.
fn is_possible(fault: Fault, operation: Operation) -> bool {
    match fault {
        Fault::Corrupt => {
            matches!(operation, Operation::Part(_) | Operation::Complete | Operation::Put | Operation::PutSegment)
        }
        Fault::CorruptAnswer => operation != Operation::Abort,
        _ => true,
    }
}

/// One fault at each step in turn.
async fn suffers(fault: Fault) {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, proxy, store) = serve(folder.path()).await;
    let timeout_s = if matches!(fault, Fault::Hang | Fault::HangAfter) { HANGS_S } else { ANSWERS_S };
    for operation in OPERATIONS.into_iter().filter(|operation| is_possible(fault, *operation)) {
        proxy.order(operation, fault, 1);
        let before = proxy.suffered();
        deliver(&server, &proxy, &store, timeout_s, &format!("{fault:?} {operation:?}")).await;
        assert_eq!(proxy.suffered() - before, 1, "{fault:?} {operation:?}");
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
async fn expired_keys_and_other_peoples_404_give_nothing_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, proxy, store) = serve(folder.path()).await;
    for (n, (status, operation, times)) in [
        (403, Operation::AnyPart, 1),
        (403, Operation::ListParts, 1),
        (403, Operation::Complete, 4),
        (404, Operation::AnyPart, 1),
        (404, Operation::ListParts, 1),
        (404, Operation::Complete, 4),
    ]
    .into_iter()
    .enumerate()
    {
        proxy.order(operation, Fault::Status(status), times);
        let before = proxy.count(Operation::Create);
        deliver(&server, &proxy, &store, ANSWERS_S, &format!("{status} {operation:?}")).await;
        assert_eq!(proxy.count(Operation::Create) - before, 1, "what was sent stays sent");
        assert_eq!(proxy.aborted(), n + 1, "only the one that was too many is given up");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_faults_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, proxy, store) = serve(folder.path()).await;
    for seed in 0..2 {
        proxy.order_random(seed, 5);
        deliver(&server, &proxy, &store, HANGS_S, &format!("seed {seed}")).await;
        proxy.heal();
    }
}

/// A try that takes too long gets more time only if storage is there meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn only_a_slow_line_gets_more_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, proxy, _) = serve(folder.path()).await;
    let spooled = Spooled::new();
    let mut config = spooled.config(&server, &proxy);
    config.storage.request_timeout_s = HANGS_S;
    let usual = Duration::from_secs(config.storage.request_timeout_s);
    for away in [false, true] {
        let lanes = Arc::<Lanes>::default();
        let upload =
            Upload { lanes: lanes.clone(), backoff: Backoff::default(), ..spooled.upload(&config.storage, SMALL) };
        let before = proxy.suffered();
        proxy.order(Operation::Put, Fault::Hang, 2);
        if away {
            proxy.order(Operation::Head, Fault::Hang, 1);
        }
        let task = tokio::spawn(upload.run(None));
        // The second try.
        proxy.wait_for(before + 2 + usize::from(away), Duration::from_secs(20)).await.expect("tries again");
        let beside = lanes.lane().now_or_never().map(|lane| lane.patience(usual));
        assert_eq!(beside, away.then_some(usual), "alone and with more time, or as ever");
        task.await.expect("no panic").expect("is stored");
    }
}

/// AWS without the right to list the bucket: what is not there is denied, and a recording must end all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_denies_what_is_not_there_gets_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, proxy, store) = serve(folder.path()).await;
    let spooled = Spooled::new();
    // Each of the two files asks at most six times.
    proxy.order(Operation::Head, Fault::Status(403), 12);
    let delivered = tokio::time::timeout(PATIENCE, recorder::recover(spooled.config(&server, &proxy))).await;
    let segments = delivered.expect("ends").expect("delivers");
    assert_eq!((segments.len(), proxy.suffered()), (1, 12));
    for (name, bytes) in &spooled.files {
        assert!(store.get(&key(name)).await.expect("is there") == *bytes, "{name}");
    }
    assert!(spooled.is_empty());
}

/// Keys that may write and not look: what storage said yes to is not sent again.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_may_look_at_is_sent_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, proxy, store) = serve(folder.path()).await;
    let spooled = Spooled::new();
    let config = spooled.config(&server, &proxy);
    for (name, bytes) in &spooled.files {
        let before = proxy.suffered();
        proxy.order(Operation::Head, Fault::Status(403), 20);
        let task = tokio::spawn(spooled.upload(&config.storage, name).run(None));
        proxy.wait_for(before + 20, PATIENCE).await.expect("looks again and again");
        task.await.expect("no panic").expect("is stored");
        assert!(store.get(&key(name)).await.expect("is there") == *bytes, "{name}");
    }
    let counts = [Operation::Create, Operation::AnyPart, Operation::Complete, Operation::Put];
    assert_eq!(counts.map(|operation| proxy.count(operation)), [1, 2, 1, 1]);
}

/// After an outage or a crash: what waits does not go one after the other.
#[tokio::test(flavor = "multi_thread")]
async fn parts_that_wait_go_beside_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, proxy, store) = serve(folder.path()).await;
    let mut spooled = Spooled::new();
    let long: Vec<u8> = (0..5 * PART_SIZE + 1000).map(|n| (n * 31 + n / 251) as u8).collect();
    std::fs::write(spooled.folder.path().join("spool/abc").join(BIG), &long).expect("written");
    spooled.files = vec![(BIG, long)];
    let mut config = spooled.config(&server, &proxy);
    config.storage.request_timeout_s = 10;
    proxy.order(Operation::AnyPart, Fault::Hang, LANES);
    let task = tokio::spawn(spooled.upload(&config.storage, BIG).run(None));
    proxy.wait_for(LANES, Duration::from_secs(8)).await.expect("all lanes are used");
    assert_eq!((proxy.count(Operation::AnyPart), proxy.count(Operation::Part(1))), (LANES, 0));
    task.await.expect("no panic").expect("is stored");
    assert!(store.get(&key(BIG)).await.expect("is there") == spooled.files[0].1, "other bytes");
    assert_eq!(proxy.violations(), Vec::<String>::new());
}

/// A storage that encrypted once and does not now: what it had is not replaced, and nothing but a probe is sent to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_does_not_encrypt_is_only_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, proxy, _) = serve(folder.path()).await;
    let spooled = Spooled::new();
    let config = StorageConfig { sse: Sse::Aes256, ..spooled.config(&server, &proxy).storage };
    let store = Store::open(&config).expect("opens");
    server.confirm_encryption(true);
    store.put(&key(SMALL), bytes::Bytes::from("before"), ContentType::WEBM).await.expect("written");
    server.confirm_encryption(false);
    let count = || [Operation::Put, Operation::PutProbe].map(|operation| proxy.count(operation));
    let [puts, probes] = count();
    let task = tokio::spawn(spooled.upload(&config, SMALL).run(None));
    let deadline = std::time::Instant::now() + PATIENCE;
    while count()[1] < probes + 3 {
        assert!(std::time::Instant::now() < deadline, "it is not asked again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(store.get(&key(SMALL)).await.expect("is there"), "before");
    assert_eq!(count()[0], puts);
    server.confirm_encryption(true);
    task.await.expect("no panic").expect("is stored");
    assert!(store.get(&key(SMALL)).await.expect("is there") == spooled.files[1].1, "other bytes");
    assert_eq!(count()[0], puts + 1);
}

/// A bucket of which a key service encrypts everything: its ETags say nothing, and a recorder that was started again knows so.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_key_service_encrypts_is_not_sent_again_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, proxy, _) = serve(folder.path()).await;
    server.encrypt_by_default();
    let spooled = Spooled::new();
    let config = spooled.config(&server, &proxy).storage;
    for (name, _) in &spooled.files {
        let before = spooled.facts(name);
        spooled.upload(&config, name).run(None).await.expect("is stored");
        // The note of it was lost.
        spooled.upload(&config, name).run(before).await.expect("is stored");
    }
    let counts = [Operation::Create, Operation::AnyPart, Operation::Put];
    assert_eq!(counts.map(|operation| proxy.count(operation)), [1, 2, 1]);
}

/// Garage takes the wish for encryption and ignores it: nothing may lie there in the clear. Part of `make test-full`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs garage"]
async fn a_garage_that_does_not_encrypt_gets_nothing_long() {
    let folder = tempfile::tempdir().expect("a folder");
    let garage = Garage::start(folder.path()).await.expect("starts");
    let config = StorageConfig { sse: Sse::Aes256, ..garage.config("tests") };
    let store = Store::open(&config).expect("opens");
    for refused in [
        store.prove().await,
        store.put("a", bytes::Bytes::from_static(b"x"), ContentType::JSON).await,
        store.create_upload("a", ContentType::WEBM).await.map(drop),
    ] {
        let error = refused.expect_err("it does not confirm");
        assert!(matches!(&error, Error::Refused { why, .. } if why.contains("AES256")), "{error}");
    }
    assert_eq!(store.list("").await.expect("lists"), []);
    assert_eq!(store.list_uploads("").await.expect("lists"), []);
}
