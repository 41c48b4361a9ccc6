//! Manifests in storage: read once at start, written whenever a recording changes, composed of the segments at its end, deleted
//! when their time is over.
//!
//! Storage may be away for a while: everything is tried again until it worked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt as _;
use service::storage::{ContentType, Error, Store};
use signalling::RecordingId;
use signalling::message::RecordingState;
use signalling::recording::{Manifest, RecorderSegment};
use signalling::timeline;
use tokio::task::JoinSet;

use super::news;
use super::state::{ORPHAN, State, is_over, slim};
use super::writes::Write;
use crate::app::App;
use crate::webhooks::Event;

/// How long we wait after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// How long we wait at most before what cannot be read is tried again.
const LONGEST_RETRY: Duration = Duration::from_secs(3600);

/// Manifests read or written at once.
const AT_ONCE: usize = 16;

/// The file name of a manifest.
const MANIFEST: &str = "recording.json";

/// A manifest in storage.
pub(super) struct Found {
    key: String,
    /// Whether recorders have stored parts beside it.
    has_segments: bool,
}

/// Reads what is in storage, however long it takes to list it. Whatever the template was when they were made, recordings are
/// found by their manifests: everything below the prefix is listed, and only those are read. Returns those that could not be.
pub(super) async fn load(app: &App) -> Vec<Found> {
    let objects = loop {
        match app.store.list("").await {
            Ok(objects) => break objects,
            Err(error) => tracing::warn!(%error, "the recordings in storage cannot be listed; trying again"),
        }
        tokio::time::sleep(RETRY).await;
    };
    let found = objects.iter().filter_map(|object| {
        let folder = object.key.strip_suffix(MANIFEST).filter(|folder| folder.ends_with('/'))?;
        let segments = format!("{folder}segments/");
        // The list is in order.
        let first = objects.partition_point(|object| object.key < segments);
        let has_segments = objects.get(first).is_some_and(|object| object.key.starts_with(&segments));
        Some(Found { key: object.key.clone(), has_segments })
    });
    let found: Vec<_> = found.collect();
    tracing::debug!(found = found.len(), "recordings in storage");
    read(app, found).await
}

/// Tries again to read what could not be read, less and less often.
pub(super) async fn load_rest(app: &App, mut left: Vec<Found>) {
    let mut pause = RETRY;
    while !left.is_empty() {
        tokio::time::sleep(pause).await;
        left = read(app, left).await;
        pause = (pause * 2).min(LONGEST_RETRY);
    }
}

/// Reads some at a time; returns those for which later may help.
async fn read(app: &App, found: Vec<Found>) -> Vec<Found> {
    let mut left = Vec::new();
    let mut read = futures_util::stream::iter(found)
        .map(|found| async move {
            let bytes = app.store.get(&found.key).await;
            (found, bytes)
        })
        .buffer_unordered(AT_ONCE);
    while let Some((found, bytes)) = read.next().await {
        let key = &found.key;
        match bytes {
            Ok(bytes) => match manifest(key, &bytes) {
                Ok(manifest) if app.recordings.state().deleted.contains(&manifest.id) => {
                    // It was being written when it was deleted, and came last; or somebody put it back.
                    tracing::info!(key, "deleted once more: it was deleted before");
                    if let Err(error) = app.store.delete(key).await {
                        tracing::warn!(key, %error, "what was deleted came back and cannot be deleted");
                    }
                }
                Ok(manifest) => take(app, manifest, found.has_segments),
                Err(why) => tracing::warn!(key, why, "no manifest of ours"),
            },
            Err(error @ (Error::Unavailable { .. } | Error::Denied { .. })) => {
                tracing::warn!(key, %error, "a manifest cannot be read; trying again");
                left.push(found);
            }
            Err(error) => tracing::warn!(key, %error, "a manifest cannot be read"),
        }
    }
    left
}

/// A manifest that lies where it says. Others are copies, and what is deleted by them would be something else.
fn manifest(key: &str, bytes: &[u8]) -> Result<Manifest, String> {
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let folder = key.strip_suffix(MANIFEST).and_then(|folder| folder.strip_suffix('/'));
    if folder != Some(&manifest.folder) {
        return Err(format!("it says that it lies in {:?}", manifest.folder));
    }
    Ok(manifest)
}

fn take(app: &App, mut manifest: Manifest, has_segments: bool) {
    let mut state = app.recordings.state();
    let id = manifest.id.clone();
    if state.manifests.contains_key(&id) || state.deleted.contains(&id) {
        return;
    }
    if is_over(manifest.state) {
        slim(&mut manifest);
    } else if has_segments {
        // The server ended before its recorder did. What the recorder finished meanwhile is in storage; others may have more.
        state.left.insert(id.clone(), Instant::now() + ORPHAN);
    }
    let was_live = manifest.state.is_live();
    if was_live {
        // Nobody records what a former run of this server began.
        manifest.state = RecordingState::Finalising;
        state.write(&id, Write::Manifest);
    }
    state.manifests.insert(id.clone(), manifest);
    if was_live {
        news::say(app, &state, &id, Event::Stopped);
    }
}

/// Writes what changes, until the process ends.
pub(super) async fn run(app: &Arc<App>) {
    let parts = async {
        let came = app.recordings.state().came.clone();
        loop {
            let left = adopt_unknown(app).await | delete_unwanted(app).await;
            let retry = async {
                match left {
                    true => tokio::time::sleep(RETRY).await,
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                () = came.notified() => {}
                () = retry => {}
            }
        }
    };
    tokio::join!(parts, write(app));
}

/// Writes manifests, some at a time: one that hangs or fails is no reason for others to wait.
async fn write(app: &Arc<App>) {
    let mut writes = JoinSet::new();
    let noted = app.recordings.state().noted.clone();
    let due = || app.recordings.state().writes.poll(Instant::now());
    loop {
        while writes.len() < AT_ONCE
            && let Some((id, write)) = due()
        {
            let app = app.clone();
            writes.spawn(async move {
                let failed = write_one(&app, &id, write).await;
                app.recordings.state().writes.handle_ended(&id, failed.then_some(write), Instant::now());
            });
        }
        let retry = app.recordings.state().writes.poll_timeout().filter(|_| writes.len() < AT_ONCE);
        let retry = async {
            match retry {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = noted.notified() => {}
            () = retry => {}
            Some(_) = writes.join_next() => {}
        }
    }
}

/// A recorder finished a part of a recording that we do not know. If it lies in storage, the recording is ours: its
/// manifest could not be read yet, was lost, or another server began it. `true`: storage did not say of all.
async fn adopt_unknown(app: &App) -> bool {
    let unknown = std::mem::take(&mut app.recordings.state().unknown);
    let mut left = Vec::new();
    for segment in unknown {
        if let Err(error) = adopt(app, &segment).await {
            tracing::debug!(recording = %segment.recording, %error, "whose part this is cannot be read; trying again");
            left.push(segment);
        }
    }
    let again = !left.is_empty();
    app.recordings.state().unknown.extend(left);
    again
}

async fn adopt(app: &App, segment: &RecorderSegment) -> Result<(), Error> {
    match app.store.head(&segment.key()).await {
        Ok(Some(_)) => {}
        // Also what is denied: whoever may list the bucket, as this server must, is told of what is not there.
        Err(error @ (Error::Unavailable { .. } | Error::Denied { .. })) => return Err(error),
        Ok(None) | Err(_) => return Ok(()),
    }
    let key = format!("{}/{MANIFEST}", segment.folder);
    // What it was started with is known from there only.
    let known = match app.store.get(&key).await {
        Ok(bytes) => manifest(&key, &bytes).inspect_err(|why| tracing::warn!(key, why, "no manifest of ours")).ok(),
        Err(Error::NotFound(_)) => None,
        Err(error) => return Err(error),
    };
    if let Some(manifest) = known.filter(|manifest| manifest.id == segment.recording) {
        take(app, manifest, true);
    }
    let mut state = app.recordings.state();
    if state.manifests.contains_key(&segment.recording) || state.deleted.contains(&segment.recording) {
        state.take_late(segment.clone());
    } else {
        state.adopt(segment);
    }
    Ok(())
}

/// A recorder went on storing what was deleted: that goes, too, and so does what its other runs stored before. `true`: not
/// all went.
async fn delete_unwanted(app: &App) -> bool {
    let unwanted = std::mem::take(&mut app.recordings.state().unwanted);
    let mut left = Vec::new();
    // It says itself where it lies; a folder that ends with its id is nobody else's.
    let its = |segment: &RecorderSegment| segment.folder.rsplit('/').next() == Some(segment.recording.as_str());
    for segment in unwanted.into_iter().filter(its) {
        let is_deleted = app.recordings.state().deleted.contains(&segment.recording);
        if !is_deleted {
            // It could not be, and was put back.
            app.recordings.state().take_late(segment);
        } else if let Err(error) = super::delete_objects(&app.store, &segment.folder).await {
            tracing::warn!(folder = segment.folder, %error, "what was deleted came back and cannot be deleted yet");
            left.push(segment);
        }
    }
    let again = !left.is_empty();
    app.recordings.state().unwanted.extend(left);
    again
}

/// Writes a manifest; `true`: it has to be tried again.
async fn write_one(app: &App, id: &RecordingId, write: Write) -> bool {
    if write == Write::Final && app.recordings.state().wait_for_holder(id, Instant::now()) {
        return false;
    }
    let Some(mut manifest) = app.recordings.get(id) else { return false };
    let written = match write {
        Write::Manifest => {
            manifest.timeline = timeline::merge(&manifest.segments);
            put(&app.store, &manifest).await
        }
        Write::Final => compose(&app.store, &mut manifest).await,
    };
    if written.is_ok() && app.recordings.get(id).is_none() {
        // It was deleted meanwhile. Should this fail, the next start does it.
        let _ = app.store.delete(&format!("{}/{MANIFEST}", manifest.folder)).await;
        return false;
    }
    let mut state = app.recordings.state();
    match written {
        Ok(()) if write == Write::Final => finished(app, &mut state, manifest),
        Ok(()) => {}
        Err(error) => {
            tracing::warn!(recording = %id, %error, "a manifest cannot be written; trying again");
            return true;
        }
    }
    false
}

fn finished(app: &App, state: &mut State, mut manifest: Manifest) {
    // A part may have come in meanwhile; it noted another write, which will compose again.
    let known = state.manifests.get(&manifest.id).filter(|_| !state.active.contains_key(&manifest.id));
    let Some(known) = known else { return };
    slim(&mut manifest);
    let (before, is_same) = (known.state, known.state == manifest.state && known.segments == manifest.segments);
    let (id, now, files) = (manifest.id.clone(), manifest.state, manifest.files().count());
    let why = manifest.error.clone().unwrap_or_default();
    state.manifests.insert(id.clone(), manifest);
    state.late.remove(&id);
    if now == RecordingState::Ready {
        // Composed once more after a deletion that failed: nobody has to hear that.
        if is_same {
            return;
        }
        tracing::info!(recording = %id, files, "ready");
        news::say(app, state, &id, Event::Ready);
    } else if before != RecordingState::Failed {
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
    let told = std::mem::take(&mut manifest.segments);
    let objects = store.list(&format!("{}/segments/", manifest.folder)).await?;
    let mut read = futures_util::stream::iter(objects)
        .map(|object| async move {
            let bytes = store.get(&object.key).await;
            (object.key, bytes)
        })
        .buffered(AT_ONCE);
    while let Some((key, bytes)) = read.next().await {
        let read = match bytes {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| error.to_string()),
            Err(error @ (Error::Unavailable { .. } | Error::Denied { .. })) => return Err(error),
            Err(error) => Err(error.to_string()),
        };
        let segment: RecorderSegment = match read {
            Ok(segment) => segment,
            Err(why) => {
                tracing::warn!(key, why, "a segment cannot be read");
                manifest.segments.extend(told.iter().find(|told| told.key() == key).cloned());
                continue;
            }
        };
        // A copy under another name would count twice.
        let run = |segment: &RecorderSegment| (segment.recorder.clone(), segment.run);
        if manifest.segments.iter().all(|known| run(known) != run(&segment)) {
            manifest.segments.push(segment);
        }
    }
    manifest.segments.sort_by(|a, b| (&a.recorder, a.run).cmp(&(&b.recorder, b.run)));
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
