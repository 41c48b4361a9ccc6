//! Manifests in storage: read once at start, written whenever a recording changes, composed of the segments at its end, deleted
//! when their time is over.
//!
//! Storage may be away for a while: everything is tried again until it worked.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use service::storage::{ContentType, Error, Store};
use signalling::RecordingId;
use signalling::message::RecordingState;
use signalling::recording::{Manifest, RecorderSegment};
use signalling::timeline;

use super::news;
use super::state::{State, Write};
use crate::app::App;
use crate::webhooks::Event;

/// How often we look for something to write.
const EVERY: Duration = Duration::from_millis(200);

/// How long we wait after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// Manifests read or written at once.
const AT_ONCE: usize = 16;

/// The file name of a manifest.
const MANIFEST: &str = "recording.json";

/// Reads what is in storage, however long that takes.
pub(super) async fn load(app: &App) {
    while let Err(error) = read_all(app).await {
        tracing::warn!(%error, "the recordings in storage cannot be listed; trying again");
        tokio::time::sleep(RETRY).await;
    }
}

/// Writes what changes, until the process ends.
pub(super) async fn run(app: &App) {
    loop {
        adopt_unknown(app).await;
        delete_unwanted(app).await;
        let writes = {
            let mut state = app.recordings.state();
            state.writing = true;
            std::mem::take(&mut state.writes)
        };
        let failed = write_all(app, writes).await;
        app.recordings.state().writing = false;
        tokio::time::sleep(if failed { RETRY } else { EVERY }).await;
    }
}

/// Whatever the template was when they were made, recordings are found by their manifests: everything below the prefix is
/// listed, and only those are read, some at a time.
async fn read_all(app: &App) -> Result<(), Error> {
    let objects = app.store.list("").await?;
    let ending = format!("/{MANIFEST}");
    let keys = objects.iter().map(|object| object.key.clone()).filter(|key| key.ends_with(&ending));
    let keys: Vec<String> = keys.collect();
    let mut read = futures_util::stream::iter(keys)
        .map(|key| async move {
            let bytes = app.store.get(&key).await;
            (key, bytes)
        })
        .buffer_unordered(AT_ONCE);
    let mut found = 0;
    while let Some((key, bytes)) = read.next().await {
        let manifest: Manifest = match serde_json::from_slice(&bytes?) {
            Ok(manifest) => manifest,
            Err(error) => {
                tracing::warn!(key, %error, "a manifest cannot be read");
                continue;
            }
        };
        let id = manifest.id.clone();
        let whole = matches!(manifest.state, RecordingState::Ready | RecordingState::Failed);
        // The list is in order.
        let segments = format!("{}/segments/", manifest.folder);
        let first = objects.partition_point(|object| object.key < segments);
        let has_segments = objects.get(first).is_some_and(|object| object.key.starts_with(&segments));
        let mut state = app.recordings.state();
        state.manifests.entry(id.clone()).or_insert(manifest);
        // The server ended before its recorder did; what the recorder finished meanwhile is in storage.
        if !whole && has_segments && !state.active.contains_key(&id) {
            state.write(&id, Write::Final);
        }
        found += 1;
    }
    tracing::debug!(found, "recordings in storage");
    Ok(())
}

/// A recorder finished a part of a recording that we do not know. If it lies in storage, the recording is ours: its
/// manifest was lost, or another server began it.
async fn adopt_unknown(app: &App) {
    let unknown = std::mem::take(&mut app.recordings.state().unknown);
    for segment in unknown {
        let key = format!("{}/segments/{}.json", segment.folder, segment.recorder);
        if let Ok(Some(_)) = app.store.head(&key).await {
            let mut state = app.recordings.state();
            if !state.deleted.contains(&segment.recording) {
                state.adopt(&segment);
            }
        }
    }
}

/// A recorder went on storing what was deleted: that goes, too, its files before what tells of them.
async fn delete_unwanted(app: &App) {
    let unwanted = std::mem::take(&mut app.recordings.state().unwanted);
    for segment in unwanted {
        let files = segment.files.iter().map(|file| file.name.clone());
        for name in files.chain([format!("segments/{}.json", segment.recorder)]) {
            let key = format!("{}/{name}", segment.folder);
            if let Err(error) = app.store.delete(&key).await {
                // It is told again on the recorder's next link.
                tracing::warn!(key, %error, "what was deleted came back and cannot be deleted");
            }
        }
    }
}

/// Writes some at a time, those that are over first. `true`: something has to be tried again.
async fn write_all(app: &App, writes: BTreeMap<RecordingId, Write>) -> bool {
    let mut writes: Vec<_> = writes.into_iter().collect();
    writes.sort_by_key(|(_, write)| std::cmp::Reverse(*write));
    let written = futures_util::stream::iter(writes).map(|(id, write)| write_one(app, id, write));
    let failed = written.buffer_unordered(AT_ONCE).filter(|failed| std::future::ready(*failed)).count().await;
    failed > 0
}

/// Writes a manifest; `true`: it has to be tried again.
async fn write_one(app: &App, id: RecordingId, write: Write) -> bool {
    let Some(mut manifest) = app.recordings.get(&id) else { return false };
    let written = match write {
        Write::Manifest => {
            manifest.timeline = timeline::merge(&manifest.segments);
            put(&app.store, &manifest).await
        }
        Write::Final => compose(&app.store, &mut manifest).await,
    };
    if written.is_ok() && app.recordings.get(&id).is_none() {
        // It was deleted meanwhile. Should this fail, it can be deleted again after the next start.
        let _ = app.store.delete(&format!("{}/{MANIFEST}", manifest.folder)).await;
        return false;
    }
    let mut state = app.recordings.state();
    match written {
        Ok(()) if write == Write::Final => finished(app, &mut state, manifest),
        Ok(()) => {}
        Err(error) => {
            tracing::warn!(recording = %id, %error, "a manifest cannot be written; trying again");
            state.write(&id, write);
            return true;
        }
    }
    false
}

fn finished(app: &App, state: &mut State, manifest: Manifest) {
    // A part may have come in meanwhile; it noted another write, which will compose again.
    let known = state.manifests.get(&manifest.id).filter(|_| !state.active.contains_key(&manifest.id));
    let Some(known) = known.map(|manifest| manifest.state) else { return };
    let (id, now, files) = (manifest.id.clone(), manifest.state, manifest.files().count());
    let why = manifest.error.clone().unwrap_or_default();
    state.manifests.insert(id.clone(), manifest);
    if now == RecordingState::Ready {
        tracing::info!(recording = %id, files, "ready");
        news::say(app, state, &id, Event::Ready);
    } else if known != RecordingState::Failed {
        tracing::warn!(recording = %id, why, "a recording failed");
        app.metrics.recordings_failed.inc();
        news::say(app, state, &id, Event::Failed);
    }
}

async fn put(store: &Store, manifest: &Manifest) -> Result<(), Error> {
    let key = format!("{}/{MANIFEST}", manifest.folder);
    let bytes = serde_json::to_vec_pretty(manifest)
        .map_err(|error| Error::Refused { what: format!("write {key}"), why: error.to_string() })?;
    store.put(&key, Bytes::from(bytes), ContentType::JSON).await
}

/// Takes the segments as the recorders wrote them: they are what survives both binaries. What a recorder only told of is no
/// part of the recording: it never came to storage.
async fn compose(store: &Store, manifest: &mut Manifest) -> Result<(), Error> {
    let prefix = format!("{}/segments/", manifest.folder);
    let told = std::mem::take(&mut manifest.segments);
    for object in store.list(&prefix).await? {
        let segment: RecorderSegment = match serde_json::from_slice(&store.get(&object.key).await?) {
            Ok(segment) => segment,
            Err(error) => {
                tracing::warn!(key = object.key, %error, "a segment cannot be read");
                let is_its = |told: &&RecorderSegment| object.key == format!("{prefix}{}.json", told.recorder);
                manifest.segments.extend(told.iter().find(is_its).cloned());
                continue;
            }
        };
        // A copy under another name would count twice.
        if manifest.segments.iter().all(|known| known.recorder != segment.recorder) {
            manifest.segments.push(segment);
        }
    }
    manifest.segments.sort_by(|a, b| a.recorder.cmp(&b.recorder));
    manifest.timeline = timeline::merge(&manifest.segments);
    let last = manifest.segments.iter().filter_map(|segment| segment.ended_ms).max();
    manifest.ended_ms = manifest.ended_ms.or_else(|| last.map(|ms| manifest.started_ms + ms));
    let lost: Vec<_> = manifest.segments.iter().filter_map(|segment| segment.error.as_deref()).collect();
    let lost = (!lost.is_empty()).then(|| lost.join("; "));
    if manifest.files().next().is_some() {
        manifest.state = RecordingState::Ready;
        // One recorder may have failed where another one went on.
        manifest.error = lost;
    } else {
        manifest.state = RecordingState::Failed;
        manifest.error = lost.or(manifest.error.take()).or_else(|| Some("no recorder stored anything".into()));
    }
    put(store, manifest).await
}
