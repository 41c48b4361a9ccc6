//! What is known of recorders and recordings. Plain data; decisions are in `jobs`, storage is in `keeper`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use signalling::code::{Code, Refusal};
use signalling::link::ToRecorder;
use signalling::message::RecordingState;
use signalling::recording::{Happening, Manifest, Moment, Progress, RecordedFile, RecorderSegment, RecordingOptions};
use signalling::{RecorderId, RecordingId, RoomName};
use tokio::sync::{Notify, mpsc};

use super::deleted::Deleted;
use super::writes::{Write, Writes};

/// Parts of unknown recordings that may wait for the keeper.
const MAX_UNKNOWN: usize = 1024;

/// How long a recording waits for any recorder before it is given up, and for those who have a part of it before it is finished
/// without them.
pub(super) const ORPHAN: Duration = Duration::from_secs(60);

/// How long a recorder that refused a job for now is not asked again, unless it says that it takes some.
const REFUSES_FOR: Duration = Duration::from_secs(5);

/// A recorder that ends a recording by itself so soon after it was given it would do so again.
const SOON: Duration = Duration::from_secs(10);

/// How long a recorder that was given a recording may say nothing about it: the job was lost on a link that died.
const CONFIRM_WITHIN: Duration = Duration::from_secs(10);

/// How long a recorder may take to come back before another one gets its rooms.
const GRACE: Duration = Duration::from_secs(1);

/// A recorder reports every second, but for the eleven that it may take to begin. One whose link lives on in such silence hangs:
/// on its disk, say.
const SILENCE: Duration = Duration::from_secs(20);

/// How long what a recorder has is waited for if it says nothing of it. It tells of an upload every second, and nothing
/// while it repairs a large file.
const HELD: Duration = Duration::from_secs(15 * 60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Every recording, over ones too.
    pub(super) manifests: BTreeMap<RecordingId, Manifest>,
    /// Recordings that are not over: live, or still being finished by a recorder.
    pub(super) active: BTreeMap<RecordingId, Active>,
    /// Connected recorders.
    pub(super) recorders: BTreeMap<RecorderId, Recorder>,
    /// What the keeper has to write.
    pub(super) writes: Writes,
    /// Tells it when there is more.
    pub(super) noted: Arc<Notify>,
    /// Parts of recordings that nobody here knows.
    pub(super) unknown: Vec<RecorderSegment>,
    /// What waits for somebody who has more of it, and when it is finished of what storage has all the same.
    pub(super) left: BTreeMap<RecordingId, Instant>,
    /// How it stands on recorders that finish what a former run of this server began.
    pub(super) late: BTreeMap<RecordingId, BTreeMap<RecorderId, Progress>>,
    /// Recordings that were deleted, as far as parts of them may still come.
    pub(super) deleted: Deleted,
    /// Parts of them that came.
    pub(super) unwanted: Vec<RecorderSegment>,
    /// Tells the keeper when parts of either kind came.
    pub(super) came: Arc<Notify>,
    /// Rooms whose automatic recording failed, and when to try again.
    pub(super) wait: BTreeMap<RoomName, Instant>,
    /// Tells a recorder's links apart.
    pub(super) next_link: u64,
}

/// A connected recorder.
#[derive(Debug)]
pub(super) struct Recorder {
    /// Which of its links this is.
    pub(super) link: u64,
    /// Rooms that it would take now, as it said.
    pub(super) capacity: u32,
    /// When it last refused a job that it could take at another time.
    pub(super) refused: Option<Instant>,
    /// Recordings that it has and did not finish, and when it spoke of each last.
    pub(super) held: BTreeMap<RecordingId, Instant>,
    /// To it.
    pub(super) sender: mpsc::Sender<ToRecorder>,
}

/// A recording that is not over.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) room: RoomName,
    pub(super) options: RecordingOptions,
    pub(super) since: Instant,
    /// When its end was asked for, if it was.
    pub(super) stop_asked: Option<Instant>,
    /// Who records it now.
    pub(super) recorder: Option<RecorderId>,
    /// When it was given to `recorder`.
    pub(super) assigned: Instant,
    /// When `recorder` last said anything of it, or got the chance to.
    pub(super) heard: Instant,
    /// Who was given it last.
    pub(super) last: Option<RecorderId>,
    /// On which of its links.
    pub(super) link: u64,
    /// Whether it had nothing of it to finish then.
    pub(super) fresh: bool,
    /// Whether `recorder` said since then that it works on it. Until then its reports may be of an earlier run.
    pub(super) confirmed: bool,
    /// How often it was given to anybody.
    pub(super) assignments: u32,
    /// The identity that whoever was given it last may have in the room; none once that recorder has ended.
    pub(super) identity: Option<String>,
    /// Since when `recorder` is not connected.
    pub(super) lost: Option<Instant>,
    /// Since when nobody is known to record.
    pub(super) orphan: Option<Instant>,
    /// Since when nobody is connected of those who have to finish a part.
    pub(super) alone: Option<Instant>,
    /// Whether it is to be paused; its manifest says whether it is.
    pub(super) paused: bool,
    /// What webhooks were told last: `recording` or `paused`.
    pub(super) told: Option<RecordingState>,
    /// How it stands on each recorder that had it.
    pub(super) progress: BTreeMap<RecorderId, Progress>,
    /// The same of what they had written when they were given it once more: from then on they tell of what they write anew.
    pub(super) earlier: BTreeMap<RecorderId, Progress>,
    /// When its manifest was written last.
    pub(super) written: Instant,
    /// Who failed with it and is not asked again.
    pub(super) failed: BTreeSet<RecorderId>,
    /// Who ended it soon and by itself: how many times in a row, and when last.
    pub(super) early: BTreeMap<RecorderId, (u32, Instant)>,
    /// Who had the job and has not finished its part.
    pub(super) unfinished: BTreeSet<RecorderId>,
}

impl Recorder {
    /// Rooms that it is believed to take.
    pub(super) fn free(&self, now: Instant) -> u32 {
        let refuses = self.refused.is_some_and(|refused| now.saturating_duration_since(refused) < REFUSES_FOR);
        if refuses { 0 } else { self.capacity }
    }

    /// Whether it has a part of a recording that it did not finish. Who says nothing of it any more hangs, and is not waited
    /// for without end.
    pub(super) fn holds(&self, id: &RecordingId, now: Instant) -> bool {
        self.held.get(id).is_some_and(|spoke| now.saturating_duration_since(*spoke) < HELD)
    }
}

impl Active {
    /// A new recording.
    pub(super) fn new(room: RoomName, options: RecordingOptions, now: Instant) -> Self {
        Self {
            room,
            options,
            since: now,
            stop_asked: None,
            recorder: None,
            assigned: now,
            heard: now,
            last: None,
            link: 0,
            fresh: true,
            confirmed: false,
            assignments: 0,
            identity: None,
            lost: None,
            orphan: Some(now),
            alone: None,
            paused: false,
            told: None,
            progress: BTreeMap::new(),
            earlier: BTreeMap::new(),
            written: now,
            failed: BTreeSet::new(),
            early: BTreeMap::new(),
            unfinished: BTreeSet::new(),
        }
    }

    /// Its recorder has said this of it.
    pub(super) fn confirm(&mut self, said: RecordingState) {
        self.confirmed = true;
        if said.is_live() {
            self.lost = None;
        }
        // Who only begins, again and again, records nothing.
        if matches!(said, RecordingState::Recording | RecordingState::Paused) {
            self.orphan = None;
        }
    }

    /// Nobody has it from now on.
    pub(super) fn take_away(&mut self, now: Instant) {
        self.recorder = None;
        self.lost.get_or_insert(now);
        self.orphan.get_or_insert(now);
    }

    /// Takes it away from a recorder that is gone, never spoke of it, or hangs. Returns one that is connected and says
    /// nothing.
    pub(super) fn take_from_lost(&mut self, now: Instant) -> Option<RecorderId> {
        let recorder = self.recorder.clone()?;
        let since = |at: Instant| now.saturating_duration_since(at);
        let unheard = !self.confirmed && since(self.assigned) >= CONFIRM_WITHIN;
        let lost = match self.lost {
            Some(lost) => unheard || since(lost) >= GRACE,
            None => unheard || since(self.heard) >= SILENCE,
        };
        if !lost {
            return None;
        }
        let hangs = self.lost.is_none();
        if hangs {
            tracing::warn!(%recorder, room = %self.room, "a recorder says nothing of what it is to record");
            self.note_early(&recorder, now);
        }
        self.take_away(now);
        hangs.then_some(recorder)
    }

    /// How long it may still go on; `None`: as long as it wants.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        let limit = Duration::from_secs(self.options.max_duration_s);
        (!limit.is_zero()).then(|| limit.saturating_sub(now.saturating_duration_since(self.since)))
    }

    /// Whether nobody records it for so long that it is over.
    pub(super) fn is_orphaned(&self, now: Instant) -> bool {
        self.orphan.is_some_and(|since| now.saturating_duration_since(since) >= ORPHAN)
    }

    /// Its recorder ended it by itself, on this link.
    pub(super) fn note_end(&mut self, recorder: &RecorderId, link: u64, now: Instant) {
        // One that crashed and is back goes on at once.
        if self.link != link || now.saturating_duration_since(self.assigned) >= SOON {
            self.early.remove(recorder);
            return;
        }
        self.note_early(recorder, now);
    }

    /// It would do so again.
    fn note_early(&mut self, recorder: &RecorderId, now: Instant) {
        let (times, at) = self.early.entry(recorder.clone()).or_insert((0, now));
        (*times, *at) = (times.saturating_add(1), now);
    }

    /// Whether a recorder may be given it: it did not fail with it, and is not about to end it again. Each time in a row it has
    /// twice as long to come to itself, so that what never works is an orphan at last.
    pub(super) fn may_ask(&self, recorder: &RecorderId, now: Instant) -> bool {
        let rests = self.early.get(recorder).is_some_and(|(times, at)| {
            now.saturating_duration_since(*at) < REFUSES_FOR.saturating_mul(1 << (times - 1).min(8))
        });
        !rests && !self.failed.contains(recorder)
    }

    /// A connected recorder that never spoke of its job does not have it, so it has no part to finish. `true`: so it is.
    pub(super) fn forget_unheard(
        &mut self,
        id: &RecordingId,
        recorders: &mut BTreeMap<RecorderId, Recorder>,
        now: Instant,
    ) -> bool {
        let late = now.saturating_duration_since(self.assigned) >= CONFIRM_WITHIN;
        let Some(recorder) = self.recorder.as_ref().filter(|_| late && self.fresh && !self.confirmed) else {
            return false;
        };
        let Some(known) = recorders.get_mut(recorder) else { return false };
        known.held.remove(id);
        self.unfinished.remove(recorder)
    }

    /// Whether those who have to finish their parts are away or silent for so long that it is finished without them.
    pub(super) fn is_abandoned(
        &mut self,
        id: &RecordingId,
        recorders: &BTreeMap<RecorderId, Recorder>,
        now: Instant,
    ) -> bool {
        let holds = |recorder| recorders.get(recorder).is_some_and(|known: &Recorder| known.holds(id, now));
        if self.unfinished.iter().any(holds) {
            self.alone = None;
            return false;
        }
        now.saturating_duration_since(*self.alone.get_or_insert(now)) >= ORPHAN
    }

    /// How it stands on all recorders together, in all their runs. Whoever had it before records nobody any more.
    pub(super) fn progress(&self) -> Progress {
        let live = self.recorder.as_ref().and_then(|recorder| self.progress.get(recorder));
        let participants = live.map_or(0, |progress| progress.participants);
        Progress { participants, ..sum(self.progress.values().chain(self.earlier.values())) }
    }

    /// A recorder is given it. What it wrote of it before stays written.
    pub(super) fn begin_run(&mut self, recorder: &RecorderId) {
        if let Some(before) = self.progress.remove(recorder) {
            let earlier = self.earlier.entry(recorder.clone()).or_default();
            *earlier = sum([&*earlier, &before]);
        }
    }

    /// A recorder has stored everything that it had of it.
    pub(super) fn all_stored(&mut self, recorder: &RecorderId) {
        for progress in self.progress.get_mut(recorder).into_iter().chain(self.earlier.get_mut(recorder)) {
            progress.stored = progress.bytes;
        }
    }
}

/// Figures of several recorders, but for who is recorded now.
fn sum<'a>(each: impl IntoIterator<Item = &'a Progress>) -> Progress {
    let mut sum = Progress::default();
    for one in each {
        sum.bytes = sum.bytes.saturating_add(one.bytes);
        sum.stored = sum.stored.saturating_add(one.stored);
        sum.packets = sum.packets.saturating_add(one.packets);
        sum.lost = sum.lost.saturating_add(one.lost);
        sum.key_frames_asked = sum.key_frames_asked.saturating_add(one.key_frames_asked);
    }
    sum
}

/// Whether nothing more comes of a recording.
pub(super) fn is_over(state: RecordingState) -> bool {
    matches!(state, RecordingState::Ready | RecordingState::Failed)
}

impl State {
    /// Puts a recorder's part into a recording's manifest. While the recording is not over, that is written now and then.
    pub(super) fn put_segment(&mut self, segment: RecorderSegment) {
        let id = segment.recording.clone();
        let Some(manifest) = self.manifests.get_mut(&id) else { return };
        let run = |segment: &RecorderSegment| (segment.recorder.clone(), segment.run);
        match manifest.segments.iter_mut().find(|known| run(known) == run(&segment)) {
            Some(known) if is_same(known, &segment) => return,
            // Recorders keep their timelines to storage; what one said of it before is better than nothing until then.
            Some(known) if segment.timeline.is_empty() => {
                let timeline = std::mem::take(&mut known.timeline);
                *known = RecorderSegment { timeline, ..segment };
            }
            Some(known) => *known = segment,
            None => manifest.segments.push(segment),
        }
        if !self.active.contains_key(&id) {
            self.write(&id, Write::Manifest);
        }
    }

    /// Takes a finished part of a recording that is over. Recorders tell it again on every link, so most is old news;
    /// what this server never heard of counts only if it lies in storage, or what was deleted would come back.
    pub(super) fn take_late(&mut self, segment: RecorderSegment) {
        if self.deleted.contains(&segment.recording) {
            if self.unwanted.len() < MAX_UNKNOWN {
                self.unwanted.push(segment);
                self.came.notify_one();
            }
            return;
        }
        match self.manifests.get(&segment.recording) {
            Some(manifest)
                if manifest.segments.iter().any(|known| is_same(known, &segment))
                    && manifest.state == RecordingState::Ready => {}
            Some(_) => {
                let id = segment.recording.clone();
                self.put_segment(segment);
                self.write(&id, Write::Final);
            }
            None if self.unknown.len() < MAX_UNKNOWN => {
                self.unknown.push(segment);
                self.came.notify_one();
            }
            None => {}
        }
    }

    /// Takes out what is to be deleted: from here on nobody writes of it again. With it comes the write that was due.
    ///
    /// # Errors
    /// [`Code::RecordingNotFound`], [`Code::AlreadyRecording`].
    pub(super) fn take_out(&mut self, id: &RecordingId) -> Result<(Manifest, Option<Write>), Refusal> {
        let not_found = || Refusal::new(Code::RecordingNotFound, format!("there is no recording {id}"));
        let over = self.manifests.get(id).map(|manifest| is_over(manifest.state)).ok_or_else(not_found)?;
        let refuse = |why: &str| Err(Refusal::new(Code::AlreadyRecording, why));
        if self.active.contains_key(id) {
            return refuse("it is on or being finished: stop it and wait until it is ready");
        }
        if !over && self.is_held(id, Instant::now()) {
            return refuse("a recorder is finishing it: wait until it is ready");
        }
        let manifest = self.manifests.remove(id).ok_or_else(not_found)?;
        self.deleted.begin(id);
        self.late.remove(id);
        Ok((manifest, self.writes.forget(id)))
    }

    /// It could not be deleted, and is as it was. A write that was under way may have taken its manifest for one of what is gone.
    pub(super) fn put_back(&mut self, manifest: Manifest, noted: Option<Write>) {
        let id = manifest.id.clone();
        self.deleted.take_back(&id);
        self.manifests.insert(id.clone(), manifest);
        self.write(&id, noted.unwrap_or(Write::Final));
    }

    /// How what a former run of this server began stands on a recorder that finishes it.
    pub(super) fn follow(
        &mut self,
        id: &RecordingId,
        recorder: &RecorderId,
        now: RecordingState,
        progress: Option<Progress>,
    ) {
        let Some(manifest) = self.manifests.get_mut(id).filter(|manifest| !is_over(manifest.state)) else { return };
        if now == RecordingState::Uploading && manifest.state != now {
            manifest.state = now;
            self.write(id, Write::Manifest);
        }
        if let Some(progress) = progress {
            self.late.entry(id.clone()).or_default().insert(recorder.clone(), progress);
        }
    }

    /// How a recording that is not over stands on all its recorders together.
    pub(super) fn progress(&self, id: &RecordingId) -> Option<Progress> {
        let active = self.active.get(id).map(Active::progress);
        active.or_else(|| self.late.get(id).map(|each| sum(each.values())))
    }

    /// Whether a connected recorder has a part of a recording that it did not finish.
    pub(super) fn is_held(&self, id: &RecordingId, now: Instant) -> bool {
        self.recorders.values().any(|recorder| recorder.holds(id, now))
    }

    /// Whether a connected recorder has more of what is to be finished. It says when storage has that, too; if it never does,
    /// this is looked at again.
    pub(super) fn wait_for_holder(&mut self, id: &RecordingId, now: Instant) -> bool {
        let waits = self.is_held(id, now);
        if waits {
            self.left.insert(id.clone(), now + ORPHAN);
        }
        waits
    }

    /// Notes what nobody brought more of in time.
    pub(super) fn finish_left(&mut self, now: Instant) {
        let due: Vec<_> = self.left.extract_if(.., |_, at| *at <= now).map(|(id, _)| id).collect();
        due.iter().for_each(|id| self.finish(id));
    }

    /// Notes that what is not over yet is what storage has of it.
    pub(super) fn finish(&mut self, id: &RecordingId) {
        if self.manifests.get(id).is_some_and(|manifest| !is_over(manifest.state)) {
            self.write(id, Write::Final);
        }
    }

    /// Recordings that nobody will finish: a former run of this server began them, and no recorder has any of them.
    pub(super) fn left_over(&self, now: Instant) -> Vec<RecordingId> {
        let ids = self.manifests.iter().filter(|(_, manifest)| !is_over(manifest.state)).map(|(id, _)| id);
        ids.filter(|id| !self.active.contains_key(*id) && !self.is_held(id, now)).cloned().collect()
    }

    /// Makes the recording that a part belongs to known.
    pub(super) fn adopt(&mut self, segment: &RecorderSegment) {
        let id = segment.recording.clone();
        self.manifests.entry(id.clone()).or_insert_with(|| Manifest {
            v: signalling::recording::MANIFEST_VERSION,
            id: id.clone(),
            room: segment.room.clone(),
            room_id: segment.room_id.clone(),
            folder: segment.folder.clone(),
            options: RecordingOptions::default(),
            keep_days: None,
            state: RecordingState::Uploading,
            started_ms: segment.started_ms,
            ended_ms: None,
            segments: Vec::new(),
            timeline: Vec::new(),
            error: None,
        });
        self.write(&id, Write::Final);
    }

    /// Notes a write; the larger one wins.
    pub(super) fn write(&mut self, id: &RecordingId, write: Write) {
        self.writes.note(id, write);
        self.noted.notify_one();
    }

    /// The connected recorder with the most room, of those that may be asked.
    pub(super) fn choose(&self, now: Instant, may_ask: impl Fn(&RecorderId) -> bool) -> Option<RecorderId> {
        let able = self.recorders.iter().filter(|(id, recorder)| recorder.free(now) > 0 && may_ask(id));
        able.max_by_key(|(_, recorder)| recorder.free(now)).map(|(id, _)| id.clone())
    }

    /// The recording of a room that is on.
    ///
    /// # Errors
    /// [`Code::NotRecording`].
    pub(super) fn live_in(&self, room: &RoomName) -> Result<RecordingId, Refusal> {
        let live = self.active.iter().find(|(_, active)| active.room == *room && active.stop_asked.is_none());
        let id = live.map(|(id, _)| id.clone());
        id.ok_or_else(|| Refusal::new(Code::NotRecording, format!("{room} is not being recorded")))
    }

    /// Says something to a recorder; one that does not listen will be found dead by its link.
    pub(super) fn say(&self, recorder: &RecorderId, message: ToRecorder) -> bool {
        self.recorders.get(recorder).is_some_and(|recorder| recorder.sender.try_send(message).is_ok())
    }
}

/// Leaves of a recording that is over what is shown of it: what happened in the room and to its files lies in storage, and is
/// read by nobody here but for who came.
pub(super) fn slim(manifest: &mut Manifest) {
    manifest.timeline = Vec::new();
    for segment in &mut manifest.segments {
        segment.timeline.retain(is_join);
        segment.timeline.shrink_to_fit();
        segment.files.iter_mut().for_each(slim_file);
    }
}

/// A file that is complete is told by its digest: nothing that is left out here changes without it.
fn slim_file(file: &mut RecordedFile) {
    if !file.sha256_parts.is_empty() {
        (file.gaps, file.resolutions, file.tracks) = Default::default();
    }
}

fn is_join(moment: &Moment) -> bool {
    matches!(moment.what, Happening::Join { .. })
}

/// Whether a recorder says again what is known: its timeline it may leave out, and here only a part of it may be left.
fn is_same(known: &RecorderSegment, said: &RecorderSegment) -> bool {
    let joins: Vec<_> = said.timeline.iter().filter(|moment| is_join(moment)).cloned().collect();
    let timeline = if said.timeline.is_empty() || joins == known.timeline {
        said.timeline.clone()
    } else {
        known.timeline.clone()
    };
    let bare = |segment: &RecorderSegment, timeline| {
        let mut files = segment.files.clone();
        files.iter_mut().for_each(slim_file);
        RecorderSegment { timeline, files, ..segment.clone() }
    };
    bare(known, timeline) == bare(said, said.timeline.clone())
}

#[cfg(test)]
mod tests;
