//! What a recorder hears and what it finds after a crash: packets of a hostile participant, and a journal.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use rtc_client::{Codec, Mid, RtpPacket, SenderReport};
use session::journal::{Fact, Facts};
use session::{Output, Session, Zero};
use signalling::id::{ParticipantId, TrackId};
use signalling::message::Source;
use signalling::recording::Mode;

use crate::input::{Input, some_instant};

/// Any bytes as a journal: what is understood says the same when it is written again.
pub fn journal(bytes: &[u8]) {
    let Ok(facts) = Facts::parse(bytes) else { return };
    let segment = facts.segment();
    let again =
        [Fact::Job(facts.job.clone())].into_iter().chain(segment.files.iter().cloned().map(|file| Fact::Open { file }));
    let lines: Vec<u8> =
        again.flat_map(|fact| [serde_json::to_vec(&fact).expect("JSON"), b"\n".to_vec()].concat()).collect();
    let read = Facts::parse(&lines).expect("what was written can be read");
    assert_eq!(read.segment().files, segment.files);
}

/// Packets of a microphone and a camera, with any timestamps, reports and payloads, and any times between them: every
/// file that comes out can be read to its end.
pub fn recorded_packets(bytes: &[u8]) {
    let mut input = Input(bytes);
    let start = some_instant() + Duration::from_secs(1000);
    let mut now = start;
    let zero = Zero { at: start, wall: Duration::from_secs(1_700_000_000) };
    let participant = ParticipantId::parse("p1").expect("an id");
    let mut session = Session::new(zero, participant, "Ada".into(), Mode::Participant, BTreeMap::new());
    let tracks = ["t1", "t2"].map(|id| TrackId::parse(id).expect("an id"));
    let lines = ["0", "1"].map(Mid::from);
    let sources = [Source::Mic, Source::Camera];
    for (track, source) in tracks.iter().zip(sources) {
        session.handle_track(track.clone(), source, false, start);
    }
    attach(&mut session, &tracks, true);
    let mut end = None;
    let mut files = Files::default();
    let mut sequences = [0_u64; 2];
    let mut timestamps = [0_u64; 2];
    while let (Some(flags), Some(step)) = (input.byte(), input.byte()) {
        let index = usize::from(flags & 1);
        now += Duration::from_millis(u64::from(step));
        match flags >> 5 {
            0 => session.handle_mute(&tracks[index], flags & 2 != 0, now),
            1 => session.handle_pause(now),
            2 => session.handle_resume(now),
            3 if flags & 2 == 0 => session.handle_timeout(now),
            3 => match flags >> 2 & 7 {
                0 => session.handle_reachable(flags & 1 == 0, now),
                1 => {
                    session.handle_new_transport(now);
                    attach(&mut session, &tracks, true);
                }
                2 => attach(&mut session, &tracks, flags & 1 == 0),
                3 => session.handle_slot(lines[index], index == 0, None, true),
                4 => session.handle_track_gone(&tracks[index], now),
                5 => session.handle_track(tracks[index].clone(), sources[index], false, now),
                // It ended a while ago, or now; what comes is taken until it is finished.
                _ => {
                    end = end.or(now.checked_sub(Duration::from_millis(u64::from(step) * 20)));
                    session.handle_stop(end.unwrap_or(now));
                }
            },
            kind => {
                let (Some(ahead), Some(payload)) = (input.byte(), input.chunk()) else { break };
                let report = (kind == 5).then(|| input.number()).flatten();
                sequences[index] = sequences[index].wrapping_add(u64::from(ahead & 7)).min(u64::MAX / 2);
                let shift = u32::from(ahead >> 3);
                timestamps[index] = match kind {
                    6 => timestamps[index].saturating_sub(u64::from(step) << shift),
                    _ => timestamps[index].saturating_add(u64::from(step) << shift).min(1 << 48),
                };
                // A camera may change its codec with every packet.
                let video = [Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::H264][usize::from(flags >> 1 & 3)];
                let codec = if flags & 1 == 0 { Codec::Opus } else { video };
                let packet = RtpPacket {
                    mid: lines[index],
                    rid: None,
                    codec,
                    ssrc: u32::from(flags & 4),
                    sequence: sequences[index],
                    timestamp: timestamps[index],
                    marker: flags & 8 != 0,
                    payload: payload.into(),
                    arrived: now,
                    report: report.map(|value| SenderReport {
                        ntp: UNIX_EPOCH + Duration::from_secs(u64::from(value) << 16),
                        timestamp: (i64::from(value) - 0x8000) << shift,
                        packets: u32::from(flags & 16),
                    }),
                };
                session.handle_packet(packet, now);
            }
        }
        files.take(&mut session);
    }
    session.finish(end.unwrap_or(now));
    files.take(&mut session);
    files.check();
}

/// Puts the tracks on their m-lines.
fn attach(session: &mut Session, tracks: &[TrackId], on: bool) {
    for (track, line) in tracks.iter().zip(["0", "1"]) {
        session.handle_slot(Mid::from(line), line == "0", Some(track.clone()), on);
    }
}

#[derive(Default)]
struct Files {
    open: BTreeMap<String, Vec<u8>>,
    whole: Vec<String>,
}

impl Files {
    fn take(&mut self, session: &mut Session) {
        while let Some(output) = session.poll_output() {
            match output {
                Output::Open(file) => drop(self.open.insert(file.name, vec![0; webm::HEAD_LEN])),
                Output::Write(name, written) => written.apply(self.open.get_mut(&*name).expect("an open file")),
                Output::Finish(name, Some(_)) => self.whole.push(name.to_string()),
                _ => {}
            }
        }
    }

    fn check(&self) {
        for name in &self.whole {
            let mended = crate::recording::mend(&self.open[name], 4096);
            assert_eq!(mended.as_ref(), self.open.get(name), "{name} needs no mending");
        }
    }
}
