//! A recording as the API, the page and webhooks show it: made of its manifest, of what its recorders said last, and of who is
//! in the room. Links to its files are laid in by the API.

use std::collections::BTreeMap;

use serde::Serialize;
use signalling::message::{RecordingState, Source};
use signalling::recording::{Happening, Manifest, Progress, RecordedFile, RecordingOptions};
use signalling::{Code, ParticipantId, RecordingId, RoomName};
use utoipa::ToSchema;

use super::state::is_over;

/// A recording.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct RecordingView {
    /// Its id.
    pub(crate) id: RecordingId,
    /// The room that is or was recorded.
    pub(crate) room: RoomName,
    /// How far it is.
    pub(crate) state: RecordingState,
    /// When it was switched on, milliseconds since 1970.
    pub(crate) started_ms: u64,
    /// When it was switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_ms: Option<u64>,
    /// From one to the other, or until now; pauses count.
    pub(crate) duration_ms: u64,
    /// Bytes of all its files that are complete.
    pub(crate) size: u64,
    /// How it was to be recorded.
    pub(crate) options: RecordingOptions,
    /// For how many days it is kept, 0: for ever; absent: as the server is configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) keep_days: Option<u32>,
    /// Where it lies in storage, below the prefix.
    pub(crate) folder: String,
    /// Why it failed, if it did; of one that is ready, which files could not be stored. For who may not moderate only the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// Who was in the room meanwhile.
    pub(crate) participants: Vec<PersonView>,
    /// How it stands, until it is ready or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<ProgressView>,
    /// Its files; while it runs, those that are known.
    pub(crate) files: Vec<FileView>,
}

/// A participant of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct PersonView {
    /// Its id.
    pub(crate) id: ParticipantId,
    /// The name shown.
    pub(crate) name: String,
}

/// How a recording stands that is not ready, over all its recorders. A second old at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct ProgressView {
    /// Bytes that were written.
    pub(crate) bytes: u64,
    /// Bytes of them that storage has.
    pub(crate) stored: u64,
    /// How much of it storage has, 0 to 100; only once nothing more is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) percent: Option<u8>,
    /// Participants that are recorded now.
    pub(crate) participants: u32,
    /// Packets that came.
    pub(crate) packets: u64,
    /// Packets that never came.
    pub(crate) lost: u64,
    /// Key frames that were asked for.
    pub(crate) key_frames_asked: u64,
}

/// A file of a recording.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FileView {
    /// Its name.
    pub(crate) name: String,
    /// Bytes; 0 while it grows.
    pub(crate) size: u64,
    /// `webm` or `mkv`.
    pub(crate) container: String,
    /// Codecs by RTP name.
    pub(crate) codecs: Vec<String>,
    /// Whose media it is.
    pub(crate) participant: ParticipantId,
    /// The name shown at the time.
    pub(crate) participant_name: String,
    /// What is in it.
    pub(crate) sources: Vec<Source>,
    /// Where it begins on the recording's clock, milliseconds.
    pub(crate) start_ms: u64,
    /// Where it ends.
    pub(crate) end_ms: u64,
    /// A link that needs no header and works for a while; only in `GET /v1/recordings/{id}`, once the recording is ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
}

impl RecordingView {
    /// `progress` is what its recorders said last, if it is not over; `present` who is in its room now; `now_ms` since 1970.
    pub(crate) fn new(manifest: &Manifest, progress: Option<Progress>, present: Vec<PersonView>, now_ms: u64) -> Self {
        let state = manifest.state;
        let until = manifest.ended_ms.unwrap_or_else(|| if state.is_live() { now_ms } else { last_known(manifest) });
        Self {
            id: manifest.id.clone(),
            room: manifest.room.clone(),
            state,
            started_ms: manifest.started_ms,
            ended_ms: manifest.ended_ms,
            duration_ms: until.saturating_sub(manifest.started_ms),
            size: manifest.files().map(|file| file.size).sum(),
            options: manifest.options.clone(),
            keep_days: manifest.keep_days,
            folder: manifest.folder.clone(),
            error: manifest.error.clone(),
            participants: people(manifest, present),
            progress: (!is_over(state)).then(|| ProgressView::new(progress.unwrap_or_default(), state)),
            files: manifest.files().map(FileView::from).collect(),
        }
    }
}

/// What of an error is nobody's secret: its code. What follows names hosts and paths.
pub(crate) fn code_of(error: &str) -> Code {
    let code = error.split(':').next().unwrap_or_default();
    serde_json::from_value(code.into()).unwrap_or(Code::RecordingFailed)
}

/// The last moment of which its recorders told, milliseconds since 1970: what nobody switched off has no other end.
fn last_known(manifest: &Manifest) -> u64 {
    let ended = manifest.segments.iter().filter_map(|segment| segment.ended_ms);
    manifest.started_ms + ended.chain(manifest.files().map(|file| file.end_ms)).max().unwrap_or(0)
}

/// Everybody whose media there is or who is known to have been there, by id.
fn people(manifest: &Manifest, present: Vec<PersonView>) -> Vec<PersonView> {
    let mut people = BTreeMap::new();
    let joined =
        manifest.segments.iter().flat_map(|segment| &segment.timeline).filter_map(|moment| match &moment.what {
            Happening::Join { participant, name } => Some((participant.clone(), name.clone())),
            _ => None,
        });
    let recorded = manifest.files().map(|file| (file.participant.clone(), file.participant_name.clone()));
    let present = present.into_iter().map(|person| (person.id, person.name));
    for (id, name) in joined.chain(recorded).chain(present) {
        let known: &mut String = people.entry(id).or_default();
        if known.is_empty() {
            *known = name;
        }
    }
    people.into_iter().map(|(id, name)| PersonView { id, name }).collect()
}

impl ProgressView {
    fn new(progress: Progress, state: RecordingState) -> Self {
        let Progress { bytes, stored, participants, packets, lost, key_frames_asked } = progress;
        // While it grows, a share of it would mean nothing.
        let percent = (!state.is_live()).then(|| share(stored, bytes));
        Self { bytes, stored, percent, participants, packets, lost, key_frames_asked }
    }
}

fn share(stored: u64, bytes: u64) -> u8 {
    let percent = u128::from(stored.min(bytes)) * 100 / u128::from(bytes.max(1));
    u8::try_from(percent).unwrap_or(100)
}

impl From<&RecordedFile> for FileView {
    fn from(file: &RecordedFile) -> Self {
        Self {
            name: file.name.clone(),
            size: file.size,
            container: file.container.clone(),
            codecs: file.codecs.clone(),
            participant: file.participant.clone(),
            participant_name: file.participant_name.clone(),
            sources: file.sources.clone(),
            start_ms: file.start_ms,
            end_ms: file.end_ms,
            url: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(state: RecordingState, ended_ms: Option<u64>) -> Manifest {
        Manifest {
            v: signalling::recording::MANIFEST_VERSION,
            id: RecordingId::parse("r1").expect("an id"),
            room: RoomName::parse("demo").expect("a name"),
            room_id: "abc".into(),
            folder: "abc/r1".into(),
            options: RecordingOptions::default(),
            keep_days: None,
            state,
            started_ms: 1_000,
            ended_ms,
            segments: Vec::new(),
            timeline: Vec::new(),
            error: None,
        }
    }

    #[test]
    fn the_share_is_shown_once_nothing_more_is_written() {
        let said = Progress { bytes: 3_000, stored: 1_000, ..Progress::default() };
        for (state, stored, percent) in [
            (RecordingState::Recording, 1_000, None),
            (RecordingState::Finalising, 0, Some(0)),
            (RecordingState::Uploading, 1_000, Some(33)),
            (RecordingState::Uploading, 9_000, Some(100)),
        ] {
            let view = RecordingView::new(&manifest(state, None), Some(Progress { stored, ..said }), Vec::new(), 5_000);
            assert_eq!(view.progress.expect("it is not ready").percent, percent, "{state:?}");
        }
        assert_eq!(share(0, 0), 0);
        assert_eq!(share(u64::MAX, u64::MAX), 100);
        let ready = RecordingView::new(&manifest(RecordingState::Ready, Some(3_000)), Some(said), Vec::new(), 5_000);
        assert_eq!((ready.progress, ready.duration_ms), (None, 2_000));
    }

    #[test]
    fn an_error_has_a_code() {
        for (error, code) in [
            ("storage_unavailable: the spool: no room in /var/lib/tern", Code::StorageUnavailable),
            ("draining", Code::Draining),
            ("p1-av-1.webm: storage holds other bytes", Code::RecordingFailed),
            ("no recorder stored anything", Code::RecordingFailed),
        ] {
            assert_eq!(code_of(error), code, "{error}");
        }
    }

    #[test]
    fn time_runs_until_the_end() {
        let live = RecordingView::new(&manifest(RecordingState::Paused, None), None, Vec::new(), 5_000);
        assert_eq!(live.duration_ms, 4_000);
        let stopped = RecordingView::new(&manifest(RecordingState::Uploading, Some(2_500)), None, Vec::new(), 5_000);
        assert_eq!(stopped.duration_ms, 1_500);
        // A former run of the server began it, and nobody saw its end.
        let left = RecordingView::new(&manifest(RecordingState::Finalising, None), None, Vec::new(), 5_000);
        assert_eq!(left.duration_ms, 0);
    }

    #[test]
    fn everybody_is_named_once() {
        let person =
            |id: &str, name: &str| PersonView { id: ParticipantId::parse(id).expect("an id"), name: name.into() };
        let present = vec![person("p2", "Bob"), person("p1", "Ada"), person("p2", "Robert")];
        let view = RecordingView::new(&manifest(RecordingState::Recording, None), None, present, 0);
        assert_eq!(view.participants, [person("p1", "Ada"), person("p2", "Bob")]);
    }
}
