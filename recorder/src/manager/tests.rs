//! What the list says and does when tasks break down, jobs are refused and the machine is busy.

use super::*;
use crate::recording::tests::Stand;

fn manager(stand: &Stand, config: RecorderConfig) -> (Manager, mpsc::Receiver<FromRecorder>) {
    let (say, said) = mpsc::channel(16);
    stand.context.metrics.set_linked(true);
    (Manager::new(stand.context.clone(), config, say), said)
}

fn states(said: &mut mpsc::Receiver<FromRecorder>) -> Vec<RecordingState> {
    let state = |said| if let FromRecorder::State { state, .. } = said { Some(state) } else { None };
    std::iter::from_fn(|| said.try_recv().ok()).filter_map(state).collect()
}

#[tokio::test]
async fn a_recording_whose_task_breaks_down_is_taken_up_again() {
    let stand = Stand::new();
    let (mut manager, mut said) = manager(&stand, RecorderConfig::default());
    stand.context.spool.create("abc", &stand.job("abc")).expect("a folder");
    let (orders, _receiver) = mpsc::unbounded_channel();
    manager.insert("abc", RecordingId::parse("abc").expect("an id"), Some(orders));
    manager.spawn("abc", async { panic!("as a bug would") });
    let free = manager.free_rooms();
    let done = manager.tasks.join_next_with_id().await.expect("ends");
    manager.handle_end(done);
    assert_eq!(manager.free_rooms(), free + 1, "it is not live any more");
    assert_eq!(states(&mut said), [RecordingState::Finalising], "the room may be given to somebody else");
    let ended = manager.finish().await;
    assert_eq!(ended.iter().map(|status| status.state).collect::<Vec<_>>(), [RecordingState::Ready]);
    assert_eq!(states(&mut said).last(), Some(&RecordingState::Ready));
}

#[tokio::test]
async fn a_recording_that_breaks_down_every_time_is_left_to_the_next_start() {
    let stand = Stand::new();
    let (mut manager, mut said) = manager(&stand, RecorderConfig::default());
    stand.context.spool.create("abc", &stand.job("abc")).expect("a folder");
    manager.insert("abc", RecordingId::parse("abc").expect("an id"), None);
    manager.spawn("abc", async { panic!("as a bug would") });
    let mut ends = 0;
    while let Some(done) = manager.tasks.join_next_with_id().await {
        manager.handle_end(done);
        // What takes it up breaks down, too.
        manager.tasks.abort_all();
        ends += 1;
    }
    assert_eq!(ends, BREAKS + 1);
    assert!(manager.running.is_empty());
    assert_eq!(states(&mut said).last(), Some(&RecordingState::Failed));
    assert_eq!(stand.context.spool.folders().expect("lists"), ["abc"]);
}

#[tokio::test]
async fn a_run_that_ends_leaves_the_next_one_alone() {
    let stand = Stand::new();
    let (mut manager, _said) = manager(&stand, RecorderConfig::default());
    let id = RecordingId::parse("abc").expect("an id");
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    manager.insert("abc", id.clone(), None);
    // Its folder has gone, and it has said so; it is not quite at its end.
    manager.spawn("abc", async { ended.await.expect("is told") });
    let ready =
        Status { recording: id.clone(), state: RecordingState::Ready, segment: None, progress: None, failure: None };
    manager.handle_status("abc", ready);
    let start = Start { token: String::new(), zero: Instant::now(), paused: false, ends_in: None };
    manager.handle_job(Assignment { job: stand.job("abc"), start });
    assert!(manager.is_live(&id));
    end.send(()).expect("waits");
    let done = manager.tasks.join_next_with_id().await.expect("ends");
    manager.handle_end(done);
    assert!(manager.is_live(&id), "the next one goes on");
}

#[tokio::test]
async fn a_refusal_is_the_last_word_about_a_job() {
    let stand = Stand::new();
    let (mut manager, mut said) = manager(&stand, RecorderConfig::default());
    manager.tell_capacity();
    // An earlier run is on its way to storage.
    manager.insert("abc.9", RecordingId::parse("abc").expect("an id"), None);
    std::fs::remove_dir_all(stand.folder.path().join("spool")).expect("the disk is gone");
    let start = Start { token: String::new(), zero: Instant::now(), paused: false, ends_in: None };
    manager.handle_job(Assignment { job: stand.job("abc"), start });
    manager.tell_capacity();
    let done = manager.tasks.join_next_with_id().await.expect("ends");
    manager.handle_end(done);
    manager.tell_capacity();
    let capacities = std::iter::from_fn(|| said.try_recv().ok()).map(|said| match said {
        FromRecorder::Capacity { capacity } => Some(capacity),
        _ => None,
    });
    let all = RecorderConfig::default().capacity;
    assert_eq!(capacities.collect::<Vec<_>>(), [Some(all), Some(all - 1), Some(all), None]);
}

#[tokio::test]
async fn a_busy_recorder_offers_nothing_and_still_takes_what_it_is_given() {
    let stand = Stand::new();
    let config = RecorderConfig { capacity: 3, max_load: 0.5, ..RecorderConfig::default() };
    let (mut manager, _said) = manager(&stand, config);
    manager.load = Load::of(2);
    let start = Instant::now();
    let mut look = |second: u64, used_ms: u64| {
        manager.look_at_load(start + Duration::from_secs(second), Duration::from_millis(used_ms));
        (manager.capacity(), manager.free_rooms())
    };
    assert_eq!(look(0, 0), (3, 3));
    assert_eq!(look(2, 1_900), (3, 3), "less than half of two cores");
    assert_eq!(look(4, 4_400), (0, 3), "more than that");
    assert_eq!(look(14, 4_500), (3, 3), "and idle again");
}

#[tokio::test]
async fn a_refused_job_does_not_take_a_room() {
    let stand = Stand::new();
    let (mut manager, mut said) = manager(&stand, RecorderConfig { capacity: 3, ..RecorderConfig::default() });
    manager.tell_capacity();
    said.try_recv().expect("is told");
    let job = Job { folder: "elsewhere".into(), ..stand.job("abc") };
    let start = Start { token: String::new(), zero: Instant::now(), paused: false, ends_in: None };
    manager.handle_job(Assignment { job, start });
    assert_eq!(said.try_recv(), Ok(FromRecorder::Capacity { capacity: 3 }), "which the server counts as 2");
    let refused = said.try_recv().expect("is told");
    assert!(matches!(refused, FromRecorder::State { state: RecordingState::Failed, .. }), "{refused:?}");
    manager.tell_capacity();
    assert!(said.try_recv().is_err(), "the refusal is the last word");
}

#[tokio::test]
async fn a_job_that_is_given_again_does_not_take_a_second_room() {
    let stand = Stand::new();
    let (mut manager, mut said) = manager(&stand, RecorderConfig { capacity: 3, ..RecorderConfig::default() });
    let (orders, _receiver) = mpsc::unbounded_channel();
    manager.insert("abc", RecordingId::parse("abc").expect("an id"), Some(orders));
    manager.tell_capacity();
    assert_eq!(said.try_recv(), Ok(FromRecorder::Capacity { capacity: 2 }));
    let start = Start { token: String::new(), zero: Instant::now(), paused: false, ends_in: None };
    manager.handle_job(Assignment { job: stand.job("abc"), start });
    manager.tell_capacity();
    assert_eq!(said.try_recv(), Ok(FromRecorder::Capacity { capacity: 2 }), "which the server counts as 1");
}

#[tokio::test]
async fn any_time_may_be_given_to_the_end() {
    let stand = Stand::new();
    let (manager, _said) = manager(&stand, RecorderConfig { stop_timeout_s: u64::MAX, ..RecorderConfig::default() });
    let (_tell, link) = mpsc::channel(1);
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    manager.run(link, shutdown).await.expect("ends well");
}

#[tokio::test]
async fn a_stop_does_not_wait_long_for_what_is_only_cleared_up() {
    let stand = Stand::new();
    let (mut manager, _said) = manager(&stand, RecorderConfig { stop_timeout_s: 3600, ..RecorderConfig::default() });
    // It is stored and has told so; storage does not say whether any of its uploads is left.
    manager.spawn("abc", std::future::pending());
    let (_tell, link) = mpsc::channel(1);
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let stopped = tokio::time::timeout(CLEARING + Duration::from_secs(20), manager.run(link, shutdown)).await;
    stopped.expect("soon").expect("ends well");
}

#[test]
fn a_recording_is_as_old_as_the_server_says_whatever_the_wall_clock_does() {
    let minute = Duration::from_secs(60);
    // In 1970, and long after today.
    for started_ms in [5, u64::MAX] {
        let age = zero(started_ms, Some(60_000), Instant::now()).elapsed();
        assert!(age >= minute && age < 2 * minute, "{age:?}");
    }
    let heard = Instant::now().checked_sub(minute).expect("an older machine");
    assert!(zero(5, Some(60_000), heard).elapsed() >= 2 * minute, "it was so old when we heard of it");
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let age = zero(now_ms - 60_000, None, Instant::now()).elapsed();
    assert!(age >= minute && age < 2 * minute, "{age:?}");
}

#[test]
fn a_recording_lies_in_a_folder_of_its_own() {
    let id = RecordingId::parse("abc").expect("an id");
    for good in ["r1/abc", "abc", "2026/acme/r1/abc"] {
        assert!(is_folder(good, &id), "{good}");
    }
    for bad in ["", "r1", "r1/abc/", "/abc", "../abc", "r1/../abc", "r1/abcd", "r1\\abc", "r1/abc x"] {
        assert!(!is_folder(bad, &id), "{bad}");
    }
}
