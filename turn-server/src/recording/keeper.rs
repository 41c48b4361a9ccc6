//! Manifests in storage: read once at start, written whenever a recording changes, composed of the segments at its end.
//!
//! Storage may be away for a while: everything is tried again until it worked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use service::storage::{ContentType, Error, Store};
use signalling::RecordingId;
use signalling::message::RecordingState;
use signalling::recording::{Manifest, RecorderSegment};

use super::state::{State, Write};
use crate::app::App;

/// How often we look for something to write.
const EVERY: Duration = Duration::from_millis(200);

/// How long we wait after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// The file name of a manifest.
const MANIFEST: &str = "recording.json";

/// Reads what is in storage, then writes what changes, until the process ends.
pub(super) async fn run(app: Arc<App>) {
    while let Err(error) = load(&app).await {
        tracing::warn!(%error, "the recordings in storage cannot be listed; trying again");
        tokio::time::sleep(RETRY).await;
    }
    loop {
        adopt_unknown(&app).await;
        let writes = std::mem::take(&mut app.recordings.state().writes);
        let failed = write_all(&app, writes).await;
        tokio::time::sleep(if failed { RETRY } else { EVERY }).await;
    }
}

async fn load(app: &App) -> Result<(), Error> {
    let objects = app.store.list("").await?;
    let mut found = 0;
    for object in objects.iter().filter(|object| object.key.ends_with(&format!("/{MANIFEST}"))) {
        let manifest: Manifest = match serde_json::from_slice(&app.store.get(&object.key).await?) {
            Ok(manifest) => manifest,
            Err(error) => {
                tracing::warn!(key = object.key, %error, "a manifest cannot be read");
                continue;
            }
        };
        let id = manifest.id.clone();
        let whole = matches!(manifest.state, RecordingState::Ready | RecordingState::Failed);
        let segments = format!("{}/segments/", manifest.folder);
        let has_segments = objects.iter().any(|object| object.key.starts_with(&segments));
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
            app.recordings.state().adopt(&segment);
        }
    }
}

async fn write_all(app: &App, writes: BTreeMap<RecordingId, Write>) -> bool {
    let mut failed = false;
    for (id, write) in writes {
        let Some(mut manifest) = app.recordings.get(&id) else { continue };
        let written = match write {
            Write::Manifest => put(&app.store, &manifest).await,
            Write::Final => compose(&app.store, &mut manifest).await,
        };
        let mut state = app.recordings.state();
        match written {
            Ok(()) if write == Write::Final => finished(&mut state, manifest),
            Ok(()) => {}
            Err(error) => {
                tracing::warn!(recording = %id, %error, "a manifest cannot be written; trying again");
                state.write(&id, write);
                failed = true;
            }
        }
    }
    failed
}

fn finished(state: &mut State, manifest: Manifest) {
    // A part may have come in meanwhile; it noted another write, which will compose again.
    if !state.active.contains_key(&manifest.id) && state.manifests.contains_key(&manifest.id) {
        tracing::info!(recording = %manifest.id, files = manifest.files().count(), "ready");
        state.manifests.insert(manifest.id.clone(), manifest);
    }
}

async fn put(store: &Store, manifest: &Manifest) -> Result<(), Error> {
    let key = format!("{}/{MANIFEST}", manifest.folder);
    let bytes = serde_json::to_vec_pretty(manifest)
        .map_err(|error| Error::Refused { what: format!("write {key}"), why: error.to_string() })?;
    store.put(&key, Bytes::from(bytes), ContentType::JSON).await
}

/// Takes the segments as the recorders wrote them: they are what survives both binaries.
async fn compose(store: &Store, manifest: &mut Manifest) -> Result<(), Error> {
    let prefix = format!("{}/segments/", manifest.folder);
    for object in store.list(&prefix).await? {
        let segment: RecorderSegment = match serde_json::from_slice(&store.get(&object.key).await?) {
            Ok(segment) => segment,
            Err(error) => {
                tracing::warn!(key = object.key, %error, "a segment cannot be read");
                continue;
            }
        };
        match manifest.segments.iter_mut().find(|known| known.recorder == segment.recorder) {
            Some(known) => *known = segment,
            None => manifest.segments.push(segment),
        }
    }
    manifest.segments.sort_by(|a, b| a.recorder.cmp(&b.recorder));
    manifest.timeline = manifest.segments.iter().flat_map(|segment| segment.timeline.iter().cloned()).collect();
    manifest.timeline.sort_by_key(|moment| moment.t);
    let last = manifest.segments.iter().filter_map(|segment| segment.ended_ms).max();
    manifest.ended_ms = manifest.ended_ms.or_else(|| last.map(|ms| manifest.started_ms + ms));
    manifest.state = RecordingState::Ready;
    put(store, manifest).await
}
