//! Encoded media for tests, from encoders that are not ours: every codec of a room by the ffmpeg command line.
//!
//! Only what ffmpeg can pipe is parsed here (IVF, Ogg, and H.264 with start codes), as far as its output goes.

use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use rtc_client::Codec;

/// One encoded frame or packet, timed from the start of its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    pub codec: Codec,
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
    /// The same, but none in each of so many seconds, the first of all among them.
    Rhythm(Duration, u32),
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
        self.encode(Codec::Vp8)
    }

    /// Encodes it as a camera in a room would.
    ///
    /// # Errors
    /// When ffmpeg is missing or fails, or for sound.
    pub fn encode(self, codec: Codec) -> io::Result<Vec<Encoded>> {
        // More threads than free cores wait for each other busily: thirty times the work on a full machine.
        let (format, encoder): (&str, &[&str]) = match codec {
            Codec::Vp8 => ("ivf", &["libvpx", "-deadline", "realtime", "-cpu-used", "16", "-auto-alt-ref", "0"]),
            Codec::Vp9 => (
                "ivf",
                &["libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-auto-alt-ref", "0", "-lag-in-frames", "0"],
            ),
            Codec::Av1 => {
                ("ivf", &["libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-lag-in-frames", "0", "-row-mt", "0"])
            }
            // A delimiter in front of each picture says where it begins.
            Codec::H264 => (
                "h264",
                &[
                    "libx264",
                    "-preset",
                    "ultrafast",
                    "-tune",
                    "zerolatency",
                    "-profile:v",
                    "baseline",
                    "-pix_fmt",
                    "yuv420p",
                    "-x264-params",
                    "aud=1:scenecut=0:repeat-headers=1",
                ],
            ),
            Codec::Opus => return Err(io::Error::other("a picture cannot be heard")),
        };
        let (source, seconds) = (self.source(), self.seconds.to_string());
        let (key_every, rate) = (self.key_every.to_string(), format!("{}k", self.kilobits));
        let mut args = vec!["-f", "lavfi", "-i", &source, "-t", &seconds, "-c:v"];
        args.extend(encoder);
        args.extend(["-threads", "1", "-b:v", &rate, "-g", &key_every, "-keyint_min", &key_every]);
        args.extend(["-f", format, "pipe:1"]);
        let stream = ffmpeg(&args)?;
        let frames = if codec == Codec::H264 { access_units(&stream) } else { ivf_frames(&stream) };
        let frames = frames.filter(|frames| !frames.is_empty());
        let frames = frames.ok_or_else(|| io::Error::other("ffmpeg wrote nothing that can be read"))?;
        Ok(frames.into_iter().enumerate().map(|(n, data)| self.frame(codec, n as u32, data)).collect())
    }

    fn source(&self) -> String {
        let Self { picture, width, height, fps, .. } = self;
        let black = format!("color=black:size={width}x{height}:rate={fps}");
        match picture {
            Picture::Bars => format!("testsrc2=size={width}x{height}:rate={fps}"),
            Picture::Noise => format!("testsrc2=size={width}x{height}:rate={fps},noise=alls=100:allf=t"),
            Picture::Flashes(first) => format!("{black},drawbox=color=white:t=fill:enable='{}'", once_a_second(*first)),
            Picture::Rhythm(first, dark) => format!(
                "{black},drawbox=color=white:t=fill:enable='{}*gte(mod(t+0.000001,{dark}),1)'",
                once_a_second(*first)
            ),
        }
    }

    /// The picture of this number, as the encoders were told to make it.
    fn frame(&self, codec: Codec, number: u32, data: Vec<u8>) -> Encoded {
        let key =
            if codec == Codec::Vp8 { vp8_key_size(&data).is_some() } else { number.is_multiple_of(self.key_every) };
        let size = key.then_some((self.width, self.height));
        let at = Duration::from_nanos(u64::from(number) * 1_000_000_000 / u64::from(self.fps));
        Encoded { codec, at, key, size, data }
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
            codec: Codec::Opus,
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

/// IVF: a header of 32 bytes, then frames of 12 bytes of header and their data.
fn ivf_frames(file: &[u8]) -> Option<Vec<Vec<u8>>> {
    if !file.starts_with(b"DKIF") {
        return None;
    }
    let mut frames = Vec::new();
    let mut at = usize::from(u16::from_le_bytes(file.get(6..8)?.try_into().ok()?));
    while at < file.len() {
        let len = u32::from_le_bytes(file.get(at..at + 4)?.try_into().ok()?) as usize;
        frames.push(file.get(at + 12..at + 12 + len)?.to_vec());
        at += 12 + len;
    }
    Some(frames)
}

/// Pictures of H.264, each with its delimiter in front.
fn access_units(stream: &[u8]) -> Option<Vec<Vec<u8>>> {
    const DELIMITER: [u8; 5] = [0, 0, 0, 1, 9];
    let starts = stream.windows(5).enumerate().filter(|(_, bytes)| *bytes == DELIMITER).map(|(at, _)| at);
    let starts: Vec<usize> = starts.chain([stream.len()]).collect();
    Some(starts.windows(2).map(|pair| stream[pair[0]..pair[1]].to_vec()).collect())
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
