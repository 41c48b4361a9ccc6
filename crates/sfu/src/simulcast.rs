//! The encodings of one track, and which of them a receiver should get.

use std::time::{Duration, Instant};

use crate::engine::{Format, Packet, Rid};
use crate::keyframe::KeyFrames;
use crate::recent::Recent;

/// An encoding without packets for so long is not sent any more (a browser short of bandwidth stops its best one).
const DEAD: Duration = Duration::from_millis(1000);
/// How often the rate is looked at.
const WINDOW: Duration = Duration::from_secs(1);

/// One encoding.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) rid: Option<Rid>,
    /// Its source; another one is another stream.
    pub(crate) ssrc: u32,
    pub(crate) seen: Instant,
    pub(crate) keys: KeyFrames,
    pub(crate) recent: Recent,
    /// Height of its pictures, if a key frame said it in the clear.
    height: Option<u16>,
    /// Bytes of the last whole window, of this one, and when this one began.
    rate: u64,
    bytes: u64,
    window: Instant,
}

impl Layer {
    pub(crate) fn new(packet: &Packet, now: Instant) -> Self {
        Self {
            rid: packet.rid,
            ssrc: packet.ssrc,
            seen: now,
            keys: KeyFrames::default(),
            recent: Recent::default(),
            height: None,
            rate: 0,
            bytes: 0,
            window: now,
        }
    }

    /// Takes note of a packet; `true`: its source is not the one before, nothing continues.
    pub(crate) fn handle_packet(&mut self, packet: &Packet, now: Instant) -> bool {
        let changed = std::mem::replace(&mut self.ssrc, packet.ssrc) != packet.ssrc;
        self.seen = now;
        self.bytes += packet.payload.len() as u64;
        if now.saturating_duration_since(self.window) >= WINDOW {
            (self.rate, self.bytes, self.window) = (self.bytes, 0, now);
        }
        if packet.picture.starts_key {
            self.height = packet.picture.size.map(|(_, height)| height).or(self.height);
            self.keys.handle_key_frame(now);
        }
        if changed {
            self.recent.clear();
        }
        if packet.format != Format::Opus {
            self.recent.push(packet, now);
        }
        changed
    }

    /// Better encodings are larger: by height where it is known, else by rate.
    fn worth(&self) -> (u16, u64) {
        (self.height.unwrap_or(0), self.rate.max(self.bytes))
    }
}

/// The encoding for a receiver that shows the track `height` pixels high (`None`: as large as can be): the smallest live
/// one that is high enough, else the best live one, else what was there last.
pub(crate) fn choose(layers: &[Layer], height: Option<u32>, now: Instant) -> Option<usize> {
    let live = |layer: &Layer| now.saturating_duration_since(layer.seen) < DEAD;
    let indexes = || (0..layers.len()).filter(|&i| live(&layers[i]));
    let enough = |i: &usize| match (height, layers[*i].height) {
        (Some(wanted), Some(height)) => u32::from(height) >= wanted,
        _ => false,
    };
    let smallest = indexes().filter(enough).min_by_key(|&i| layers[i].worth());
    let best = || indexes().max_by_key(|&i| layers[i].worth());
    let last = || (0..layers.len()).max_by_key(|&i| layers[i].seen);
    smallest.or_else(best).or_else(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{epoch, packet};

    fn layer(height: u16, seen_ms: u64) -> Layer {
        let mut key = packet(Format::Vp8, 1, 1);
        (key.picture.starts_key, key.picture.size) = (true, Some((height * 4 / 3, height)));
        let now = epoch() + Duration::from_millis(seen_ms);
        let mut layer = Layer::new(&key, now);
        layer.handle_packet(&key, now);
        layer
    }

    #[test]
    fn the_size_on_screen_decides_among_the_live_ones() {
        let now = epoch() + Duration::from_secs(2);
        let layers = [layer(180, 2000), layer(360, 2000), layer(720, 2000)];
        for (height, index) in [(None, 2), (Some(100), 0), (Some(200), 1), (Some(360), 1), (Some(5000), 2)] {
            assert_eq!(choose(&layers, height, now), Some(index), "{height:?}");
        }
    }

    #[test]
    fn an_encoding_that_stopped_is_left() {
        let now = epoch() + Duration::from_secs(2);
        assert_eq!(choose(&[layer(180, 2000), layer(720, 500)], None, now), Some(0));
        assert_eq!(choose(&[layer(180, 400), layer(720, 500)], None, now), Some(1));
        assert_eq!(choose(&[], None, now), None);
    }
}
