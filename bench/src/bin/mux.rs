//! CPU per recorded minute of `crates/webm` beside libavformat: the same frames, in the same run, to memory and to a file.
//!
//! libavformat gets its packets ready made and with its parameters set, as a recorder built on it would; neither side is
//! charged for making the frames.

use std::error::Error;
use std::fs::File;
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::time::Duration;

use ffmpeg_next::format::context::{Input, StreamIo};
use ffmpeg_next::{self as ffmpeg, Packet, codec, format, media};
use rustix::time::{ClockId, clock_gettime};
use webm::{Codec, Frame, HEAD_LEN, Muxer, Options, Output, Size, TrackNumber};

/// How long the recording is.
const MINUTE: u64 = 60_000;
/// How often each side writes it; the median counts.
const ROUNDS: usize = 31;

fn main() -> Result<(), Box<dyn Error>> {
    ffmpeg::init()?;
    ffmpeg::log::set_level(ffmpeg::log::Level::Fatal);
    let frames = frames();
    let file = own(frames.clone(), Cursor::new(Vec::new()))?.into_inner();
    let packets = Packets::of(file)?;
    println!("one minute: {} frames, {:.1} MB", frames.len(), bytes(&frames) as f64 / 1e6);
    println!("{:<8} {:>14} {:>14} {:>7}", "to", "crates/webm", "libavformat", "ratio");

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // In turn, so that a busy machine is busy for both.
    for _ in 0..ROUNDS {
        let (mine, sink) = (frames.clone(), Cursor::new(Vec::with_capacity(8 << 20)));
        ours.push(cpu(|| own(mine, sink))?);
        let (mine, sink) = (packets.clone(), Cursor::new(Vec::with_capacity(8 << 20)));
        theirs.push(cpu(|| mine.write(sink))?);
    }
    report("memory", ours, theirs);

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (mine, sink) = (frames.clone(), tempfile::tempfile()?);
        ours.push(cpu(|| own(mine, sink))?);
        let (mine, sink): (_, File) = (packets.clone(), tempfile::tempfile()?);
        theirs.push(cpu(|| mine.write(sink))?);
    }
    report("file", ours, theirs);
    Ok(())
}

fn report(sink: &str, ours: Vec<Duration>, theirs: Vec<Duration>) {
    let (ours, theirs) = (median(ours), median(theirs));
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
    let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
    println!("{sink:<8} {:>14} {:>14} {ratio:>6.1}x", ms(ours), ms(theirs));
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// CPU time of this thread that `work` takes.
fn cpu<T>(work: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let start = now();
    let kept = work()?;
    let taken = now() - start;
    drop(kept);
    Ok(taken)
}

/// A camera of 30 pictures a second with a key frame every two, and a microphone of 20 ms packets; 6.4 MB a minute.
fn frames() -> Vec<Frame> {
    // The numbers that `own` gives its tracks.
    let [mic, cam] = [1, 2].map(|number| TrackNumber::new(number).expect("in range"));
    let sound = (0..MINUTE / 20).map(|n| {
        let mut data = vec![0x55; 120];
        data[0] = 0xFC;
        Frame { track: mic, at: Duration::from_millis(n * 20), key: true, size: None, data }
    });
    let pictures = (0..MINUTE * 30 / 1000).map(|n| {
        let key = n % 60 == 0;
        let mut data = vec![0xAA; if key { 20_000 } else { 3_100 }];
        // The start of a VP8 key frame of 640 x 360 (RFC 6386 section 9.1), or of one that depends on others.
        let start: [u8; 10] = [0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
        data[..10].copy_from_slice(&start);
        data[0] |= u8::from(!key);
        let size = key.then_some(Size { width: 640, height: 360 });
        Frame { track: cam, at: Duration::from_micros(n * 1_000_000 / 30), key, size, data }
    });
    let mut frames: Vec<Frame> = sound.chain(pictures).collect();
    frames.sort_by_key(|frame| frame.at);
    frames
}

fn bytes(frames: &[Frame]) -> usize {
    frames.iter().map(|frame| frame.data.len()).sum()
}

/// Writes the frames with `crates/webm`.
fn own<S: Write + Seek>(frames: Vec<Frame>, mut sink: S) -> Result<S, Box<dyn Error>> {
    let mut muxer = Muxer::new(Options::default());
    muxer.add_track(Codec::Opus)?;
    muxer.add_track(Codec::Vp8)?;
    let mut obey = |muxer: &mut Muxer| -> std::io::Result<()> {
        while let Some(output) = muxer.poll_output() {
            match output {
                Output::Append(bytes) => {
                    sink.seek(SeekFrom::End(0))?;
                    sink.write_all(&bytes)?;
                }
                Output::PatchHead(head) => {
                    debug_assert_eq!(head.len(), HEAD_LEN);
                    sink.seek(SeekFrom::Start(0))?;
                    sink.write_all(&head)?;
                }
            }
        }
        Ok(())
    };
    for frame in frames {
        muxer.handle_frame(frame)?;
        obey(&mut muxer)?;
    }
    muxer.finish(Duration::from_millis(MINUTE));
    obey(&mut muxer)?;
    Ok(sink)
}

/// The same frames as libavformat takes them.
#[derive(Clone)]
struct Packets {
    streams: Vec<codec::Parameters>,
    packets: Vec<Packet>,
}

impl Packets {
    /// Reads them from a file.
    fn of(file: Vec<u8>) -> Result<Self, ffmpeg::Error> {
        let mut input: Input = format::input_from_stream(StreamIo::from_read_seek(Cursor::new(file))?, None, None)?;
        let streams = input.streams().map(|stream| stream.parameters()).collect();
        let packets = input.packets().map(|(_, packet)| packet).collect();
        Ok(Self { streams, packets })
    }

    /// Writes them with libavformat.
    fn write<S: Write + Seek + Send + 'static>(self, sink: S) -> Result<(), Box<dyn Error>> {
        let mut output = format::output_to_stream(StreamIo::from_write_seek(sink)?, None, Some("webm"))?;
        for parameters in self.streams {
            debug_assert!(matches!(parameters.medium(), media::Type::Audio | media::Type::Video));
            output.add_stream(ffmpeg::encoder::find(codec::Id::None))?.set_parameters(parameters);
        }
        output.write_header()?;
        // WebM's clock is the milliseconds that the packets were read with.
        for packet in self.packets {
            packet.write_interleaved(&mut output)?;
        }
        output.write_trailer()?;
        Ok(())
    }
}
