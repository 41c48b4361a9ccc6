//! Who is recorded: a task each, and the tracks that each has. A task that breaks down is noticed here; what is told to one,
//! and what becomes of its room, is not decided here.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use signalling::id::{ParticipantId, TrackId};
use signalling::message::Track;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};

use crate::participant::Command;

/// A participant that is recorded.
struct Live {
    task: Id,
    commands: mpsc::UnboundedSender<Command>,
    tracks: BTreeMap<TrackId, Track>,
}

/// A task that broke down, of somebody who is still to be recorded.
#[derive(Debug)]
pub(super) struct Broken {
    /// Whose it was.
    pub(super) participant: ParticipantId,
    /// What it recorded.
    pub(super) tracks: Vec<Track>,
    /// Why.
    pub(super) error: JoinError,
}

/// The participants of a recording and their tasks.
#[derive(Default)]
pub(super) struct Participants {
    live: BTreeMap<ParticipantId, Live>,
    tasks: JoinSet<()>,
    /// Whose each task is; some have left and are only being finished.
    owners: HashMap<Id, ParticipantId>,
}

impl Participants {
    /// Whether somebody is recorded.
    pub(super) fn contains(&self, id: &ParticipantId) -> bool {
        self.live.contains_key(id)
    }

    /// Begins somebody's task.
    pub(super) fn start<F>(&mut self, id: &ParticipantId, task: impl FnOnce(mpsc::UnboundedReceiver<Command>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (commands, receiver) = mpsc::unbounded_channel();
        let task = self.tasks.spawn(task(receiver)).id();
        self.owners.insert(task, id.clone());
        self.live.insert(id.clone(), Live { task, commands, tracks: BTreeMap::new() });
    }

    /// Tells somebody's task something.
    pub(super) fn command(&self, id: &ParticipantId, command: Command) {
        if let Some(live) = self.live.get(id) {
            // A task that broke down is found by `broken`.
            let _ = live.commands.send(command);
        }
    }

    /// Tells everybody's task something.
    pub(super) fn command_all(&self, command: impl Fn() -> Command) {
        self.live.keys().for_each(|id| self.command(id, command()));
    }

    /// A track came or changed, of somebody who is recorded.
    pub(super) fn handle_track(&mut self, track: Track, since: Instant) {
        let Some(live) = self.live.get_mut(&track.peer) else { return };
        live.tracks.insert(track.id.clone(), track.clone());
        let id = track.peer.clone();
        self.command(&id, Command::Track(track, since));
    }

    /// A track was muted or unmuted.
    pub(super) fn handle_mute(&mut self, id: &ParticipantId, track: TrackId, muted: bool, at: Instant) {
        let known = self.live.get_mut(id).and_then(|live| live.tracks.get_mut(&track));
        known.into_iter().for_each(|known| known.muted = muted);
        self.command(id, Command::Mute(track, muted, at));
    }

    /// A track ended.
    pub(super) fn handle_track_gone(&mut self, id: &ParticipantId, track: TrackId, at: Instant) {
        let live = self.live.get_mut(id);
        live.into_iter().for_each(|live| drop(live.tracks.remove(&track)));
        self.command(id, Command::TrackGone(track, at));
    }

    /// These are all the tracks that somebody has now.
    pub(super) fn handle_tracks(&mut self, id: &ParticipantId, tracks: &[Track], at: Instant) {
        let Some(live) = self.live.get(id) else { return };
        let is_here = |known: &TrackId| tracks.iter().any(|track| track.id == *known);
        let gone: Vec<_> = live.tracks.keys().filter(|known| !is_here(known)).cloned().collect();
        gone.into_iter().for_each(|track| self.handle_track_gone(id, track, at));
    }

    /// Somebody left: the task ends by itself, a moment later.
    pub(super) fn stop(&mut self, id: &ParticipantId, at: Instant) {
        self.command(id, Command::Stop(at));
        self.live.remove(id);
    }

    /// The same for all.
    pub(super) fn stop_all(&mut self, at: Instant) {
        self.command_all(|| Command::Stop(at));
        self.live.clear();
    }

    /// Forgets tasks that ended, until one broke down that somebody still needs. Cancel-safe; without tasks it waits for ever.
    pub(super) async fn broken(&mut self) -> Broken {
        loop {
            let Some(done) = self.tasks.join_next_with_id().await else { return std::future::pending().await };
            if let Some(broken) = self.handle_end(done) {
                return broken;
            }
        }
    }

    fn handle_end(&mut self, done: Result<(Id, ()), JoinError>) -> Option<Broken> {
        let task = done.as_ref().map_or_else(JoinError::id, |(task, ())| *task);
        let participant = self.owners.remove(&task)?;
        let error = done.err()?;
        if self.live.get(&participant).is_none_or(|live| live.task != task) {
            // What it did not finish is repaired when the recording ends.
            tracing::error!(%participant, %error, "a participant's task broke down at its end");
            return None;
        }
        let live = self.live.remove(&participant)?;
        Some(Broken { participant, tracks: live.tracks.into_values().collect(), error })
    }

    /// Waits until every task has ended.
    pub(super) async fn finish(&mut self) {
        while let Some(done) = self.tasks.join_next_with_id().await {
            self.handle_end(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use signalling::message::Source;

    use super::*;

    fn id(name: &str) -> ParticipantId {
        ParticipantId::parse(name).expect("an id")
    }

    fn track(name: &str, peer: &str) -> Track {
        Track {
            id: TrackId::parse(name).expect("an id"),
            peer: id(peer),
            src: Source::Mic,
            muted: false,
            muted_by_moderator: false,
            codec: None,
        }
    }

    /// A task as a participant's: it ends after a stop, and breaks down when told to pause.
    async fn task(mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            match commands.recv().await {
                Some(Command::Pause(_)) => panic!("as a bug would"),
                Some(Command::Stop(_)) | None => return,
                Some(_) => {}
            }
        }
    }

    #[tokio::test]
    async fn a_task_that_breaks_down_is_noticed_with_what_it_recorded() {
        let (mut people, now) = (Participants::default(), Instant::now());
        for name in ["p1", "p2"] {
            people.start(&id(name), task);
        }
        people.handle_track(track("t1", "p1"), now);
        people.handle_track(track("t2", "p1"), now);
        people.handle_track_gone(&id("p1"), track("t2", "p1").id, now);
        people.handle_mute(&id("p1"), track("t1", "p1").id, true, now);
        people.command(&id("p1"), Command::Pause(now));
        let broken = people.broken().await;
        assert_eq!((broken.participant, broken.error.is_panic()), (id("p1"), true));
        assert_eq!(broken.tracks, [Track { muted: true, ..track("t1", "p1") }]);
        assert!(!people.contains(&id("p1")) && people.contains(&id("p2")), "only that one is gone");
        people.stop_all(now);
        people.finish().await;
        assert!(people.owners.is_empty());
    }

    #[tokio::test]
    async fn nothing_piles_up_when_people_come_and_go() {
        let (mut people, now) = (Participants::default(), Instant::now());
        for n in 0..100 {
            let name = format!("p{n}");
            people.start(&id(&name), task);
            people.handle_track(track("t1", &name), now);
            // One that broke down after it had left is nobody's any more.
            people.command(&id(&name), if n == 50 { Command::Pause(now) } else { Command::Resume });
            people.stop(&id(&name), now);
        }
        while !people.tasks.is_empty() {
            assert!(people.broken().now_or_never().is_none());
            tokio::task::yield_now().await;
        }
        assert_eq!((people.live.len(), people.owners.len()), (0, 0));
    }
}
