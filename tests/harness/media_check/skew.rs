//! Lip sync of a recording of flashes and beeps: how much later each beep comes than its flash.

use super::decode::Decoded;

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

/// Matches flashes to beeps.
pub fn skew(decoded: &Decoded) -> Skew {
    let (flashes, beeps) = (flashes(decoded), beeps(decoded));
    let nearest = |flash: &f64| {
        let distances = beeps.iter().map(|beep| beep - flash);
        distances.min_by(|a, b| a.abs().total_cmp(&b.abs())).filter(|skew| skew.abs() < MATCH)
    };
    let each = flashes.iter().filter_map(nearest).map(|skew| skew * 1000.0).collect();
    Skew { each, flashes: flashes.len(), beeps: beeps.len() }
}

/// Times at which the picture turns bright.
fn flashes(decoded: &Decoded) -> Vec<f64> {
    let brightest = decoded.pictures.iter().map(|picture| picture.luma).fold(0.0, f64::max);
    let darkest = decoded.pictures.iter().map(|picture| picture.luma).fold(255.0, f64::min);
    let middle = f64::midpoint(brightest, darkest);
    let pairs = decoded.pictures.windows(2);
    pairs.filter(|pair| pair[0].luma < middle && pair[1].luma >= middle).map(|pair| pair[1].at).collect()
}

/// Times at which it gets loud after a silence.
fn beeps(decoded: &Decoded) -> Vec<f64> {
    let rate = f64::from(decoded.sample_rate.max(1));
    let loudest =
        decoded.sound.iter().flat_map(|(_, samples)| samples).fold(0.0f32, |max, sample| sample.abs().max(max));
    let mut starts = Vec::new();
    let mut loud_at = f64::NEG_INFINITY;
    for (start, samples) in &decoded.sound {
        for (n, _) in samples.iter().enumerate().filter(|(_, sample)| sample.abs() > loudest * 0.3) {
            let at = start + n as f64 / rate;
            if at - loud_at > SILENCE {
                starts.push(at);
            }
            loud_at = at;
        }
    }
    starts
}
