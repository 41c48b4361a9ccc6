//! Encoded media for tests, from encoders that are not ours: VP8 and Opus by the ffmpeg command line.
//!
//! Only the two containers that ffmpeg can pipe are parsed here (IVF and Ogg), as far as its output goes.

use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

/// One encoded frame or packet, timed from the start of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    pub at: Duration,
    pub key: bool,
    /// Width and height, of a key frame.
    pub size: Option<(u16, u16)>,
    pub data: Vec<u8>,
}

/// What the camera sees.
#[derive(Debug, Clone, Copy)]
pub enum Picture {
    /// Moving test bars.
    Bars,
    /// Black, and white for 100 ms once a second, from this time on.
    Flashes(Duration),
    /// Moving test bars under noise, which no encoder makes small.
    Noise,
}

/// What the microphone hears.
#[derive(Debug, Clone, Copy)]
pub enum Sound {
    /// A steady tone.
    Tone,
    /// Silence, and a 1 kHz beep of 100 ms once a second, from this time on.
    Beeps(Duration),
}

/// How a video is encoded.
#[derive(Debug, Clone, Copy)]
pub struct Video {
    pub picture: Picture,
    pub width: u16,
    pub height: u16,
    pub fps: u32,
    /// Frames from one key frame to the next.
    pub key_every: u32,
    pub seconds: f64,
    /// Target bit rate.
    pub kilobits: u32,
}

impl Default for Video {
    fn default() -> Self {
        Self { picture: Picture::Bars, width: 640, height: 360, fps: 30, key_every: 60, seconds: 10.0, kilobits: 600 }
    }
}

impl Video {
    /// Encodes it as VP8, without frames that are not shown.
    ///
    /// # Errors
    /// When ffmpeg is missing or fails.
    pub fn vp8(self) -> io::Result<Vec<Encoded>> {
        let Self { picture, width, height, fps, key_every, seconds, kilobits } = self;
        let source = match picture {
            Picture::Bars => format!("testsrc2=size={width}x{height}:rate={fps}"),
            Picture::Noise => format!("testsrc2=size={width}x{height}:rate={fps},noise=alls=100:allf=t"),
            Picture::Flashes(first) => format!(
                "color=black:size={width}x{height}:rate={fps},drawbox=color=white:t=fill:enable='{}'",
                once_a_second(first)
            ),
        };
        let (seconds, key_every, rate) = (seconds.to_string(), key_every.to_string(), format!("{kilobits}k"));
        let ivf = ffmpeg(&[
            "-f",
            "lavfi",
            "-i",
            &source,
            "-t",
            &seconds,
            "-c:v",
            "libvpx",
            "-deadline",
            "realtime",
            "-cpu-used",
            "16",
            // More threads than free cores wait for each other busily: thirty times the work on a full machine.
            "-threads",
            "1",
            "-auto-alt-ref",
            "0",
            "-b:v",
            &rate,
            "-g",
            &key_every,
            "-f",
            "ivf",
            "pipe:1",
        ])?;
        parse_ivf(&ivf).ok_or_else(|| io::Error::other("ffmpeg wrote no IVF"))
    }
}

impl Sound {
    /// Encodes so many seconds of it as Opus packets of 20 ms.
    ///
    /// # Errors
    /// When ffmpeg is missing or fails.
    pub fn opus(self, seconds: f64) -> io::Result<Vec<Encoded>> {
        let source = match self {
            Self::Tone => "sine=frequency=440:sample_rate=48000".to_owned(),
            Self::Beeps(first) => {
                format!("aevalsrc='if({},0.5*sin(2*PI*1000*t),0)':sample_rate=48000", once_a_second(first))
            }
        };
        let seconds = seconds.to_string();
        let ogg = ffmpeg(&[
            "-f",
            "lavfi",
            "-i",
            &source,
            "-t",
            &seconds,
            "-ac",
            "2",
            "-c:a",
            "libopus",
            "-b:a",
            "48k",
            "-frame_duration",
            "20",
            "-f",
            "ogg",
            "pipe:1",
        ])?;
        let packets = ogg_packets(&ogg).ok_or_else(|| io::Error::other("ffmpeg wrote no Ogg"))?;
        // The first two are the stream's headers.
        let timed = packets.into_iter().skip(2).enumerate().map(|(n, data)| Encoded {
            at: Duration::from_millis(20) * n as u32,
            key: true,
            size: None,
            data,
        });
        Ok(timed.collect())
    }
}

/// An ffmpeg expression: true for 100 ms once a second, from `first` on.
fn once_a_second(first: Duration) -> String {
    let first = first.as_secs_f64();
    // A microsecond early, because frame times are no exact decimals.
    format!("gte(t+0.000001,{first})*lt(mod(t+0.000001-{first},1),0.1)")
}

/// Runs ffmpeg to its end and gives what it wrote.
fn ffmpeg(args: &[&str]) -> io::Result<Vec<u8>> {
    let output = Command::new("ffmpeg").args(["-nostdin", "-v", "error"]).args(args).stdin(Stdio::null()).output()?;
    if output.status.success() && !output.stdout.is_empty() {
        return Ok(output.stdout);
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// IVF: a header of 32 bytes with the time base, then frames of 12 bytes of header and their data.
fn parse_ivf(file: &[u8]) -> Option<Vec<Encoded>> {
    let word = |at: usize| Some(u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?));
    if !file.starts_with(b"DKIF") {
        return None;
    }
    let (rate, scale) = (u64::from(word(16)?), u64::from(word(20)?));
    let mut frames = Vec::new();
    let mut at = usize::from(u16::from_le_bytes(file.get(6..8)?.try_into().ok()?));
    while at < file.len() {
        let (len, ticks) = (word(at)? as usize, u64::from(word(at + 4)?));
        let data = file.get(at + 12..at + 12 + len)?.to_vec();
        let size = vp8_key_size(&data);
        let time = Duration::from_nanos(ticks * scale * 1_000_000_000 / rate);
        frames.push(Encoded { at: time, key: size.is_some(), size, data });
        at += 12 + len;
    }
    Some(frames)
}

/// Width and height that stand in a VP8 key frame (RFC 6386 section 9.1).
fn vp8_key_size(frame: &[u8]) -> Option<(u16, u16)> {
    let [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = *frame else { return None };
    let side = |low, high| u16::from_le_bytes([low, high]) & 0x3FFF;
    (tag & 1 == 0).then(|| (side(w0, w1), side(h0, h1)))
}

/// The packets of a logical Ogg stream (RFC 3533): pages of a lacing table and data.
fn ogg_packets(file: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut packets = Vec::new();
    let mut packet = Vec::new();
    let mut rest = file;
    while !rest.is_empty() {
        if !rest.starts_with(b"OggS") {
            return None;
        }
        let segments = usize::from(*rest.get(26)?);
        let table = rest.get(27..27 + segments)?;
        let mut at = 27 + segments;
        for lacing in table {
            packet.extend_from_slice(rest.get(at..at + usize::from(*lacing))?);
            at += usize::from(*lacing);
            if *lacing < 255 {
                packets.push(std::mem::take(&mut packet));
            }
        }
        rest = &rest[at..];
    }
    Some(packets)
}
