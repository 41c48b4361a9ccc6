//! What a recording must stand: probes, decoders and parsers that are not ours, over one file.
//!
//! Every function looks at a finished file from outside. Nothing here uses `crates/webm`; a fault in it must not hide
//! behind itself.

mod cues;
mod decode;
mod skew;

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

pub use cues::{Block, Cluster, Cue, Layout, Sound, layout};
pub use decode::{Decoded, Picture, decode};
pub use skew::{Events, Skew, events, skew};

/// What ffprobe says of one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// `video` or `audio`.
    pub kind: String,
    /// ffmpeg's name of the codec: `vp8`, `opus`.
    pub codec: String,
    pub width: Option<u64>,
    pub height: Option<u64>,
    /// Packets, counted by reading the file.
    pub packets: u64,
}

/// What ffprobe says of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// The container's duration in seconds; a file that was never finished has none.
    pub duration: Option<f64>,
    pub streams: Vec<Stream>,
}

impl Probe {
    /// The first stream of a kind.
    pub fn stream(&self, kind: &str) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.kind == kind)
    }
}

/// Reads a file with ffprobe.
///
/// # Errors
/// When ffprobe is missing or refuses the file.
pub fn probe(file: &Path) -> io::Result<Probe> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_packets", "-show_format", "-show_streams", "-of", "json"])
        .arg(file)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let json: Value = serde_json::from_slice(&output.stdout)?;
    // ffprobe writes most numbers as strings.
    let number = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
    let stream = |stream: &Value| Stream {
        kind: stream["codec_type"].as_str().unwrap_or_default().to_owned(),
        codec: stream["codec_name"].as_str().unwrap_or_default().to_owned(),
        width: stream["width"].as_u64(),
        height: stream["height"].as_u64(),
        packets: stream["nb_read_packets"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0),
    };
    Ok(Probe {
        duration: number(&json["format"]["duration"]),
        streams: json["streams"].as_array().into_iter().flatten().map(stream).collect(),
    })
}

/// Decodes a whole file with the ffmpeg command, audio with the decoder of this name (`opus` or `libopus`), and gives each
/// line of complaint. A good file has none.
///
/// # Errors
/// When ffmpeg is missing.
pub fn decode_complaints(file: &Path, audio_decoder: &str) -> io::Result<Vec<String>> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-xerror", "-c:a", audio_decoder, "-i"])
        .arg(file)
        // Every frame as it is timed: the null muxer's own frame rate would complain of times that are merely uneven.
        .args(["-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-"])
        .stdin(Stdio::null())
        .output()?;
    let mut lines = lines(&output.stderr);
    if !output.status.success() {
        lines.push(format!("ffmpeg ended with {}", output.status));
    }
    Ok(lines)
}

/// Seconds of sound that a plain conversion of the first audio track gives. Gaps in timestamps do not count, missing packets
/// shorten it: this is what people complain about who extract the audio.
///
/// # Errors
/// When ffmpeg is missing or fails.
pub fn converted_seconds(file: &Path) -> io::Result<f64> {
    wav_seconds(file, "opus")
}

/// The same with the decoder of this name (`opus` or `libopus`).
///
/// # Errors
/// When ffmpeg is missing or fails.
pub fn wav_seconds(file: &Path, decoder: &str) -> io::Result<f64> {
    let mut ffmpeg = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-c:a", decoder, "-i"])
        .arg(file)
        .args(["-map", "0:a:0", "-f", "s16le", "-ac", "1", "-ar", "48000", "pipe:1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut stdout = ffmpeg.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
    // Hours of sound are not to be held in memory.
    let bytes = io::copy(&mut stdout, &mut io::sink())?;
    let status = ffmpeg.wait()?;
    if !status.success() {
        return Err(io::Error::other(format!("ffmpeg ended with {status}")));
    }
    Ok(bytes as f64 / 2.0 / 48_000.0)
}

/// Seconds of sound after the first audio track was taken over into another container (`ogg` or `mp4`).
///
/// # Errors
/// When ffmpeg is missing or fails.
pub fn converted(file: &Path, container: &str) -> io::Result<f64> {
    let scratch = tempfile::tempdir()?;
    let path = scratch.path().join("converted").with_extension(container);
    copy(file, &["-map", "0:a:0"], &path)?;
    converted_seconds(&path)
}

/// Copies streams into another file, as `ffmpeg -c copy` does.
///
/// # Errors
/// When ffmpeg is missing or fails.
pub fn copy(file: &Path, streams: &[&str], into: &Path) -> io::Result<()> {
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y", "-i"])
        .arg(file)
        .args(streams)
        .args(["-c", "copy"])
        .arg(into)
        .stdin(Stdio::null())
        .status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("ffmpeg ended with {status}"))) }
}

/// What mkvinfo, mkvmerge and `webm_info` find wrong with a file. A good file leaves it empty.
///
/// # Errors
/// When one of them is missing.
pub fn tool_complaints(file: &Path) -> io::Result<Vec<String>> {
    let scratch = tempfile::tempdir()?;
    let remuxed = scratch.path().join("remuxed.mkv");
    let mut runs = [
        ("mkvinfo", Command::new("mkvinfo")),
        ("mkvmerge", Command::new("mkvmerge")),
        ("webm_info", Command::new("webm_info")),
    ];
    runs[0].1.args(["--all", "--ui-language", "en_US"]).arg(file);
    runs[1].1.args(["--ui-language", "en_US", "-o"]).arg(&remuxed).arg(file);
    runs[2].1.args(["-all", "-i"]).arg(file);
    // libwebm's checker knows the codecs of WebM only.
    let count = if file.extension().is_some_and(|extension| extension == "mkv") { 2 } else { 3 };
    let mut complaints = Vec::new();
    for (name, command) in &mut runs[..count] {
        let output = command.stdin(Stdio::null()).output()?;
        // Exit status 1 of the mkvtoolnix programs means warnings.
        if !output.status.success() {
            complaints.push(format!("{name} ended with {}", output.status));
        }
        let bad = |line: &String| {
            ["warning", "error", "invalid", "unknown element"].iter().any(|word| line.to_lowercase().contains(word))
        };
        let said = lines(&output.stdout).into_iter().chain(lines(&output.stderr));
        complaints.extend(said.filter(bad).map(|line| format!("{name}: {line}")));
    }
    Ok(complaints)
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

/// A player finds the picture at this time without reading what is before it.
///
/// # Errors
/// What ffmpeg says, or that there is no picture.
pub fn check_seek(file: &Path, seconds: f64) -> Result<(), String> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-ss", &seconds.to_string(), "-i"])
        .arg(file)
        .args(["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "pipe:1"])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    let mut wrong = lines(&output.stderr);
    if !output.status.success() {
        wrong.push(format!("ffmpeg ended with {}", output.status));
    }
    if output.stdout.is_empty() {
        wrong.push(format!("no picture at {seconds} s"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

/// Everything that every recording must pass, in one call: decoders and tools have no complaint, and the cues are right.
///
/// # Errors
/// All that is wrong, one line each.
pub fn check_all(file: &Path) -> Result<(), String> {
    let mut wrong = Vec::new();
    for decoder in ["opus", "libopus"] {
        wrong.extend(decode_complaints(file, decoder).map_err(|error| error.to_string())?);
    }
    wrong.extend(tool_complaints(file).map_err(|error| error.to_string())?);
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    match layout(&bytes) {
        Ok(layout) => wrong.extend(layout.complaints()),
        Err(error) => wrong.push(error),
    }
    match decode(file) {
        Ok(decoded) => {
            if decoded.pictures.len() as u64 != decoded.video_packets {
                wrong.push(format!("{} pictures from {} packets", decoded.pictures.len(), decoded.video_packets));
            }
            if decoded.pictures.first().is_some_and(|picture| !picture.key) {
                wrong.push("the first picture is no key frame".to_owned());
            }
        }
        Err(error) => wrong.push(error.to_string()),
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}
