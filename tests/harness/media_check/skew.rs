//! Lip sync of a recording of flashes and beeps: how much later each beep comes than its flash.

use std::path::Path;

use super::decode::{Piece, decode_each};

/// A picture brighter than this, of 255, is a flash.
const BRIGHT: f64 = 128.0;

/// A sample louder than this, of 1, belongs to a beep.
const LOUD: f32 = 0.15;

/// A sound starts after this much silence, in seconds.
const SILENCE: f64 = 0.2;

/// A flash and a beep belong together within this many seconds.
const MATCH: f64 = 0.45;

/// What was measured, in milliseconds; positive when the sound is late.
#[derive(Debug, Clone, PartialEq)]
pub struct Skew {
    /// One value per flash that has its beep.
    pub each: Vec<f64>,
    pub flashes: usize,
    pub beeps: usize,
}

impl Skew {
    /// The largest distance in either direction.
    pub fn max(&self) -> f64 {
        self.each.iter().fold(0.0, |max, skew| skew.abs().max(max))
    }

    /// The middle value, with its sign.
    pub fn median(&self) -> f64 {
        let mut sorted = self.each.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// What begins when, in seconds.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Events {
    pub flashes: Vec<f64>,
    pub beeps: Vec<f64>,
}

/// Finds flashes and beeps in a file, without holding it in memory.
///
/// # Errors
/// When it cannot be opened, or when a frame does not decode.
pub fn events(file: &Path) -> Result<Events, ffmpeg_next::Error> {
    let mut events = Events::default();
    // A file that begins bright or loud has no beginning of that.
    let (mut bright, mut loud_at) = (true, f64::NEG_INFINITY);
    decode_each(file, |piece| match piece {
        Piece::Picture(picture) => {
            let was = std::mem::replace(&mut bright, picture.luma >= BRIGHT);
            if bright && !was {
                events.flashes.push(picture.at);
            }
        }
        Piece::Sound { at, rate, samples } => {
            for (n, _) in samples.iter().enumerate().filter(|(_, sample)| sample.abs() > LOUD) {
                let at = at + n as f64 / f64::from(rate);
                if at - loud_at > SILENCE {
                    events.beeps.push(at);
                }
                loud_at = at;
            }
        }
    })?;
    Ok(events)
}

/// Matches flashes to beeps.
pub fn skew(events: &Events) -> Skew {
    let Events { flashes, beeps } = events;
    let nearest = |flash: &f64| {
        // Both are in order: the neighbours of the flash's place.
        let place = beeps.partition_point(|beep| beep < flash);
        let near = beeps[place.saturating_sub(1)..beeps.len().min(place + 1)].iter().map(|beep| beep - flash);
        near.min_by(|a, b| a.abs().total_cmp(&b.abs())).filter(|skew| skew.abs() < MATCH)
    };
    let each = flashes.iter().filter_map(nearest).map(|skew| skew * 1000.0).collect();
    Skew { each, flashes: flashes.len(), beeps: beeps.len() }
}
