//! Recordings without a room: what they tell, and what they leave in the spool and in storage.

use service::storage::{StorageConfig, StorageKind};
use session::journal;
use signalling::id::RoomName;
use signalling::recording::{Happening, Moment, RecordingOptions};

use super::*;
use crate::config::{Config, RecorderConfig};

/// For what takes a moment.
const DEADLINE: Duration = Duration::from_secs(20);

/// A recorder's insides, on a folder that ends with this value.
pub(crate) struct Stand {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) context: Context,
}

impl Stand {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let storage =
            StorageConfig { kind: StorageKind::Disk, path: folder.path().join("store"), ..Default::default() };
        let recorder = RecorderConfig { spool: folder.path().join("spool"), ..Default::default() };
        let config = Config { storage, recorder, ..Default::default() };
        let context = crate::context(&config).expect("a context");
        Self { folder, context }
    }

    pub(crate) fn job(&self, recording: &str) -> Job {
        Job {
            v: journal::VERSION,
            recorder: self.context.recorder.clone(),
            recording: RecordingId::parse(recording).expect("an id"),
            room: RoomName::parse("demo").expect("a name"),
            room_id: "r1".into(),
            folder: format!("r1/{recording}"),
            started_ms: 0,
            run: 0,
            options: RecordingOptions::default(),
        }
    }
}

#[tokio::test]
async fn the_timeline_is_stored_and_never_told() {
    let stand = Stand::new();
    let (statuses, mut told) = mpsc::unbounded_channel();
    let job = stand.job("abc");
    let mut recording = Recording::create(stand.context.clone(), "abc".into(), &job, statuses).expect("creates");
    let moment = Moment { t: 5, what: Happening::Pause };
    recording.ledger.note(Fact::Happened(moment.clone())).expect("notes");
    recording.hear();
    recording.set_state(RecordingState::Starting);
    let (_, first) = told.recv().await.expect("a status");
    assert_eq!((first.state, first.segment), (RecordingState::Starting, None), "nothing is written yet");
    recording.set_state(RecordingState::Recording);
    assert_eq!(recording.facts.timeline, std::slice::from_ref(&moment), "it is kept");
    recording.deliver().await;
    let mut last = None;
    while let Some((_, status)) = told.recv().await {
        assert!(status.segment.as_ref().is_none_or(|segment| segment.timeline.is_empty()), "{status:?}");
        last = Some(status.state);
    }
    assert_eq!(last, Some(RecordingState::Ready));
    let key = format!("r1/abc/segments/{}-0.json", stand.context.recorder);
    let stored = stand.context.store.get(&key).await.expect("is stored");
    let stored: RecorderSegment = serde_json::from_slice(&stored).expect("JSON");
    assert_eq!(stored.timeline, [moment]);
    assert!(stand.folder.path().join("spool").exists() && !stand.folder.path().join("spool/abc").exists());
}

fn file(name: &str, size: u64) -> RecordedFile {
    serde_json::from_value(serde_json::json!({
        "name": name, "size": size, "container": "webm", "codecs": [], "participant": "p1", "sources": [],
        "start_ms": 0, "end_ms": 0, "resolutions": [],
    }))
    .expect("a file")
}

/// A recording of whole files, with these bytes in the spool, if any, and where it tells of itself.
fn spooled(stand: &Stand, files: &[(&str, Option<&[u8]>)]) -> (Recording, mpsc::UnboundedReceiver<(String, Status)>) {
    let (statuses, told) = mpsc::unbounded_channel();
    let job = stand.job("abc");
    let recording = Recording::create(stand.context.clone(), "abc".into(), &job, statuses).expect("creates");
    for (name, bytes) in files {
        if let Some(bytes) = bytes {
            std::fs::write(recording.ledger.journal().folder().join(name), bytes).expect("written");
        }
        let file = file(name, bytes.map_or(7, |bytes| bytes.len() as u64));
        for fact in [Fact::Open { file: file.clone() }, Fact::Whole { file }] {
            recording.ledger.append(fact).expect("appends");
        }
    }
    (recording, told)
}

/// Waits for what nobody tells.
async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn last(mut told: mpsc::UnboundedReceiver<(String, Status)>) -> Status {
    let mut last = None;
    while let Some((_, status)) = told.recv().await {
        last = Some(status);
    }
    last.expect("a status")
}

#[tokio::test]
async fn an_upload_that_breaks_down_is_begun_again() {
    let stand = Stand::new();
    let (mut recording, told) = spooled(&stand, &[("p1-av-1.webm", Some(b"media"))]);
    let broken = recording.uploads.spawn(async { panic!("as a bug would") });
    let progress = watch::channel(Progress::default()).1;
    recording.uploading.insert("p1-av-1.webm".into(), Uploading { task: broken, progress });
    recording.deliver().await;
    let status = last(told).await;
    assert_eq!((status.state, status.segment.and_then(|segment| segment.error)), (RecordingState::Ready, None));
    assert_eq!(stand.context.store.get("r1/abc/p1-av-1.webm").await.expect("is stored"), "media");
    assert!(!stand.folder.path().join("spool/abc").exists());
}

#[tokio::test]
async fn a_whole_file_does_not_wait_for_the_repair_of_another() {
    let stand = Stand::new();
    let (recording, told) = spooled(&stand, &[("p1-av-1.webm", Some(b"media"))]);
    recording.ledger.append(Fact::Open { file: file("p2-av-1.webm", 0) }).expect("appends");
    // Nobody can write to it.
    let torn = recording.ledger.journal().folder().join("p2-av-1.webm");
    std::fs::create_dir(&torn).expect("a folder");
    let delivered = tokio::spawn(recording.deliver());
    until("it is stored", async || stand.context.store.get("r1/abc/p1-av-1.webm").await.is_ok()).await;
    std::fs::remove_dir(&torn).expect("goes");
    delivered.await.expect("ends");
    assert_eq!(last(told).await.segment.map(|segment| segment.files.len()), Some(1));
}

#[tokio::test]
async fn a_file_that_was_kept_just_before_a_crash_is_told() {
    let stand = Stand::new();
    let (recording, told) = spooled(&stand, &[]);
    recording.ledger.append(Fact::Open { file: file("p1-av-1.webm", 0) }).expect("appends");
    std::fs::write(recording.ledger.journal().folder().join("p1-av-1.webm"), "").expect("written");
    stand.context.spool.set_aside("abc", "p1-av-1.webm").expect("kept");
    recording.deliver().await;
    let error = last(told).await.segment.and_then(|segment| segment.error).expect("is told");
    assert!(error.starts_with("p1-av-1.webm: ") && error.contains("kept"), "{error}");
}

#[tokio::test]
async fn a_spool_that_is_away_for_a_moment_loses_nothing() {
    let stand = Stand::new();
    let (recording, told) = spooled(&stand, &[("p1-av-1.webm", Some(b"media"))]);
    let [there, away] = ["spool", "away"].map(|name| stand.folder.path().join(name));
    std::fs::rename(&there, &away).expect("goes");
    let delivered = tokio::spawn(recording.deliver());
    until("it is tried", async || stand.context.metrics.upload_failures() > 0).await;
    std::fs::rename(&away, &there).expect("comes back");
    delivered.await.expect("ends");
    let segment = last(told).await.segment.expect("a segment");
    assert_eq!((segment.files.len(), segment.error), (1, None));
}

#[tokio::test]
async fn a_recording_whose_folder_somebody_removed_ends() {
    let stand = Stand::new();
    let (recording, told) = spooled(&stand, &[("p1-av-1.webm", Some(b"media"))]);
    std::fs::remove_dir_all(stand.folder.path().join("spool/abc")).expect("goes");
    tokio::time::timeout(DEADLINE, recording.deliver()).await.expect("ends");
    let status = last(told).await;
    let error = status.segment.and_then(|segment| segment.error).expect("is told");
    assert!(status.state == RecordingState::Ready && error.starts_with("p1-av-1.webm: "), "{error}");
}

#[tokio::test]
async fn a_recording_is_ready_before_storage_lists_its_uploads() {
    let stand = Stand::new();
    // Their folder leads nowhere: storage cannot list them.
    let uploads = stand.folder.path().join("store/.uploads");
    std::fs::create_dir_all(stand.folder.path().join("store")).expect("a folder");
    std::os::unix::fs::symlink(&uploads, &uploads).expect("made");
    let (recording, mut told) = spooled(&stand, &[]);
    let delivered = tokio::spawn(recording.deliver());
    let ready = async {
        loop {
            let (_, status) = told.recv().await.expect("a status");
            if status.state == RecordingState::Ready {
                return status;
            }
        }
    };
    let ready = tokio::time::timeout(DEADLINE, ready).await.expect("waits for nothing else");
    assert_eq!(ready.segment, None, "what is not stored is not told");
    assert!(stand.folder.path().join("spool/abc").exists(), "it asks on");
    std::fs::remove_file(&uploads).expect("goes");
    delivered.await.expect("ends");
    assert!(!stand.folder.path().join("spool/abc").exists());
    assert_eq!(stand.context.store.list("").await.expect("lists"), [], "nothing was recorded, so nothing is stored");
}

#[tokio::test]
async fn a_file_that_is_nowhere_is_told_and_the_rest_is_stored() {
    let stand = Stand::new();
    let (recording, told) = spooled(&stand, &[("p1-av-1.webm", Some(b"media")), ("p2-av-1.webm", None)]);
    recording.deliver().await;
    let segment = last(told).await.segment.expect("a segment");
    let names: Vec<_> = segment.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, ["p1-av-1.webm"]);
    assert!(segment.error.is_some_and(|error| error.starts_with("p2-av-1.webm: ")));
}
