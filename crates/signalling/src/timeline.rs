//! One timeline of a recording, from what each recorder noted. Two that were there at once, or one after the other, note the
//! same: what changes nothing is left out. What ended while nobody was there ends where the next recorder begins.

use std::collections::BTreeSet;

use crate::id::ParticipantId;
use crate::message::Source;
use crate::recording::{Happening, Moment, RecorderSegment};

/// What is known of the room so far.
#[derive(Default)]
struct Room {
    present: BTreeSet<ParticipantId>,
    published: BTreeSet<(ParticipantId, Source)>,
    muted: BTreeSet<(ParticipantId, Source)>,
    speaker: Option<ParticipantId>,
    paused: bool,
}

/// The moments of all segments in order, each change once.
pub fn merge<'a>(segments: impl IntoIterator<Item = &'a RecorderSegment>) -> Vec<Moment> {
    // All that a recorder found when it came has one time.
    let runs = segments.into_iter().flat_map(|segment| {
        let first = segment.timeline.first().map(|moment| moment.t);
        let found = segment.timeline.partition_point(|moment| Some(moment.t) == first);
        let (found, later) = segment.timeline.split_at(found);
        let whole = (!found.is_empty()).then_some((found, true));
        whole.into_iter().chain(later.chunks(1).map(|one| (one, false)))
    });
    let mut runs: Vec<(&[Moment], bool)> = runs.collect();
    // Stable: what one recorder noted in one millisecond stays in its order.
    runs.sort_by_key(|(moments, _)| moments.first().map(|moment| moment.t));
    let (mut room, mut merged) = (Room::default(), Vec::new());
    for (moments, is_all) in runs {
        let t = moments.first().map_or(0, |moment| moment.t);
        let ended = if is_all { room.lacking(moments) } else { Vec::new() };
        let ended = ended.into_iter().map(|what| Moment { t, what });
        merged.extend(ended.chain(moments.iter().cloned()).filter(|moment| room.takes(&moment.what)));
    }
    merged
}

impl Room {
    /// What must have ended if these moments tell all that there is.
    fn lacking(&self, moments: &[Moment]) -> Vec<Happening> {
        let mut there = Self::default();
        for moment in moments {
            there.takes(&moment.what);
        }
        let gone = self.present.difference(&there.present);
        let mut ended: Vec<_> = gone.map(|participant| Happening::Leave { participant: participant.clone() }).collect();
        // Whoever left takes its tracks along.
        let stays = |(participant, _): &&(ParticipantId, Source)| there.present.contains(participant);
        for (participant, source) in self.published.difference(&there.published).filter(stays) {
            ended.push(Happening::Unpublish { participant: participant.clone(), source: *source });
        }
        let published = |track: &&(ParticipantId, Source)| there.published.contains(*track);
        for (participant, source) in self.muted.difference(&there.muted).filter(published) {
            ended.push(Happening::Unmute { participant: participant.clone(), source: *source });
        }
        if self.paused && !there.paused {
            ended.push(Happening::Resume);
        }
        ended
    }

    /// Takes a change; `false` if it is none.
    fn takes(&mut self, what: &Happening) -> bool {
        match what {
            Happening::Join { participant, .. } => self.present.insert(participant.clone()),
            Happening::Leave { participant } => {
                let of = |(whose, _): &(ParticipantId, Source)| whose == participant;
                self.published.retain(|track| !of(track));
                self.muted.retain(|track| !of(track));
                self.present.remove(participant)
            }
            Happening::Publish { participant, source } => self.published.insert((participant.clone(), *source)),
            Happening::Unpublish { participant, source } => {
                let track = (participant.clone(), *source);
                self.muted.remove(&track);
                self.published.remove(&track)
            }
            Happening::Mute { participant, source } => self.muted.insert((participant.clone(), *source)),
            Happening::Unmute { participant, source } => self.muted.remove(&(participant.clone(), *source)),
            Happening::Speaker { participant } => {
                let changed = self.speaker != *participant;
                self.speaker.clone_from(participant);
                changed
            }
            Happening::Pause => !std::mem::replace(&mut self.paused, true),
            Happening::Resume => std::mem::replace(&mut self.paused, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{RecorderId, RecordingId, RoomName};

    fn segment(recorder: &str, timeline: Vec<(u64, Happening)>) -> RecorderSegment {
        RecorderSegment {
            v: crate::recording::MANIFEST_VERSION,
            recorder: RecorderId::parse(recorder).expect("an id"),
            run: 0,
            recording: RecordingId::parse("r1").expect("an id"),
            room: RoomName::parse("demo").expect("a name"),
            room_id: "x".into(),
            folder: "x/r1".into(),
            started_ms: 0,
            ended_ms: None,
            files: Vec::new(),
            timeline: timeline.into_iter().map(|(t, what)| Moment { t, what }).collect(),
            recovered: false,
            error: None,
        }
    }

    fn p(id: &str) -> ParticipantId {
        ParticipantId::parse(id).expect("an id")
    }

    #[test]
    fn what_two_recorders_noted_is_there_once() {
        let join = |id: &str| Happening::Join { participant: p(id), name: id.to_uppercase() };
        let publish = |id: &str| Happening::Publish { participant: p(id), source: Source::Mic };
        let mute = |id: &str| Happening::Mute { participant: p(id), source: Source::Mic };
        let unmute = |id: &str| Happening::Unmute { participant: p(id), source: Source::Mic };
        let leave = |id: &str| Happening::Leave { participant: p(id) };
        let speaks = |id: Option<&str>| Happening::Speaker { participant: id.map(p) };
        let first = segment(
            "a",
            vec![
                (0, join("p1")),
                (0, publish("p1")),
                (5, mute("p1")),
                (6, speaks(Some("p2"))),
                (7, Happening::Pause),
                (9, Happening::Resume),
            ],
        );
        // It came later, found p1 muted, and stayed until p1 left; the first one was lost at 10.
        let second = segment(
            "b",
            vec![
                (8, join("p1")),
                (8, publish("p1")),
                (8, mute("p1")),
                (8, Happening::Pause),
                (8, speaks(Some("p2"))),
                (10, Happening::Resume),
                (11, unmute("p1")),
                (12, leave("p1")),
                (13, leave("p1")),
                (14, speaks(None)),
                (15, speaks(None)),
            ],
        );
        let merged: Vec<_> = merge([&second, &first]).into_iter().map(|moment| (moment.t, moment.what)).collect();
        let wanted = vec![
            (0, join("p1")),
            (0, publish("p1")),
            (5, mute("p1")),
            (6, speaks(Some("p2"))),
            (7, Happening::Pause),
            (9, Happening::Resume),
            (11, unmute("p1")),
            (12, leave("p1")),
            (14, speaks(None)),
        ];
        assert_eq!(merged, wanted);
    }

    #[test]
    fn what_ended_while_nobody_was_there_ends_with_the_next_recorder() {
        let join = |id: &str| Happening::Join { participant: p(id), name: String::new() };
        let publish = |id: &str| Happening::Publish { participant: p(id), source: Source::Mic };
        let mute = |id: &str| Happening::Mute { participant: p(id), source: Source::Mic };
        let camera = Happening::Publish { participant: p("p1"), source: Source::Camera };
        let lost = segment(
            "a",
            vec![
                (0, join("p1")),
                (0, publish("p1")),
                (1, mute("p1")),
                (2, camera),
                (3, join("p2")),
                (3, publish("p2")),
                (3, mute("p2")),
                (4, Happening::Pause),
            ],
        );
        let next = segment("b", vec![(9, join("p1")), (9, publish("p1")), (9, join("p3")), (12, join("p4"))]);
        let merged: Vec<_> = merge([&next, &lost]).into_iter().map(|moment| (moment.t, moment.what)).collect();
        let wanted = [
            (9, Happening::Leave { participant: p("p2") }),
            (9, Happening::Unpublish { participant: p("p1"), source: Source::Camera }),
            (9, Happening::Unmute { participant: p("p1"), source: Source::Mic }),
            (9, Happening::Resume),
            (9, join("p3")),
            (12, join("p4")),
        ];
        assert_eq!((&merged[..8], &merged[8..]), (&noted(&lost)[..], &wanted[..]));
    }

    fn noted(segment: &RecorderSegment) -> Vec<(u64, Happening)> {
        segment.timeline.iter().map(|moment| (moment.t, moment.what.clone())).collect()
    }

    #[test]
    fn who_leaves_takes_its_tracks_along() {
        let leave = Happening::Leave { participant: p("p1") };
        let track = |muted: bool| match muted {
            true => Happening::Mute { participant: p("p1"), source: Source::Camera },
            false => Happening::Publish { participant: p("p1"), source: Source::Camera },
        };
        let join = Happening::Join { participant: p("p1"), name: String::new() };
        let one = vec![(0, join.clone()), (1, track(false)), (2, track(true)), (3, leave)];
        let again = vec![(4, join), (5, track(false)), (6, track(true))];
        let all = segment("a", [one, again].concat());
        assert_eq!(merge([&all]), all.timeline);
    }
}
