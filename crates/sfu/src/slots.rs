//! Which track is seen and heard on which slot of a receiver: the decision, without its consequences.
//!
//! Every track would get a slot; if there are too few, rank decides. Who has a slot keeps it as long as its rank does,
//! so that pictures do not jump around.

use std::cmp::Reverse;
use std::time::Instant;

use crate::engine::Format;
use crate::id::TrackId;

/// A track that a receiver might get.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) track: TrackId,
    pub(crate) audio: bool,
    /// What it is coded in, once known; before, it fits anywhere.
    pub(crate) format: Option<Format>,
    /// The receiver did not switch it off.
    pub(crate) wanted: bool,
    /// The receiver's priority.
    pub(crate) priority: i32,
    /// A screen, or its sound.
    pub(crate) screen: bool,
    pub(crate) muted: bool,
    /// When its publisher last spoke.
    pub(crate) spoke: Option<Instant>,
}

/// A slot.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    pub(crate) audio: bool,
    pub(crate) formats: &'a [Format],
    /// What is on it now.
    pub(crate) track: Option<TrackId>,
}

impl Place<'_> {
    fn fits(&self, candidate: &Candidate) -> bool {
        self.audio == candidate.audio && candidate.format.is_none_or(|format| self.formats.contains(&format))
    }
}

/// The track of each place, in the order of `places`.
pub(crate) fn assign(places: &[Place<'_>], candidates: &[Candidate]) -> Vec<Option<TrackId>> {
    let placed = |track| places.iter().any(|place| place.track == Some(track));
    let mut ranked: Vec<&Candidate> = candidates.iter().filter(|c| places.iter().any(|p| p.fits(c))).collect();
    ranked.sort_by_key(|c| {
        let Candidate { track, wanted, priority, screen, muted, spoke, .. } = **c;
        (Reverse((wanted, priority, screen, !muted, spoke, placed(track))), track)
    });
    let mut chosen = Vec::with_capacity(places.len());
    for audio in [true, false] {
        let room = places.iter().filter(|p| p.audio == audio).count();
        chosen.extend(ranked.iter().filter(|c| c.audio == audio).take(room).copied());
    }
    let stays = |place: &Place<'_>| chosen.iter().find(|c| Some(c.track) == place.track && place.fits(c));
    let mut assigned: Vec<Option<TrackId>> = places.iter().map(|p| stays(p).map(|c| c.track)).collect();
    for candidate in chosen {
        if assigned.contains(&Some(candidate.track)) {
            continue;
        }
        let free = (0..places.len()).find(|&i| assigned[i].is_none() && places[i].fits(candidate));
        if let Some(index) = free {
            assigned[index] = Some(candidate.track);
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::epoch;

    fn video(track: u64) -> Candidate {
        Candidate {
            track: TrackId(track),
            audio: false,
            format: None,
            wanted: true,
            priority: 0,
            screen: false,
            muted: false,
            spoke: None,
        }
    }

    fn ids(places: &[Option<u64>], candidates: &[Candidate]) -> Vec<u64> {
        let place = |track: &Option<u64>| Place { audio: false, formats: &[Format::Vp8], track: track.map(TrackId) };
        let places: Vec<_> = places.iter().map(place).collect();
        assign(&places, candidates).iter().map(|track| track.map_or(0, |track| track.0)).collect()
    }

    #[test]
    fn all_get_a_slot_if_they_fit_and_keep_it() {
        assert_eq!(ids(&[None; 3], &[video(1), video(2)]), [1, 2, 0]);
        assert_eq!(ids(&[None, Some(2), None], &[video(1), video(2), video(3)]), [1, 2, 3]);
    }

    #[test]
    fn a_speaker_takes_the_slot_of_who_was_silent_longest() {
        let spoke = |track, s| Candidate { spoke: Some(epoch() + Duration::from_secs(s)), ..video(track) };
        assert_eq!(ids(&[Some(1), Some(2)], &[spoke(1, 5), spoke(2, 1), spoke(3, 9)]), [1, 3]);
        assert_eq!(ids(&[Some(1), Some(2)], &[video(1), video(2), video(3)]), [1, 2]);
    }

    #[test]
    fn wishes_screens_and_mutes_decide_first() {
        let wished = Candidate { priority: 5, ..video(4) };
        let screen = Candidate { screen: true, ..video(5) };
        let off = Candidate { wanted: false, ..video(1) };
        let muted = Candidate { muted: true, ..video(2) };
        assert_eq!(ids(&[Some(1), Some(2)], &[off.clone(), muted.clone(), video(3), wished, screen]), [4, 5]);
        assert_eq!(ids(&[Some(1), Some(2)], &[off, muted, video(3)]), [3, 2]);
    }

    #[test]
    fn a_track_goes_only_where_it_can_be_decoded() {
        let h264 = Candidate { format: Some(Format::H264(1, 0x42e0)), ..video(1) };
        assert_eq!(ids(&[None], &[h264, video(2)]), [2]);
    }
}
