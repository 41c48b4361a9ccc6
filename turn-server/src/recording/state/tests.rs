//! Recorders that hang, are away or say things twice; recordings that are slim, deleted or wait for more.

use futures_util::FutureExt as _;

use super::*;

fn recorder(id: &str) -> RecorderId {
    RecorderId::parse(id).expect("an id")
}

fn segment(id: &str) -> RecorderSegment {
    RecorderSegment {
        v: 1,
        recorder: recorder("a"),
        run: 0,
        recording: RecordingId::parse(id).expect("an id"),
        room: RoomName::parse("demo").expect("a name"),
        room_id: "abc".into(),
        folder: format!("abc/{id}"),
        started_ms: 0,
        ended_ms: None,
        files: Vec::new(),
        timeline: Vec::new(),
        recovered: false,
        error: None,
    }
}

fn active(now: Instant) -> Active {
    let mut active = Active::new(RoomName::parse("demo").expect("a name"), RecordingOptions::default(), now);
    (active.recorder, active.link) = (Some(recorder("a")), 7);
    active.unfinished.insert(recorder("a"));
    active
}

#[test]
fn who_ends_it_at_once_is_asked_less_and_less() {
    let (a, start) = (recorder("a"), Instant::now());
    let mut active = active(start);
    let mut now = start;
    for seconds in [5, 10, 20, 40, 80] {
        active.assigned = now;
        active.note_end(&a, 7, now);
        assert!(!active.may_ask(&a, now + Duration::from_secs(seconds - 1)), "{seconds}");
        now += Duration::from_secs(seconds);
        assert!(active.may_ask(&a, now) && active.may_ask(&recorder("b"), start), "{seconds}");
    }
    // On another link it crashed, and after a while it worked: both begin anew.
    active.note_end(&a, 8, now);
    assert!(active.may_ask(&a, now));
    active.note_end(&a, 7, now + SOON);
    assert!(active.may_ask(&a, now + SOON));
    active.failed.insert(a.clone());
    assert!(!active.may_ask(&a, now + SOON));
}

#[test]
fn who_hangs_is_replaced() {
    let (a, start) = (recorder("a"), Instant::now());
    let mut hangs = active(start);
    hangs.confirm(RecordingState::Recording);
    hangs.heard = start + Duration::from_secs(60);
    let due = hangs.heard + SILENCE;
    assert!(hangs.take_from_lost(due - Duration::from_millis(1)).is_none() && hangs.recorder.is_some());
    assert_eq!(hangs.take_from_lost(due), Some(a.clone()));
    assert!(hangs.recorder.is_none() && hangs.orphan.is_some());
    assert!(!hangs.may_ask(&a, due) && hangs.may_ask(&recorder("b"), due) && hangs.may_ask(&a, due + REFUSES_FOR));
    assert!(hangs.take_from_lost(due).is_none(), "nobody has it");
    // Who is away says nothing, and is given up sooner.
    let mut gone = active(start);
    gone.confirm(RecordingState::Recording);
    gone.lost = Some(start);
    let mut has_it = |after| {
        assert_eq!(gone.take_from_lost(start + after), None, "who is away does not hang");
        gone.recorder.is_some()
    };
    assert!(has_it(GRACE / 2) && !has_it(GRACE));
    assert!(gone.may_ask(&a, start + GRACE));
    // A job on a disk that hangs is never spoken of.
    let mut unheard = active(start);
    assert_eq!(unheard.take_from_lost(start + CONFIRM_WITHIN / 2), None);
    assert_eq!(unheard.take_from_lost(start + CONFIRM_WITHIN), Some(a.clone()));
    assert!(!unheard.may_ask(&a, start + CONFIRM_WITHIN));
}

#[test]
fn who_only_begins_records_nothing() {
    let start = Instant::now();
    let mut active = active(start);
    for seconds in 0..=60 {
        let now = start + Duration::from_secs(seconds);
        active.confirm(RecordingState::Starting);
        assert_eq!(active.is_orphaned(now), seconds == 60, "{seconds}");
        active.take_away(now);
    }
    active.confirm(RecordingState::Recording);
    assert!(!active.is_orphaned(start + ORPHAN));
}

#[test]
fn who_never_spoke_of_its_job_has_no_part() {
    let (start, mut state) = (Instant::now(), State::default());
    let (sender, _receiver) = mpsc::channel(1);
    let held = BTreeMap::from([(RecordingId::parse("r1").expect("an id"), start)]);
    let link = Recorder { link: 7, capacity: 1, refused: None, held, sender };
    let (late, id) = (start + CONFIRM_WITHIN, RecordingId::parse("r1").expect("an id"));
    let mut forgets = |active: &mut Active, now| active.forget_unheard(&id, &mut state.recorders, now);
    assert!(!forgets(&mut active(start), late), "it may come back and have it");
    state.recorders.insert(recorder("a"), link);
    let mut forgets = |active: &mut Active, now| active.forget_unheard(&id, &mut state.recorders, now);
    assert!(!forgets(&mut active(start), late - Duration::from_millis(1)));
    let (mut spoke, mut before, mut silent) = (active(start), active(start), active(start));
    (spoke.confirmed, before.fresh) = (true, false);
    assert!(!forgets(&mut spoke, late) && !forgets(&mut before, late));
    assert!(forgets(&mut silent, late) && silent.unfinished.is_empty());
    assert!(!state.is_held(&id, late));
}

#[test]
fn who_says_nothing_of_its_part_is_not_waited_for_without_end() {
    let (start, mut state) = (Instant::now(), State::default());
    let (sender, _receiver) = mpsc::channel(1);
    let id = RecordingId::parse("r1").expect("an id");
    let held = BTreeMap::from([(id.clone(), start)]);
    state.recorders.insert(recorder("a"), Recorder { link: 7, capacity: 1, refused: None, held, sender });
    let (last, late) = (start + HELD - Duration::from_millis(1), start + HELD);
    assert!(state.is_held(&id, last) && !state.is_held(&id, late));
    let mut active = active(start);
    for (now, abandoned) in [(last, false), (late, false), (late + ORPHAN, true)] {
        assert_eq!(active.is_abandoned(&id, &state.recorders, now), abandoned);
    }
}

#[test]
fn a_slim_recording_knows_what_it_was_told() {
    let mut said = segment("r1");
    let file = |sha256: &str| {
        let text = format!(
            r#"{{"name":"p1-av-1.webm","size":7,"sha256_parts":"{sha256}","container":"webm","codecs":["opus"],
                "participant":"p1","sources":["mic"],"tracks":[{{"source":"mic","codec":"opus","start_ms":0}}],
                "start_ms":0,"end_ms":9,"gaps":[{{"t":1,"ms":2,"cause":"loss"}}],"resolutions":[{{"t":0,"w":1,"h":1}}]}}"#
        );
        serde_json::from_str::<RecordedFile>(&text).expect("a file")
    };
    said.files = vec![file("aa")];
    let mut state = State::default();
    state.adopt(&said);
    state.put_segment(said.clone());
    let manifest = state.manifests.get_mut(&said.recording).expect("is there");
    manifest.state = RecordingState::Ready;
    slim(manifest);
    assert!(manifest.files().all(|file| file.gaps.is_empty() && file.tracks.is_empty()));
    state.writes.forget(&said.recording);
    state.take_late(said.clone());
    assert!(state.writes.is_empty(), "old news");
    said.files = vec![file("bb")];
    state.take_late(said.clone());
    assert_eq!(state.writes.forget(&said.recording), Some(Write::Final));
    // What grows is not told by a digest: all of it counts.
    let (mut grows, mut known) = (file(""), file(""));
    (grows.gaps, said.files) = (Vec::new(), vec![known.clone()]);
    slim_file(&mut known);
    assert!(!known.gaps.is_empty() && !is_same(&said, &RecorderSegment { files: vec![grows], ..said.clone() }));
}

#[test]
fn what_cannot_be_deleted_is_as_it_was() {
    let (now, mut state) = (Instant::now(), State::default());
    let id = RecordingId::parse("r1").expect("an id");
    let segment = segment("r1");
    state.adopt(&segment);
    let (manifest, noted) = state.take_out(&id).expect("is there");
    assert_eq!((noted, state.deleted.contains(&id), state.writes.is_empty()), (Some(Write::Final), true, true));
    // Nobody else deletes it meanwhile, and fails, and says that it is there still.
    assert_eq!(state.take_out(&id).expect_err("is being deleted").code, Code::RecordingNotFound);
    assert!(state.deleted.contains(&id));
    state.put_back(manifest, noted);
    assert_eq!((state.manifests.contains_key(&id), state.deleted.contains(&id)), (true, false));
    assert_eq!(state.writes.poll(now), Some((id.clone(), Write::Final)));
    // Its manifest was being written.
    let (manifest, noted) = state.take_out(&id).expect("is there");
    assert_eq!(noted, None);
    state.writes.handle_ended(&id, None, now);
    state.put_back(manifest, noted);
    assert_eq!(state.writes.poll(now), Some((id, Write::Final)));
}

#[test]
fn what_waited_for_more_is_finished_without_it() {
    let (now, mut state) = (Instant::now(), State::default());
    let id = |text: &str| RecordingId::parse(text).expect("an id");
    for (text, over) in [("r1", false), ("r2", true)] {
        state.adopt(&segment(text));
        if over && let Some(manifest) = state.manifests.get_mut(&id(text)) {
            manifest.state = RecordingState::Ready;
        }
        state.writes.forget(&id(text));
        state.left.insert(id(text), now + ORPHAN);
    }
    state.finish_left(now + ORPHAN - Duration::from_millis(1));
    assert!(state.writes.is_empty());
    // The keeper sleeps until it is told.
    let told = |state: &State| state.noted.notified().now_or_never().is_some();
    while told(&state) {}
    state.finish_left(now + ORPHAN);
    assert!(told(&state));
    assert_eq!(state.writes.poll(now), Some((id("r1"), Write::Final)));
    assert_eq!(state.writes.poll(now), None);
    assert!(state.left.is_empty());
    // Its last holder had nothing of it.
    ["r1", "r2", "r3"].iter().for_each(|text| state.finish(&id(text)));
    state.writes.handle_ended(&id("r1"), None, now);
    assert_eq!((state.writes.poll(now), state.writes.poll(now)), (Some((id("r1"), Write::Final)), None));
}
