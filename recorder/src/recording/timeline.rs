//! What happened in the room, told from what the room says: whole values come again and again, changes are noted once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use signalling::id::{ParticipantId, TrackId};
use signalling::message::{Peer, Source, Track};
use signalling::recording::Happening;

/// Speakers change with every word; more often than this nobody wants to read it.
const SPEAKER_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Known {
    participant: ParticipantId,
    source: Source,
    muted: bool,
}

/// What is known of the room.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    people: BTreeSet<ParticipantId>,
    tracks: BTreeMap<TrackId, Known>,
    /// Who was noted as the loudest, and when.
    noted: (Option<ParticipantId>, Option<Instant>),
    loudest: Option<ParticipantId>,
}

impl Timeline {
    /// How many participants are there.
    pub(super) fn people(&self) -> usize {
        self.people.len()
    }

    /// Everybody who is there now: whoever is not among them has left.
    pub(super) fn handle_snapshot(&mut self, peers: &[Peer]) -> Vec<Happening> {
        let here: BTreeSet<_> = peers.iter().map(|peer| &peer.id).collect();
        let gone: Vec<_> = self.people.iter().filter(|id| !here.contains(id)).cloned().collect();
        let mut happened: Vec<_> = gone.iter().flat_map(|id| self.handle_leave(id)).collect();
        happened.extend(peers.iter().flat_map(|peer| self.handle_peer(peer)));
        happened
    }

    /// A participant with all its tracks.
    pub(super) fn handle_peer(&mut self, peer: &Peer) -> Vec<Happening> {
        let mut happened = Vec::new();
        if self.people.insert(peer.id.clone()) {
            happened.push(Happening::Join { participant: peer.id.clone(), name: peer.name.clone() });
        }
        let here: BTreeSet<_> = peer.tracks.iter().map(|track| &track.id).collect();
        let of_peer = self.tracks.iter().filter(|(_, known)| known.participant == peer.id);
        let gone: Vec<_> = of_peer.map(|(id, _)| id).filter(|id| !here.contains(id)).cloned().collect();
        happened.extend(gone.iter().flat_map(|id| self.handle_track_gone(id)));
        happened.extend(peer.tracks.iter().flat_map(|track| self.handle_track(track)));
        happened
    }

    /// A participant left, and its tracks with it.
    pub(super) fn handle_leave(&mut self, id: &ParticipantId) -> Vec<Happening> {
        if !self.people.remove(id) {
            return Vec::new();
        }
        let of_peer = self.tracks.iter().filter(|(_, known)| known.participant == *id);
        let tracks: Vec<_> = of_peer.map(|(track, _)| track.clone()).collect();
        let mut happened: Vec<_> = tracks.iter().flat_map(|track| self.handle_track_gone(track)).collect();
        happened.push(Happening::Leave { participant: id.clone() });
        happened
    }

    /// A track came or changed.
    pub(super) fn handle_track(&mut self, track: &Track) -> Vec<Happening> {
        let (participant, source) = (track.peer.clone(), track.src);
        let mut happened = Vec::new();
        if !self.tracks.contains_key(&track.id) {
            happened.push(Happening::Publish { participant: participant.clone(), source });
            self.tracks.insert(track.id.clone(), Known { participant, source, muted: false });
        }
        happened.extend(self.handle_mute(&track.id, track.muted));
        happened
    }

    /// A track ended.
    pub(super) fn handle_track_gone(&mut self, id: &TrackId) -> Option<Happening> {
        let Known { participant, source, .. } = self.tracks.remove(id)?;
        Some(Happening::Unpublish { participant, source })
    }

    /// A track is muted or not.
    pub(super) fn handle_mute(&mut self, id: &TrackId, muted: bool) -> Option<Happening> {
        let known = self.tracks.get_mut(id).filter(|known| known.muted != muted)?;
        known.muted = muted;
        let (participant, source) = (known.participant.clone(), known.source);
        Some(if muted { Happening::Mute { participant, source } } else { Happening::Unmute { participant, source } })
    }

    /// Who speaks, loudest first.
    pub(super) fn handle_speakers(&mut self, speakers: &[ParticipantId], now: Instant) -> Option<Happening> {
        self.loudest = speakers.first().cloned();
        self.handle_timeout(now)
    }

    /// Notes who has been the loudest since the last note; due once a second.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<Happening> {
        let (noted, at) = &self.noted;
        let soon = at.is_some_and(|at| now < at + SPEAKER_EVERY);
        if soon || *noted == self.loudest {
            return None;
        }
        self.noted = (self.loudest.clone(), Some(now));
        Some(Happening::Speaker { participant: self.loudest.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> ParticipantId {
        ParticipantId::parse(name).expect("an id")
    }

    fn peer(name: &str, tracks: &[(&str, bool)]) -> Peer {
        let track = |(id, muted): &(&str, bool)| Track {
            id: TrackId::parse(*id).expect("an id"),
            peer: self::id(name),
            src: Source::Mic,
            muted: *muted,
            muted_by_moderator: false,
            codec: None,
        };
        Peer { id: id(name), name: name.to_uppercase(), tracks: tracks.iter().map(track).collect() }
    }

    #[test]
    fn every_change_is_told_once() {
        let mut timeline = Timeline::default();
        let (p1, source) = (id("p1"), Source::Mic);
        let happened = timeline.handle_snapshot(&[peer("p1", &[("t1", true)])]);
        assert_eq!(happened.len(), 3, "{happened:?}");
        assert_eq!(happened[0], Happening::Join { participant: p1.clone(), name: "P1".into() });
        assert_eq!(happened[2], Happening::Mute { participant: p1.clone(), source });
        assert_eq!(timeline.handle_snapshot(&[peer("p1", &[("t1", true)])]), []);
        assert_eq!(timeline.handle_peer(&peer("p1", &[("t1", false)])).len(), 1);
        let happened = timeline.handle_snapshot(&[peer("p2", &[])]);
        let told = [
            Happening::Unpublish { participant: p1.clone(), source },
            Happening::Leave { participant: p1 },
            Happening::Join { participant: id("p2"), name: "P2".into() },
        ];
        assert_eq!(happened, told);
        assert_eq!(timeline.people(), 1);
    }

    #[test]
    fn speakers_change_once_a_second_at_most() {
        let mut timeline = Timeline::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let speaker = |name: &str| Some(Happening::Speaker { participant: Some(id(name)) });
        assert_eq!(timeline.handle_speakers(&[id("p1")], at(0)), speaker("p1"));
        assert_eq!(timeline.handle_speakers(&[id("p2")], at(300)), None);
        assert_eq!(timeline.handle_speakers(&[id("p3"), id("p1")], at(900)), None);
        assert_eq!(timeline.handle_timeout(at(1000)), speaker("p3"));
        assert_eq!(timeline.handle_timeout(at(2000)), None);
        assert_eq!(timeline.handle_speakers(&[], at(2500)), Some(Happening::Speaker { participant: None }));
    }
}
