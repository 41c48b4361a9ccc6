//! Who speaks, from the loudness that publishers attach to their packets (RFC 6464).

use std::time::{Duration, Instant};

use crate::id::{ParticipantId, TrackId};

/// Louder than this (in -dBov) is speech, not a fan.
const SPEECH: f32 = 50.0;
/// Speech for this long makes a speaker: a cough does not.
const BEGIN: Duration = Duration::from_millis(300);
/// Silence for this long ends it: people breathe.
const END: Duration = Duration::from_millis(1000);
/// How often the list may change.
pub(crate) const PERIOD: Duration = Duration::from_millis(250);
/// Weight of a new packet (20 ms) in the running loudness: about 200 ms.
const WEIGHT: f32 = 0.1;

/// The loudness of one track.
#[derive(Debug, Default)]
pub(crate) struct Voice {
    /// Running loudness, 0 silent to 127.
    loudness: f32,
    loud_since: Option<Instant>,
    loud_at: Option<Instant>,
    speaking: bool,
    /// When it was last found to be speaking.
    spoke: Option<Instant>,
}

impl Voice {
    /// Takes a packet's level: 0 is loudest, 127 silence.
    pub(crate) fn handle_level(&mut self, level: u8, now: Instant) {
        let loud = 127.0 - f32::from(level.min(127));
        self.loudness += (loud - self.loudness) * WEIGHT;
        if self.loudness >= 127.0 - SPEECH {
            self.loud_since.get_or_insert(now);
            self.loud_at = Some(now);
        } else if self.loud_at.is_none_or(|at| now.saturating_duration_since(at) > END) {
            self.loud_since = None;
        }
    }

    /// Nothing is heard: muted, gone.
    pub(crate) fn silence(&mut self) {
        *self = Self { spoke: self.spoke, ..Self::default() };
    }

    /// Looks at the clock; called each [`PERIOD`].
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let recent = self.loud_at.is_some_and(|at| now.saturating_duration_since(at) <= END);
        let long = self.loud_since.is_some_and(|since| now.saturating_duration_since(since) >= BEGIN);
        self.speaking = recent && (self.speaking || long);
        if !recent {
            self.loud_since = None;
        }
        if self.speaking {
            self.spoke = Some(now);
        }
    }

    /// When it last was.
    pub(crate) fn spoke(&self) -> Option<Instant> {
        self.spoke
    }
}

/// The speakers of a room, loudest first, each once.
pub(crate) fn speakers<'a>(voices: impl Iterator<Item = (TrackId, ParticipantId, &'a Voice)>) -> Vec<ParticipantId> {
    let mut speaking: Vec<_> = voices.filter(|(.., voice)| voice.speaking).collect();
    // 6 dB steps: who is a little louder for a moment does not change the order.
    speaking.sort_by_key(|(track, _, voice)| (std::cmp::Reverse((voice.loudness / 6.0) as u32), *track));
    let mut list: Vec<ParticipantId> = Vec::with_capacity(speaking.len());
    for (_, participant, _) in speaking {
        if !list.contains(&participant) {
            list.push(participant);
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::epoch;

    /// Feeds a packet each 20 ms with `level(ms)`; the ms at which `speaking` changed.
    fn changes(until: u64, level: impl Fn(u64) -> u8) -> Vec<u64> {
        let mut voice = Voice::default();
        let mut before = false;
        let mut changes = Vec::new();
        for ms in (0..until).step_by(20) {
            let now = epoch() + Duration::from_millis(ms);
            voice.handle_level(level(ms), now);
            voice.handle_timeout(now);
            if voice.speaking != before {
                before = !before;
                changes.push(ms);
            }
        }
        changes
    }

    #[test]
    fn speech_is_found_and_pauses_are_bridged() {
        let speech = |ms: u64| if (1000..6000).contains(&ms) && ms % 1200 > 400 { 30 } else { 100 };
        let changes = changes(10_000, speech);
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert!((1300..2200).contains(&changes[0]) && (6500..7500).contains(&changes[1]), "{changes:?}");
    }

    #[test]
    fn a_click_and_noise_are_no_speech() {
        assert_eq!(changes(5000, |ms| if ms == 1000 { 0 } else { 90 }), []);
    }

    #[test]
    fn the_loudest_comes_first() {
        let now = epoch() + Duration::from_secs(1);
        let voice =
            |loudness| Voice { loudness, loud_since: Some(epoch()), loud_at: Some(now), speaking: true, spoke: None };
        let (quiet, loud, silent) = (voice(80.0), voice(120.0), Voice::default());
        let voices = [
            (TrackId(1), ParticipantId(1), &quiet),
            (TrackId(2), ParticipantId(2), &loud),
            (TrackId(3), ParticipantId(3), &silent),
        ];
        assert_eq!(speakers(voices.into_iter()), [ParticipantId(2), ParticipantId(1)]);
    }
}
