//! Properties of whole files: order, clusters, cues, and recovery from any cut and any rubble.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use crate::{
    Codec, Frame, FrameError, HEAD_LEN, Muxer, Options, Output, Recovered, Recovery, RecoveryError, Size, TrackError,
    ebml::{self, Elements},
    id,
};

const SIZE: Size = Size { width: 640, height: 360 };

/// A file as its outputs make it, and its length after each of its clusters.
#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    cluster_ends: Vec<usize>,
}

impl File {
    fn drain(&mut self, muxer: &mut Muxer) {
        self.bytes.resize(self.bytes.len().max(HEAD_LEN), 0);
        while let Some(output) = muxer.poll_output() {
            output.apply(&mut self.bytes);
            if matches!(output, Output::Append(bytes) if bytes[..4] == id::CLUSTER.to_be_bytes()) {
                self.cluster_ends.push(self.bytes.len());
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Block {
    track: u8,
    at: u64,
    key: bool,
    cluster: u64,
    offset: u64,
    data: Vec<u8>,
}

/// What a finished file says.
#[derive(Debug, Default)]
struct Contents {
    video: Vec<u8>,
    declared: Vec<u8>,
    duration_ms: f64,
    blocks: Vec<Block>,
    /// Track, time, cluster position in the file, relative position.
    cues: Vec<[u64; 4]>,
    clusters: Vec<(u64, usize)>,
    seeks: Vec<(u64, u64)>,
    positions: Vec<(u64, u64)>,
    /// Where damage was passed over.
    voids: Vec<u64>,
}

fn uint(elements: &[u8], wanted: u32) -> u64 {
    Elements(elements)
        .find(|(id, _)| *id == wanted)
        .and_then(|(_, data)| ebml::read_uint(data))
        .expect("element is there")
}

fn offset_in(file: &[u8], part: &[u8]) -> u64 {
    (part.as_ptr() as usize - file.as_ptr() as usize) as u64
}

fn contents(file: &[u8]) -> Contents {
    let mut found = Contents::default();
    let top: Vec<_> = Elements(file).collect();
    assert_eq!(
        top.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [id::EBML, id::SEGMENT],
        "the segment's size fits the file"
    );
    let segment = top[1].1;
    let base = offset_in(file, segment);
    let mut rest = Elements(segment);
    loop {
        let position = offset_in(file, rest.0) - base;
        let Some((id, data)) = rest.next() else { break };
        found.positions.push((id.into(), position));
        match id {
            id::SEEK_HEAD => {
                found.seeks =
                    Elements(data).map(|(_, seek)| (uint(seek, id::SEEK_ID), uint(seek, id::SEEK_POSITION))).collect();
            }
            id::INFO => {
                let duration =
                    Elements(data).find(|(id, _)| *id == id::DURATION).expect("a finished file has a duration");
                found.duration_ms = ebml::read_float(duration.1).unwrap();
            }
            id::TRACKS => {
                for (_, entry) in Elements(data) {
                    let number = uint(entry, id::TRACK_NUMBER) as u8;
                    found.declared.push(number);
                    if uint(entry, id::TRACK_TYPE) == 1 {
                        found.video.push(number);
                    }
                }
            }
            id::CLUSTER => read_cluster(file, base + position, data, &mut found),
            id::CUES => {
                for (_, point) in Elements(data) {
                    let positions = Elements(point).find(|(id, _)| *id == id::CUE_TRACK_POSITIONS).unwrap().1;
                    let cluster = uint(positions, id::CUE_CLUSTER_POSITION) + base;
                    let block = uint(positions, id::CUE_RELATIVE_POSITION);
                    found.cues.push([uint(positions, id::CUE_TRACK), uint(point, id::CUE_TIME), cluster, block]);
                }
            }
            id::VOID if found.clusters.is_empty() && base + position < HEAD_LEN as u64 => {
                assert_eq!(offset_in(file, data) as usize + data.len(), HEAD_LEN);
            }
            id::VOID => found.voids.push(base + position),
            other => panic!("element {other:x}"),
        }
    }
    assert!(rest.0.is_empty(), "elements fill the file");
    found
}

fn read_cluster(file: &[u8], at: u64, data: &[u8], found: &mut Contents) {
    let start = uint(data, id::TIMESTAMP);
    found.clusters.push((start, data.len()));
    let mut children = Elements(data);
    loop {
        let offset = offset_in(file, children.0) - offset_in(file, data);
        let Some((id, block)) = children.next() else { break };
        if id == id::SIMPLE_BLOCK {
            let at_ms = start + i16::from_be_bytes([block[1], block[2]]) as u64;
            let (track, key) = (block[0] & 0x7F, block[3] & 0x80 != 0);
            found.blocks.push(Block { track, at: at_ms, key, cluster: at, offset, data: block[4..].to_vec() });
        }
    }
    assert!(children.0.is_empty(), "blocks fill the cluster");
}

/// What must hold of every finished file, live or recovered.
fn check(file: &[u8]) -> Contents {
    let found = contents(file);
    assert!(found.voids.is_empty(), "nothing is damaged");
    for (id, position) in &found.seeks {
        assert!(found.positions.contains(&(*id, *position)), "{id:x} stands where the seek head says");
    }
    assert_eq!(found.seeks.len(), 3);
    assert!(found.blocks.is_sorted_by_key(|block| block.at), "blocks are in order of time");
    let mut per_track: BTreeMap<u8, Vec<&Block>> = BTreeMap::new();
    found.blocks.iter().for_each(|block| per_track.entry(block.track).or_default().push(block));
    assert_eq!(per_track.keys().copied().collect::<Vec<_>>(), found.declared, "declared is what delivered");
    for (track, blocks) in &per_track {
        assert!(blocks.windows(2).all(|pair| pair[0].at < pair[1].at), "track {track} rises strictly");
        assert!(blocks[0].key, "track {track} starts with a key frame");
    }
    let last = found.blocks.last().map_or(0, |block| block.at);
    assert!(found.duration_ms >= last as f64);
    for cue in &found.cues {
        let block =
            found.blocks.iter().find(|block| [u64::from(block.track), block.at, block.cluster, block.offset] == *cue);
        assert!(block.is_some_and(|block| block.key), "cue {cue:?} points at a key block");
    }
    check_index(&found);
    found
}

/// Every key frame and every moment of sound has a cue near it, and there are not more than that takes.
fn check_index(found: &Contents) {
    let is_video = |track: u64| found.video.iter().any(|video| u64::from(*video) == track);
    assert!(found.cues.is_sorted_by_key(|cue| cue[1]));
    let pictures: Vec<u64> = found.cues.iter().filter(|cue| is_video(cue[0])).map(|cue| cue[1]).collect();
    assert!(pictures.windows(2).all(|pair| pair[1] - pair[0] >= 500));
    for key in found.blocks.iter().filter(|block| block.key && is_video(block.track.into())) {
        assert!(pictures.iter().any(|at| *at <= key.at && key.at < at + 1_000), "no cue for {}", key.at);
    }
    let spacing = if found.video.is_empty() { 500 } else { 5_000 };
    for pair in found.cues.windows(2).filter(|pair| !is_video(pair[1][0])) {
        assert!(pair[1][1] - pair[0][1] >= spacing, "{pair:?}");
    }
    for block in &found.blocks {
        let before = found.cues.iter().map(|cue| cue[1]).filter(|at| *at <= block.at).max();
        assert!(before.is_some_and(|before| block.at - before < spacing + 1_000), "no cue before {}", block.at);
    }
}

fn recover(bytes: &[u8], chunk: usize) -> Result<Recovered, RecoveryError> {
    let mut recovery = Recovery::new(Vec::new());
    bytes.chunks(chunk.max(1)).for_each(|chunk| recovery.handle_bytes(chunk));
    recovery.finish()
}

fn apply(bytes: &[u8], recovered: &Recovered) -> Vec<u8> {
    let mut file = bytes.to_vec();
    recovered.apply(&mut file);
    file
}

/// One frame of a scenario: track, milliseconds, key frame, length, and how late it arrives.
type Step = (usize, u64, bool, usize, u64);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0..3usize, 0..6_000u64, prop::bool::weighted(0.1), 1..3_000usize, 0..400u64), 1..300)
}

fn write(steps: Vec<Step>) -> (File, u64) {
    write_until(steps, 7_000)
}

fn write_until(mut steps: Vec<Step>, end: u64) -> (File, u64) {
    // A track's frames come in their order; tracks are late against each other.
    let mut lateness = [0; 3];
    steps.sort_by_key(|step| step.1);
    for (track, _, _, _, late) in &mut steps {
        lateness[*track] = *late.max(&mut lateness[*track]);
        *late = lateness[*track];
    }
    steps.sort_by_key(|step| step.1 + step.4);
    let mut muxer = Muxer::new(Options::default());
    let tracks = [Codec::Opus, Codec::Vp8, Codec::Vp9].map(|codec| muxer.add_track(codec).unwrap());
    let mut file = File::default();
    for (n, (track, at, key, len, late)) in steps.into_iter().enumerate() {
        let data = vec![n as u8; len];
        muxer.handle_timeout(Duration::from_millis(at + late));
        let at = Duration::from_millis(at);
        match muxer.handle_frame(Frame { track: tracks[track], at, key, size: key.then_some(SIZE), data }) {
            Ok(()) | Err(FrameError::KeyFrameNeeded) => {}
            Err(error) => panic!("{error}"),
        }
        file.drain(&mut muxer);
    }
    muxer.finish(Duration::from_millis(end));
    file.drain(&mut muxer);
    assert_eq!(muxer.stats().late, 0);
    assert_eq!(muxer.stats().clusters, file.cluster_ends.len() as u64);
    assert_eq!(muxer.len(), file.bytes.len() as u64);
    (file, muxer.stats().frames)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_schedule_makes_a_whole_file(steps in steps()) {
        let (file, frames) = write(steps);
        prop_assume!(frames > 0);
        let found = check(&file.bytes);
        prop_assert_eq!(found.blocks.len() as u64, frames);
        prop_assert_eq!(found.duration_ms, 7000.0);
        for block in &found.blocks {
            let cluster = found.blocks.iter().find(|other| other.cluster == block.cluster).unwrap();
            prop_assert!(block.at - cluster.at < 1000, "a cluster spans less than a second");
        }
    }

    #[test]
    fn a_cut_anywhere_keeps_every_whole_cluster(steps in steps(), cut in 0.0..1.0, chunk in 1..10_000usize) {
        let (file, frames) = write(steps);
        prop_assume!(frames > 0);
        let cut = HEAD_LEN + ((file.bytes.len() - HEAD_LEN) as f64 * cut) as usize;
        let torn = &file.bytes[..cut];
        let whole = file.cluster_ends.iter().filter(|end| **end <= cut).count();
        match recover(torn, chunk) {
            Err(error) => prop_assert_eq!((error, whole), (RecoveryError::Empty, 0)),
            Ok(recovered) => {
                prop_assert_eq!(recovered.clusters as usize, whole);
                prop_assert_eq!(recovered.valid_len as usize, file.cluster_ends[whole - 1]);
                let repaired = apply(torn, &recovered);
                let found = check(&repaired);
                let before = contents(&file.bytes);
                prop_assert_eq!(&found.blocks[..], &before.blocks[..found.blocks.len()]);
                let blocks: u64 = recovered.tracks.iter().map(|facts| facts.blocks).sum();
                prop_assert_eq!(blocks, found.blocks.len() as u64);
                prop_assert_eq!(recovered.end.as_millis() as f64, found.duration_ms);
                prop_assert_eq!(apply(&repaired, &recover(&repaired, chunk).unwrap()), repaired, "twice is once");
            }
        }
    }

    #[test]
    fn recovery_of_a_finished_file_changes_nothing(steps in steps(), end in 0..9_000u64) {
        let (file, frames) = write_until(steps, end);
        prop_assume!(frames > 0);
        let recovered = recover(&file.bytes, 4096).unwrap();
        prop_assert!(apply(&file.bytes, &recovered) == file.bytes);
    }

    #[test]
    fn a_lost_page_costs_the_clusters_that_it_touches(steps in steps(), page in 0.0..1.0, fill: u8, chunk in 1..10_000usize) {
        let (file, frames) = write(steps);
        prop_assume!(frames > 0);
        let end = file.cluster_ends[file.cluster_ends.len() - 1];
        let lost = HEAD_LEN + ((end - HEAD_LEN) as f64 * page) as usize;
        let lost = lost..(lost + 4096).min(end);
        let mut bytes = file.bytes.clone();
        bytes[lost.clone()].fill(fill);
        let starts = [HEAD_LEN].into_iter().chain(file.cluster_ends.iter().copied());
        let clusters = starts.zip(file.cluster_ends.iter().copied());
        let good = clusters.filter(|(start, end)| *end <= lost.start || *start >= lost.end).map(|(start, _)| start as u64);
        let good: Vec<u64> = good.collect();
        match recover(&bytes, chunk) {
            Err(_) => prop_assert!(good.is_empty()),
            Ok(recovered) => {
                // A cluster of which only sound or pictures were lost is whole to whoever does not decode.
                let found = contents(&apply(&bytes, &recovered));
                let is_good = |block: &&Block| good.contains(&block.cluster);
                let before = contents(&file.bytes);
                prop_assert!(found.blocks.iter().filter(is_good).eq(before.blocks.iter().filter(is_good)));
                prop_assert_eq!(recovered.end.as_millis() as f64, found.duration_ms);
            }
        }
    }

    #[test]
    fn rubble_never_panics(steps in steps(), rubble: Vec<(prop::sample::Index, u8)>, chunk in 1..100usize) {
        let (file, _) = write(steps);
        let mut bytes = file.bytes;
        for (at, value) in rubble {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(recovered) = recover(&bytes, chunk) {
            prop_assert!(recovered.valid_len <= bytes.len() as u64);
            prop_assert_eq!(recovered.head.len(), HEAD_LEN);
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..9000), chunk in 1..100usize) {
        prop_assert!(recover(&bytes, chunk).is_err());
    }
}

fn audio(track: crate::TrackNumber, at: u64) -> Frame {
    Frame { track, at: Duration::from_millis(at), key: true, size: None, data: vec![0xF8, 0xFF, 0xFE] }
}

fn video(track: crate::TrackNumber, at: u64, key: bool) -> Frame {
    Frame { track, at: Duration::from_millis(at), key, size: key.then_some(SIZE), data: vec![0; 100] }
}

#[test]
fn the_head_declares_a_late_track_in_front_of_its_cluster() {
    let mut muxer = Muxer::new(Options::default());
    let mic = muxer.add_track(Codec::Opus).unwrap();
    let cam = muxer.add_track(Codec::Vp8).unwrap();
    for at in (0..3_000).step_by(20) {
        muxer.handle_frame(audio(mic, at)).unwrap();
    }
    muxer.handle_frame(video(cam, 3_000, true)).unwrap();
    for at in (3_000..6_000).step_by(20) {
        muxer.handle_frame(audio(mic, at)).unwrap();
        muxer.handle_timeout(Duration::from_millis(at));
    }
    let mut order = Vec::new();
    while let Some(output) = muxer.poll_output() {
        order.push(match output {
            Output::PatchHead(head) => {
                let tracks = crate::head::parse(&head).tracks;
                format!("head {:?}", tracks.iter().map(|track| track.number.get()).collect::<Vec<_>>())
            }
            Output::Append(bytes) => format!("cluster {}", ebml::read_uint(&bytes[14..22]).unwrap()),
        });
    }
    assert_eq!(
        order,
        ["head [1]", "cluster 0", "cluster 1000", "cluster 2000", "head [1, 2]", "cluster 3000", "cluster 4000"]
    );
}

#[test]
fn a_larger_picture_is_declared() {
    let mut muxer = Muxer::new(Options::default());
    let cam = muxer.add_track(Codec::Vp8).unwrap();
    let mut file = File::default();
    for (at, width, height) in [(0, 320, 180), (1000, 640, 360), (2000, 360, 640), (3000, 320, 180)] {
        let size = Some(Size { width, height });
        muxer.handle_frame(Frame { size, ..video(cam, at, true) }).unwrap();
        muxer.handle_timeout(Duration::from_millis(at));
        file.drain(&mut muxer);
    }
    assert_eq!(muxer.tracks().next().unwrap().size, Some(Size { width: 640, height: 640 }));
    muxer.finish(Duration::from_secs(4));
    file.drain(&mut muxer);
    let tracks = crate::head::parse(&file.bytes[..HEAD_LEN]).tracks;
    assert_eq!(tracks[0].size, Some(Size { width: 640, height: 640 }));
}

#[test]
fn what_cannot_be_written_is_refused_with_its_reason() {
    let mut muxer = Muxer::new(Options { max_cluster_bytes: 1 << 16, ..Options::default() });
    let mic = muxer.add_track(Codec::Opus).unwrap();
    let cam = muxer.add_track(Codec::Vp8).unwrap();
    let stranger = crate::TrackNumber::new(9).unwrap();
    assert_eq!(muxer.handle_frame(audio(stranger, 0)), Err(FrameError::UnknownTrack(9)));
    assert_eq!(muxer.handle_frame(video(cam, 0, false)), Err(FrameError::KeyFrameNeeded));
    assert_eq!(muxer.handle_frame(Frame { size: None, ..video(cam, 0, true) }), Err(FrameError::SizeUnknown));
    assert_eq!(muxer.handle_frame(Frame { data: Vec::new(), ..audio(mic, 0) }), Err(FrameError::BadLength(0)));
    assert_eq!(
        muxer.handle_frame(Frame { data: vec![0; 1 << 16], ..audio(mic, 0) }),
        Err(FrameError::BadLength(1 << 16))
    );
    let never = Duration::MAX;
    assert_eq!(muxer.handle_frame(Frame { at: never, ..audio(mic, 0) }), Err(FrameError::OutOfRange(never)));
    muxer.handle_timeout(never);
    muxer.handle_frame(video(cam, 0, true)).unwrap();
    assert_eq!(muxer.handle_frame(Frame { at: never, ..video(cam, 0, false) }), Err(FrameError::OutOfRange(never)));
    assert_eq!(muxer.handle_frame(video(cam, 40, false)), Err(FrameError::KeyFrameNeeded), "it hangs on that one");

    let mut muxer = Muxer::new(Options::default());
    let mic = muxer.add_track(Codec::Opus).unwrap();
    let cam = muxer.add_track(Codec::Vp8).unwrap();
    muxer.handle_frame(video(cam, 0, true)).unwrap();
    for at in (0..5_000).step_by(20) {
        muxer.handle_frame(audio(mic, at)).unwrap();
        muxer.handle_timeout(Duration::from_millis(at));
    }
    // Audio up to 4,480 ms is written: 400 ms before it is moved, more is refused, and then nothing decodes without a key.
    muxer.handle_frame(video(cam, 4_080, false)).unwrap();
    assert_eq!(muxer.stats().late, 1);
    assert_eq!(
        muxer.handle_frame(video(cam, 3_000, false)),
        Err(FrameError::TooLate(Duration::from_millis(1_480 + 1)))
    );
    assert_eq!(muxer.handle_frame(video(cam, 5_000, false)), Err(FrameError::KeyFrameNeeded));
    muxer.handle_frame(video(cam, 5_000, true)).unwrap();
    muxer.finish(Duration::from_secs(5));
    assert_eq!(muxer.handle_frame(audio(mic, 5_000)), Err(FrameError::Finished));
    assert_eq!(muxer.stats().refused, 3);
}

#[test]
fn frames_do_not_move_the_clock_and_sound_is_never_too_late() {
    let mut muxer = Muxer::new(Options::default());
    let mic = muxer.add_track(Codec::Opus).unwrap();
    let cam = muxer.add_track(Codec::Vp8).unwrap();
    let mut file = File::default();
    muxer.handle_frame(audio(mic, 0)).unwrap();
    // Pictures of two seconds come at once, then the sound of that time.
    (0..50).for_each(|n| muxer.handle_frame(video(cam, n * 40, n == 0)).unwrap());
    (1..100).for_each(|n| muxer.handle_frame(audio(mic, n * 20)).unwrap());
    muxer.handle_timeout(Duration::from_secs(4));
    // What comes after all is moved.
    muxer.handle_frame(audio(mic, 1_000)).unwrap();
    muxer.finish(Duration::from_secs(4));
    file.drain(&mut muxer);
    let sounds: Vec<u64> = check(&file.bytes).blocks.iter().filter(|b| b.track == 1).map(|b| b.at).collect();
    assert_eq!(sounds, (0..100).map(|n| n * 20).chain([1_981]).collect::<Vec<_>>());
    assert_eq!((muxer.stats().late, muxer.stats().refused), (1, 0));
}

#[test]
fn time_alone_ends_a_cluster() {
    let mut muxer = Muxer::new(Options::default());
    let mic = muxer.add_track(Codec::Opus).unwrap();
    muxer.handle_frame(audio(mic, 0)).unwrap();
    muxer.handle_timeout(Duration::from_millis(1_499));
    assert_eq!(muxer.poll_output(), None);
    muxer.handle_timeout(Duration::from_millis(1_500));
    assert!(matches!(muxer.poll_output(), Some(Output::PatchHead(_))));
    assert!(matches!(muxer.poll_output(), Some(Output::Append(_))));
}

/// The cues of a file with sound of 40 s: track and time.
fn cues(pictures: impl Iterator<Item = (u64, bool)>) -> Vec<[u64; 2]> {
    let mut muxer = Muxer::new(Options::default());
    let mic = muxer.add_track(Codec::Opus).unwrap();
    let cam = muxer.add_track(Codec::Vp8).unwrap();
    (0..2_000).for_each(|n| muxer.handle_frame(audio(mic, n * 20)).unwrap());
    pictures.for_each(|(at, key)| muxer.handle_frame(video(cam, at, key)).unwrap());
    muxer.finish(Duration::from_secs(40));
    let mut file = File::default();
    file.drain(&mut muxer);
    let found = check(&file.bytes);
    found.cues.iter().map(|[track, at, ..]| [*track, *at]).collect()
}

#[test]
fn sound_is_indexed_where_no_picture_is() {
    // A camera from 17 s to 22 s, with a key frame every two seconds.
    let shown = (0..125).map(|n| (17_000 + n * 40, n % 50 == 0));
    let expected =
        [[1, 0], [1, 5_000], [1, 10_000], [1, 15_000], [2, 17_000], [2, 19_000], [2, 21_000], [1, 26_000], [1, 31_000]];
    assert_eq!(cues(shown), [&expected[..], &[[1, 36_000]]].concat());
}

#[test]
fn a_thousand_key_frames_a_second_make_two_cues_a_second() {
    let cues = cues((0..40_000).map(|at| (at, true)));
    assert_eq!(cues, (0..80).map(|n| [2, n * 500]).collect::<Vec<_>>());
}

#[test]
fn no_cluster_has_more_than_5_mib() {
    let mut muxer = Muxer::new(Options::default());
    let cam = muxer.add_track(Codec::Vp8).unwrap();
    for n in 0..30 {
        muxer.handle_timeout(Duration::from_millis(n * 33));
        muxer.handle_frame(Frame { data: vec![0; 400_000], ..video(cam, n * 33, n == 0) }).unwrap();
    }
    muxer.finish(Duration::from_secs(1));
    let mut file = File::default();
    file.drain(&mut muxer);
    let found = check(&file.bytes);
    assert!(found.clusters.len() >= 3 && found.clusters.iter().all(|(_, len)| *len <= 5 << 20), "{:?}", found.clusters);
}

#[test]
fn no_frame_makes_no_file() {
    let mut muxer = Muxer::new(Options::default());
    muxer.add_track(Codec::Opus).unwrap();
    muxer.finish(Duration::from_secs(1));
    assert!(muxer.has_no_media());
    assert_eq!(muxer.poll_output(), None);
}

#[test]
fn a_head_takes_many_tracks_and_never_overflows() {
    let mut muxer = Muxer::new(Options { app: "x".repeat(1000), ..Options::default() });
    let mut tracks = Vec::new();
    while let Ok(track) = muxer.add_track(Codec::Av1 { config: vec![0; 500] }) {
        tracks.push(track);
    }
    assert!(tracks.len() >= 6, "{} tracks", tracks.len());
    let mut file = File::default();
    let size = Some(Size { width: u16::MAX, height: u16::MAX });
    tracks.iter().for_each(|track| muxer.handle_frame(Frame { size, ..video(*track, 0, true) }).unwrap());
    muxer.finish(Duration::from_secs(1));
    file.drain(&mut muxer);
    assert_eq!(check(&file.bytes).declared.len(), tracks.len());
}

#[test]
fn a_configuration_may_be_as_long_as_the_head_holds() {
    let add = |len| Muxer::new(Options::default()).add_track(Codec::H264 { config: vec![0; len] });
    assert!(add(3_500).is_ok());
    assert_eq!(add(4_000), Err(TrackError::HeadFull));
}

#[test]
fn a_file_cut_after_its_only_frame_has_a_duration() {
    let (file, _) = write(vec![(0, 40, true, 10, 0)]);
    let cut = file.cluster_ends[0];
    assert_eq!(recover(&file.bytes[..cut], 4096).unwrap().end, Duration::from_millis(60));
}

#[test]
fn known_tracks_stand_in_for_a_head_that_was_never_written() {
    let (file, _) = write((0..100).map(|n| (0, n * 20, true, 10, 0)).collect());
    let mut bytes = file.bytes.clone();
    bytes[..HEAD_LEN].fill(0);
    assert_eq!(recover(&bytes, 4096), Err(RecoveryError::NoTracks));
    let track = recover(&file.bytes, 4096).unwrap().tracks[0].track.clone();
    let mut recovery = Recovery::new(vec![track]);
    recovery.handle_bytes(&bytes);
    let recovered = recovery.finish().unwrap();
    assert_eq!(contents(&apply(&bytes, &recovered)).blocks, contents(&file.bytes).blocks);
}
