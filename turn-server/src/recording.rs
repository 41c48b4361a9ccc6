//! Recordings from the server's side: who records what, what the participants see of it, and what is in storage.
//!
//! ```text
//! API, automatic -> start -> job to a recorder (link) -> its states -> manifest (keeper) -> storage
//!                             lost? another one            red light (hub)
//! ```
//! Media does not pass here: a recorder is a hidden participant of the room. Locks are taken in the order state, directory.

mod deleted;
mod folder;
mod jobs;
mod keeper;
pub(crate) mod link;
mod news;
mod options;
mod pause;
mod reports;
mod retention;
mod state;
mod strays;
mod view;
mod writes;

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use service::storage::Store;
use signalling::code::{Code, Refusal};
use signalling::recording::Manifest;
use signalling::{RecordingId, RoomName};

use crate::app::App;
use crate::webhooks::Event;
use deleted::Deleted;
pub(crate) use folder::{check as check_folder, safe_name};
pub(crate) use jobs::{start, stop_by_hand};
pub(crate) use options::Wanted;
pub(crate) use pause::set_paused;
use state::State;
pub(crate) use view::{FileView, RecordingView, code_of};

/// How often recordings are looked after when nothing happens.
const TICK: Duration = Duration::from_millis(250);

/// How long the answer of the storage to "are you there" is believed.
const HEALTH_FOR: Duration = Duration::from_secs(10);

/// How long the storage may take to say so.
const HEALTH_WITHIN: Duration = Duration::from_secs(3);

/// All recordings that this server knows of.
pub(crate) struct Recordings {
    state: Mutex<State>,
    health: tokio::sync::Mutex<Option<(Instant, Option<&'static str>)>>,
}

impl Recordings {
    /// None yet: storage is asked later. `state_dir` knows which ones were deleted.
    pub(crate) fn open(state_dir: &Path) -> Self {
        let deleted = Deleted::load(state_dir.join("deleted-recordings"));
        Self { state: Mutex::new(State { deleted, ..State::default() }), health: tokio::sync::Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connected recorders and the rooms that they would take.
    pub(crate) fn capacity(&self) -> (usize, u32) {
        let state = self.state();
        let capacity =
            state.recorders.values().map(|recorder| recorder.free(Instant::now())).fold(0, u32::saturating_add);
        (state.recorders.len(), capacity)
    }

    /// Recordings that are on.
    pub(crate) fn live(&self) -> usize {
        self.state().active.values().filter(|active| active.stop_asked.is_none()).count()
    }

    /// Whether anything is being recorded, finished or written.
    fn is_busy(&self) -> bool {
        let state = self.state();
        !state.active.is_empty() || !state.writes.is_empty()
    }

    /// The recording of a room while it is on.
    pub(crate) fn of_room(&self, room: &RoomName) -> Option<Manifest> {
        let state = self.state();
        let id = state.live_in(room).ok()?;
        state.manifests.get(&id).cloned()
    }

    /// A recording.
    pub(crate) fn get(&self, id: &RecordingId) -> Option<Manifest> {
        self.state().manifests.get(id).cloned()
    }

    /// What is wrong with the storage, if anything is, in words that anybody may read: the log has the story. Asked at most every
    /// ten seconds.
    pub(crate) async fn storage_error(&self, store: &Store) -> Option<&'static str> {
        let mut health = self.health.lock().await;
        if let Some((at, error)) = *health
            && at.elapsed() < HEALTH_FOR
        {
            return error;
        }
        let error = match tokio::time::timeout(HEALTH_WITHIN, store.list("health/")).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some((health_word(&error), error.to_string())),
            Err(_) => Some(("it does not answer", format!("no answer within {} s", HEALTH_WITHIN.as_secs()))),
        };
        let before = health.take().and_then(|(_, error)| error);
        let word = error.as_ref().map(|(word, _)| *word);
        if let Some((word, why)) = error.filter(|(word, _)| before != Some(*word)) {
            tracing::warn!(word, why, "the storage of recordings");
        }
        *health = Some((Instant::now(), word));
        word
    }
}

/// What is wrong with storage, in words that anybody may read.
pub(crate) fn health_word(error: &service::storage::Error) -> &'static str {
    match error {
        service::storage::Error::Unavailable { .. } => "it cannot be reached",
        service::storage::Error::Denied { .. } => "it does not let us in",
        _ => "it refuses",
    }
}

/// Looks after all recordings until the process ends.
pub(crate) async fn run(app: Arc<App>) {
    let keeper = async {
        let left = keeper::load(&app).await;
        tokio::join!(keeper::load_rest(&app, left), keeper::run(&app), retention::run(&app), strays::run(&app));
    };
    let watcher = async {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = app.hub.changed.notified() => {}
            }
            jobs::reconcile(&app);
        }
    };
    tokio::join!(keeper, watcher);
}

/// A recording as it is shown now, without links.
pub(crate) fn view(app: &App, manifest: &Manifest) -> RecordingView {
    news::view(app, &app.recordings.state(), manifest)
}

/// The recordings that are wanted, latest first, as they are shown now and without links: at most `limit`, of those that are older
/// than `before`.
pub(crate) fn list(
    app: &App,
    wanted: impl Fn(&Manifest) -> bool,
    before: Option<&RecordingId>,
    limit: usize,
) -> Vec<RecordingView> {
    let until = before.map_or(Bound::Unbounded, Bound::Excluded);
    let found: Vec<_> = {
        let state = app.recordings.state();
        // Ids begin with the time.
        let older = state.manifests.range::<RecordingId, _>((Bound::Unbounded, until)).rev();
        let wanted = older.filter(|(_, manifest)| wanted(manifest)).take(limit);
        wanted.map(|(id, manifest)| (manifest.clone(), state.progress(id))).collect()
    };
    // Reports wait for nobody who looks at a long list.
    found.into_iter().map(|(manifest, progress)| news::view_with(app, &manifest, progress)).collect()
}

/// Why a recording is not deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDeleted {
    /// [`Code::RecordingNotFound`], also while somebody else deletes it, [`Code::AlreadyRecording`] while it is on.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is there still, or a part of it.
    #[error(transparent)]
    Storage(#[from] service::storage::Error),
}

impl From<NotDeleted> for Refusal {
    fn from(why: NotDeleted) -> Self {
        match why {
            NotDeleted::Refused(refusal) => refusal,
            NotDeleted::Storage(error) => Self::new(Code::StorageUnavailable, error.to_string()),
        }
    }
}

/// Deletes a recording: media first, so that a failure leaves a manifest that can be deleted again.
///
/// # Errors
/// See [`NotDeleted`].
pub(crate) async fn remove(app: &App, id: &RecordingId) -> Result<(), NotDeleted> {
    let (manifest, noted) = app.recordings.state().take_out(id)?;
    let deleted = delete_objects(&app.store, &manifest.folder).await;
    let mut state = app.recordings.state();
    if let Err(error) = deleted {
        state.put_back(manifest, noted);
        return Err(error.into());
    }
    state.deleted.keep(id);
    if !app.config().webhooks.urls.is_empty() {
        app.webhooks.say(app, Event::Deleted, &news::view(app, &state, &manifest));
    }
    Ok(())
}

/// Deletes everything that lies in a recording's folder.
async fn delete_objects(store: &Store, folder: &str) -> Result<(), service::storage::Error> {
    let folder = format!("{folder}/");
    // A template may have put another recording below this one, and people whatever they like beside its files.
    let own = |key: &str| {
        let rest = key.strip_prefix(&folder).unwrap_or("/");
        let is_own = !rest.strip_prefix("segments/").unwrap_or(rest).contains('/');
        let is_ours = service::storage::is_key(key);
        if is_own && !is_ours {
            tracing::info!(key, "left where it is: no name of ours");
        }
        is_own && is_ours
    };
    match store.list_uploads(&folder).await {
        Ok(uploads) => {
            for upload in uploads.iter().filter(|upload| own(&upload.key)) {
                store.abort_upload(&upload.key, &upload.id).await?;
            }
        }
        Err(error @ service::storage::Error::Unavailable { .. }) => return Err(error),
        // Not every server can list them, nor may every key.
        Err(error) => tracing::debug!(folder, %error, "unfinished uploads"),
    }
    let objects = store.list(&folder).await?;
    let own = objects.iter().filter(|object| own(&object.key));
    let mut own: Vec<_> = own.map(|object| &object.key).collect();
    // The manifest last: as long as it is there, the rest can be deleted again.
    own.sort_by_key(|key| (key.ends_with(".json"), key.ends_with("/recording.json")));
    for key in own {
        store.delete(key).await?;
    }
    Ok(())
}

/// Stops every recording and waits until its recorder has finished it, or until `deadline`.
pub(crate) async fn drain(app: &App, deadline: Duration) {
    jobs::stop_all(app);
    let until = Instant::now() + deadline;
    while Instant::now() < until && app.recordings.is_busy() {
        tokio::time::sleep(TICK / 2).await;
    }
}
