//! All recordings of this recorder and the link that orders them. One task owns the list.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use service::storage::is_key;
use session::journal::{self, Job};
use signalling::code::Code;
use signalling::id::RecordingId;
use signalling::link::{FromRecorder, ToRecorder};
use signalling::message::RecordingState;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::RecorderConfig;
use crate::link::Linked;
use crate::load::{self, Load};
use crate::recording::{Assignment, Context, Order, Recording, Start, Status, Statuses, number};
use crate::spool;

/// How long a stop waits for recordings of which all is stored and told, and the next start repeats what is left to do.
const CLEARING: Duration = Duration::from_secs(3);
/// How often the disk and the load are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Finished recordings whose end is told again on a new link.
const REMEMBERED: usize = 256;
/// So often a recording whose task breaks down is taken up again; after that it is left to the next start.
const BREAKS: u32 = 3;
/// And so long after it: its participants' tasks end meanwhile.
const BREAK: Duration = Duration::from_secs(1);

struct Running {
    recording: RecordingId,
    orders: Option<mpsc::UnboundedSender<Order>>,
    last: Option<Status>,
    /// How often its task broke down.
    breaks: u32,
}

/// How the disk of the spool stands.
struct Disk {
    free: std::io::Result<u64>,
    /// What could not be set aside is missing to end files.
    reserve_is_gone: bool,
}

/// The list of recordings.
pub(crate) struct Manager {
    context: Context,
    config: RecorderConfig,
    running: BTreeMap<String, Running>,
    ended: Vec<Status>,
    tasks: JoinSet<()>,
    /// The folder of each task.
    folders: HashMap<Id, String>,
    /// A look at the disk, which may be slow.
    looking: JoinSet<Disk>,
    statuses: Statuses,
    heard: mpsc::UnboundedReceiver<(String, Status)>,
    say: mpsc::Sender<FromRecorder>,
    /// What the server was told last; `None`: it is to be told again.
    capacity_told: Option<u32>,
    load: Load,
    overloaded: bool,
    disk_full: bool,
    stopping: bool,
}

impl Manager {
    /// A manager without recordings; `say` leads to the link.
    pub(crate) fn new(context: Context, config: RecorderConfig, say: mpsc::Sender<FromRecorder>) -> Self {
        let (statuses, heard) = mpsc::unbounded_channel();
        Self {
            context,
            config,
            running: BTreeMap::new(),
            ended: Vec::new(),
            tasks: JoinSet::new(),
            folders: HashMap::new(),
            looking: JoinSet::new(),
            statuses,
            heard,
            say,
            capacity_told: None,
            load: Load::of_this_process(),
            overloaded: false,
            disk_full: false,
            stopping: false,
        }
    }

    /// Takes up everything that lies in the spool. Returns how many recordings that are, and how many cannot be read.
    ///
    /// # Errors
    /// What the disk says about the spool itself.
    pub(crate) fn recover(&mut self) -> std::io::Result<(usize, usize)> {
        self.context.spool.sweep()?;
        let folders = self.context.spool.folders()?;
        if !folders.is_empty() {
            self.context.spool.release();
        }
        let mut unreadable = 0;
        for folder in &folders {
            match Recording::reopen(self.context.clone(), folder.clone(), self.statuses.clone()) {
                Ok(recording) => {
                    tracing::info!(recording = %recording.id(), "taking up what a former run left");
                    self.insert(folder, recording.id().clone(), None);
                    self.spawn(folder, recording.recover());
                }
                Err(error) => {
                    unreadable += 1;
                    tracing::error!(folder, %error, "the spool holds a recording that cannot be read");
                }
            }
        }
        Ok((folders.len() - unreadable, unreadable))
    }

    /// Waits until everything that was taken up is in storage.
    pub(crate) async fn finish(mut self) -> Vec<Status> {
        while let Some(done) = self.tasks.join_next_with_id().await {
            self.handle_end(done);
        }
        self.handle_statuses();
        self.ended
    }

    /// Works until `shutdown`, then ends all recordings; uploads that do not fit into the time for it are left to the next
    /// start.
    ///
    /// # Errors
    /// The link's task broke down: nobody would give orders any more, not even to stop.
    pub(crate) async fn run(
        mut self,
        mut link: mpsc::Receiver<Linked>,
        shutdown: CancellationToken,
    ) -> Result<(), crate::Error> {
        let mut look = tokio::time::interval(LOOK);
        let mut deadline = std::pin::pin!(tokio::time::sleep(Duration::MAX / 4));
        loop {
            self.context.metrics.set_recordings(self.running.len());
            self.tell_capacity();
            tokio::select! {
                linked = link.recv() => match linked {
                    Some(linked) => self.handle_link(linked),
                    None => return Err(crate::Error::BrokeDown("link")),
                },
                status = self.heard.recv() => if let Some((folder, status)) = status {
                    self.handle_status(&folder, status);
                },
                Some(done) = self.tasks.join_next_with_id() => self.handle_end(done),
                Some(Ok(disk)) = self.looking.join_next() => self.handle_disk(disk),
                _ = look.tick() => {
                    self.look_at_disk();
                    self.look_at_load(Instant::now(), load::cpu_time());
                }
                () = shutdown.cancelled(), if !self.stopping => {
                    self.stopping = true;
                    self.order_all(Order::Stop);
                    let time = Duration::from_secs(self.config.stop_timeout_s);
                    deadline.set(tokio::time::sleep(time));
                }
                () = &mut deadline => {
                    tracing::warn!(left = self.tasks.len(), "stopping; the next start goes on with what is left");
                    return Ok(());
                }
            }
            if self.stopping && self.running.is_empty() {
                if self.tasks.is_empty() {
                    return Ok(());
                }
                let soon = tokio::time::Instant::now() + CLEARING;
                let earlier = soon.min(deadline.deadline());
                deadline.as_mut().reset(earlier);
            }
        }
    }

    fn insert(&mut self, folder: &str, recording: RecordingId, orders: Option<mpsc::UnboundedSender<Order>>) {
        self.running.insert(folder.to_owned(), Running { recording, orders, last: None, breaks: 0 });
    }

    fn spawn(&mut self, folder: &str, recording: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(recording);
        self.folders.insert(task.id(), folder.to_owned());
    }

    fn handle_link(&mut self, linked: Linked) {
        match linked {
            Linked::Up => {
                self.context.metrics.set_linked(true);
                self.hello();
            }
            Linked::Down => self.context.metrics.set_linked(false),
            Linked::Said(said, at) => self.handle_said(*said, at),
        }
    }

    fn hello(&mut self) {
        let capacity = self.capacity();
        self.capacity_told = Some(capacity);
        let mut recordings: Vec<_> = self.running.values().map(|running| running.recording.clone()).collect();
        recordings.extend(self.ended.iter().map(|status| status.recording.clone()));
        recordings.sort();
        recordings.dedup();
        self.say(FromRecorder::Hello { v: 1, recorder: self.context.recorder.clone(), capacity, recordings });
        let ended = self.ended.iter().filter(|status| !self.is_running(&status.recording));
        // Of several runs of a recording the one that goes on counts: the server would take the others' end for its own.
        let told = self.running.values().filter(|running| running.is_live() || !self.is_live(&running.recording));
        let running = told.filter_map(|running| running.last.as_ref());
        let all: Vec<_> = ended.chain(running).cloned().collect();
        all.into_iter().for_each(|status| self.say_status(status));
    }

    fn handle_said(&mut self, said: ToRecorder, at: Instant) {
        match said {
            ToRecorder::Welcome { v } => tracing::info!(v, "linked to the server"),
            ToRecorder::Job {
                recording,
                room,
                room_id,
                folder,
                token,
                started_ms,
                age_ms,
                again,
                paused,
                ends_in_ms,
                options,
            } => {
                let recorder = self.context.recorder.clone();
                let zero = zero(started_ms, age_ms, at);
                let run = if again { number(zero.elapsed()) } else { 0 };
                let job =
                    Job { v: journal::VERSION, recorder, recording, room, room_id, folder, started_ms, run, options };
                let ends_in = ends_in_ms.map(Duration::from_millis);
                let start = Start { token, zero, paused, ends_in };
                self.handle_job(Assignment { job, start });
            }
            ToRecorder::Stop { recording } | ToRecorder::Unknown { recording } => self.order(&recording, Order::Stop),
            ToRecorder::Pause { recording } => self.order(&recording, Order::Pause),
            ToRecorder::Resume { recording } => self.order(&recording, Order::Resume),
            ToRecorder::Refused { code, msg } => tracing::warn!(%code, msg, "the server refused a message"),
        }
    }

    fn handle_job(&mut self, Assignment { job, start }: Assignment) {
        // The server counts a room as taken with every job; what does not take one is to be told.
        self.capacity_told = None;
        let id = job.recording.clone();
        let live = self.running.values().find(|running| running.recording == id && running.is_live());
        if let Some(live) = live {
            // Given again after a lost link: it never stopped.
            if let Some(status) = live.last.clone() {
                self.say_status(status);
            }
            return;
        }
        let refusal = if self.stopping {
            Some((Code::Draining, "the recorder is stopping"))
        } else if self.disk_full {
            Some((Code::StorageUnavailable, "the recorder's disk is full"))
        } else if job.room_id.is_empty() || !job.room_id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            Some((Code::BadRequest, "room_id must be [a-z0-9]+"))
        } else if !is_folder(&job.folder, &id) {
            Some((Code::BadRequest, "folder must be a path of names that ends with the recording's id"))
        } else if self.free_rooms() == 0 {
            // Not `capacity`: a load that rose since the server looked is no reason to lose a recording.
            Some((Code::NoRecorder, "the recorder is full"))
        } else {
            None
        };
        match refusal {
            None => {
                // Whoever works on a folder to its end ends the run of that name then.
                let taken = |name: &str| self.folders.values().any(|folder| folder == name);
                let folder = self.context.spool.new_folder(&id, taken);
                let (orders, receiver) = mpsc::unbounded_channel();
                self.insert(&folder, id, Some(orders));
                self.spawn(
                    &folder,
                    begin(self.context.clone(), folder.clone(), job, start, receiver, self.statuses.clone()),
                );
            }
            Some((code, why)) => {
                tracing::warn!(recording = %id, %code, why, "job refused");
                // Before the refusal: what is said of capacity after one tells the server to try again.
                self.tell_capacity();
                self.say_status(Status::failed(id, code, why.to_owned()));
            }
        }
    }

    fn order(&mut self, recording: &RecordingId, order: Order) {
        let mut found = false;
        for running in self.running.values().filter(|running| running.recording == *recording) {
            found = true;
            if let Some(orders) = &running.orders {
                let _ = orders.send(order);
            }
        }
        // Whoever stops what has ended missed its end.
        let ended = self.ended.iter().find(|status| status.recording == *recording).cloned();
        if let Some(status) = ended.filter(|_| !found) {
            self.say_status(status);
        }
    }

    fn order_all(&mut self, order: Order) {
        for orders in self.running.values().filter_map(|running| running.orders.as_ref()) {
            let _ = orders.send(order);
        }
    }

    /// A recording's task has ended, well or not.
    fn handle_end(&mut self, done: Result<(Id, ()), JoinError>) {
        self.handle_statuses();
        let id = done.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
        let Some(folder) = self.folders.remove(&id) else { return };
        let Err(error) = done else {
            self.running.remove(&folder);
            return;
        };
        let Some(running) = self.running.get_mut(&folder) else { return };
        tracing::error!(recording = %running.recording, %error, "a recording's task broke down");
        self.context.metrics.broke_down();
        running.breaks += 1;
        running.orders = None;
        let (again, id) = (running.breaks <= BREAKS, running.recording.clone());
        let failed = Status::failed(id.clone(), Code::Internal, "the recorder broke down".into());
        if again {
            self.spawn(&folder, take_up(self.context.clone(), folder.clone(), id, self.statuses.clone()));
            // Somebody else goes on with the room at once.
            self.handle_status(&folder, Status { state: RecordingState::Finalising, failure: None, ..failed });
        } else {
            self.handle_status(&folder, failed);
        }
    }

    fn handle_statuses(&mut self) {
        while let Ok((folder, status)) = self.heard.try_recv() {
            self.handle_status(&folder, status);
        }
    }

    fn handle_status(&mut self, folder: &str, status: Status) {
        let ended = matches!(status.state, RecordingState::Ready | RecordingState::Failed);
        // Nobody else tells the server that it has to give the job to another recorder.
        let refused = status.state == RecordingState::Failed && self.running.get(folder).is_some_and(Running::is_live);
        if ended {
            self.running.remove(folder);
            // Before its end, as with every refusal.
            self.tell_capacity();
        } else if let Some(running) = self.running.get_mut(folder) {
            // Figures alone leave what was told before as it was.
            let before = running.last.take().and_then(|last| last.segment);
            let now = status.clone();
            running.last = Some(Status { segment: now.segment.or(before), ..now });
        }
        // While another run of the same recording goes on, its state is the recording's.
        let other = self.running.iter().any(|(name, running)| {
            name != folder && running.recording == status.recording && (running.is_live() || ended && !refused)
        });
        if ended {
            self.ended.retain(|old| old.recording != status.recording);
            self.ended.push(status.clone());
            if self.ended.len() > REMEMBERED {
                self.ended.remove(0);
            }
        }
        if !other {
            self.say_status(status);
        }
    }

    fn say_status(&self, status: Status) {
        let Status { recording, state, segment, progress, failure } = status;
        let (code, msg) = failure.map_or((None, String::new()), |(code, msg)| (Some(code), msg));
        self.say(FromRecorder::State { recording, state, segment, progress, code, msg });
    }

    /// Without a link nothing is said; on the next one everything is said again.
    fn say(&self, message: FromRecorder) {
        if self.context.metrics.is_linked() && self.say.try_send(message).is_err() {
            tracing::warn!("the link is too slow for what there is to say");
        }
    }

    fn is_running(&self, recording: &RecordingId) -> bool {
        self.running.values().any(|running| running.recording == *recording)
    }

    fn is_live(&self, recording: &RecordingId) -> bool {
        self.running.values().any(|running| running.recording == *recording && running.is_live())
    }

    /// What the server is offered.
    fn capacity(&self) -> u32 {
        if self.overloaded { 0 } else { self.free_rooms() }
    }

    fn free_rooms(&self) -> u32 {
        if self.stopping || self.disk_full {
            return 0;
        }
        let live = self.running.values().filter(|running| running.is_live()).count();
        self.config.capacity.saturating_sub(u32::try_from(live).unwrap_or(u32::MAX))
    }

    fn tell_capacity(&mut self) {
        let capacity = self.capacity();
        if self.capacity_told.replace(capacity) != Some(capacity) {
            self.say(FromRecorder::Capacity { capacity });
        }
    }

    /// Asks the disk how it stands, unless it has not answered yet.
    fn look_at_disk(&mut self) {
        if self.looking.is_empty() {
            let spool = self.context.spool.clone();
            self.looking.spawn_blocking(move || Disk {
                reserve_is_gone: spool.reserve().is_err_and(|error| spool::is_full(&error)),
                free: spool.free(),
            });
        }
    }

    /// A disk that fills up ends recordings while there is room to end them well.
    fn handle_disk(&mut self, Disk { free, reserve_is_gone }: Disk) {
        let free = match free {
            Ok(free) => free,
            Err(error) => {
                tracing::error!(%error, "the spool's disk cannot be asked for its free space");
                return;
            }
        };
        let full = reserve_is_gone || free < self.config.min_free_mb.saturating_mul(1 << 20);
        if full && !self.disk_full {
            tracing::error!(free_mb = free >> 20, "the spool's disk is nearly full: recordings end now");
            self.order_all(Order::Stop);
        }
        self.disk_full = full;
    }

    /// A recorder that is busy takes no more rooms; it never ends one for that.
    fn look_at_load(&mut self, now: Instant, used: Duration) {
        let load = self.load.handle_sample(now, used);
        self.context.metrics.set_load(load);
        let overloaded = load > self.config.max_load;
        if overloaded != self.overloaded {
            tracing::info!(load, overloaded, "load");
        }
        self.overloaded = overloaded;
    }
}

/// When a recording began that was so old `at` this moment. A server that does not say so leaves only the wall clocks to
/// compare.
fn zero(started_ms: u64, age_ms: Option<u64>, at: Instant) -> Instant {
    let wall = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(at.elapsed());
    let age = age_ms.map_or_else(|| wall().saturating_sub(Duration::from_millis(started_ms)), Duration::from_millis);
    at.checked_sub(age).unwrap_or(at)
}

/// Begins a recording, once the disk has a folder for it.
async fn begin(
    context: Context,
    folder: String,
    job: Job,
    start: Start,
    orders: mpsc::UnboundedReceiver<Order>,
    statuses: Statuses,
) {
    let (id, told, place) = (job.recording.clone(), statuses.clone(), folder.clone());
    let created = tokio::task::spawn_blocking(move || Recording::create(context, place, &job, statuses)).await;
    match created.map_err(std::io::Error::other).flatten() {
        Ok(recording) => recording.record(start, orders).await,
        Err(error) => {
            tracing::warn!(recording = %id, %error, "the spool takes no recording");
            let status = Status::failed(id, Code::StorageUnavailable, format!("the spool: {error}"));
            let _ = told.send((folder, status));
        }
    }
}

/// Takes up a recording whose task broke down.
async fn take_up(context: Context, folder: String, id: RecordingId, statuses: Statuses) {
    tokio::time::sleep(BREAK).await;
    let (told, place) = (statuses.clone(), folder.clone());
    let reopened = tokio::task::spawn_blocking(move || Recording::reopen(context, place, statuses)).await;
    match reopened.map_err(std::io::Error::other).flatten() {
        Ok(recording) => recording.recover().await,
        Err(error) => {
            tracing::error!(recording = %id, %error, "it cannot be taken up; the next start tries again");
            let _ = told.send((folder, Status::failed(id, Code::Internal, "the recorder broke down".into())));
        }
    }
}

/// Whether a recording may lie there: names of storage, its own id last, so that no two ever share a folder.
fn is_folder(folder: &str, recording: &RecordingId) -> bool {
    is_key(folder) && folder.rsplit('/').next() == Some(recording.as_str())
}

impl Running {
    /// Whether it records, or is about to.
    fn is_live(&self) -> bool {
        self.orders.is_some() && self.last.as_ref().is_none_or(|status| status.state.is_live())
    }
}

#[cfg(test)]
mod tests;
