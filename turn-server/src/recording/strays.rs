//! What writers left in storage that will never come back, such as a recorder whose spool is lost: unfinished uploads, which
//! nobody sees and everybody pays for.

use std::time::{Duration, SystemTime};

use service::storage::{Error, Store, is_key};

use super::state::is_over;
use crate::app::App;

/// How often we look for them.
const EVERY: Duration = Duration::from_secs(3600);

/// An upload that was begun so long ago has no writer any more. One that has is begun anew by it, and loses nothing.
const AGE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What a file's name says of what is in it.
const KINDS: [&str; 5] = ["av", "screen", "mic", "camera", "screen_audio"];

/// Ends what is too old, until the process ends.
pub(super) async fn run(app: &App) {
    loop {
        let going_on: Vec<String> = {
            let state = app.recordings.state();
            let going_on = state.manifests.values().filter(|manifest| !is_over(manifest.state));
            going_on.map(|manifest| format!("{}/", manifest.folder)).collect()
        };
        let is_live = |key: &str| going_on.iter().any(|folder| key.starts_with(folder));
        match end_old(&app.store, SystemTime::now(), is_live).await {
            Ok(0) => {}
            Ok(ended) => tracing::info!(ended, "uploads that nobody finishes are given up"),
            // Not every server can list them, nor may every key; and what is away now is there in an hour.
            Err(error) => tracing::debug!(%error, "unfinished uploads"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Whether a recorder of ours may have begun this upload: a bucket may be shared, and what others upload is theirs.
fn is_ours(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    let stem = name.strip_suffix(".webm").or_else(|| name.strip_suffix(".mkv"));
    let Some((rest, number)) = stem.and_then(|stem| stem.rsplit_once('-')) else { return false };
    let kind = rest.rsplit_once('-').map(|(_, kind)| kind);
    is_key(key) && number.parse::<u32>().is_ok() && kind.is_some_and(|kind| KINDS.contains(&kind))
}

/// Ends uploads of ours that are too old, but for those that `is_live` says go on; how many.
async fn end_old(store: &Store, now: SystemTime, is_live: impl Fn(&str) -> bool) -> Result<usize, Error> {
    store.sweep(AGE).await?;
    let mut ended = 0;
    for upload in store.list_uploads("").await? {
        let age = upload.begun.and_then(|begun| now.duration_since(begun).ok());
        if age.is_some_and(|age| age >= AGE) && is_ours(&upload.key) && !is_live(&upload.key) {
            match store.abort_upload(&upload.key, &upload.id).await {
                Ok(()) => ended += 1,
                Err(error @ Error::Unavailable { .. }) => return Err(error),
                // It may be finished or gone meanwhile; others need not be.
                Err(error) => tracing::debug!(key = upload.key, %error, "an unfinished upload"),
            }
        }
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use service::storage::{ContentType, StorageConfig, StorageKind};

    use super::*;

    #[tokio::test]
    async fn only_uploads_of_ours_that_are_old_and_nobodys_are_ended() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = StorageConfig { kind: StorageKind::Disk, path: folder.path().into(), ..StorageConfig::default() };
        let store = Store::open(&config).expect("opens");
        for key in ["r1/old/p1-av-1.webm", "r1/live/p1-av-1.webm", "backups/2026-11-30.tar", "r1/old/holiday.webm"] {
            store.create_upload(key, ContentType::WEBM).await.expect("begins");
        }
        let is_live = |key: &str| key.starts_with("r1/live/");
        let begun = SystemTime::now();
        assert_eq!(end_old(&store, begun + AGE / 2, is_live).await.expect("lists"), 0);
        assert_eq!(end_old(&store, begun + AGE + EVERY, is_live).await.expect("lists"), 1);
        let left = store.list_uploads("").await.expect("lists");
        let mut left: Vec<_> = left.into_iter().map(|upload| upload.key).collect();
        left.sort();
        assert_eq!(left, ["backups/2026-11-30.tar", "r1/live/p1-av-1.webm", "r1/old/holiday.webm"]);
    }

    #[test]
    fn names_tell_what_is_ours() {
        for ours in ["p1-av-0.webm", "a/b/p12-screen_audio-3600000.mkv", "x/p-1-mic-2.webm", "p1-camera-1.webm"] {
            assert!(is_ours(ours), "{ours}");
        }
        for theirs in
            ["p1-av-1.mp4", "av-1.webm", "p1-av-x.webm", "p1-video-1.webm", "a b/p1-av-1.webm", "", "segments/a.json"]
        {
            assert!(!is_ours(theirs), "{theirs}");
        }
    }
}
