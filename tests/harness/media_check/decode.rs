//! Every frame of a file, decoded through libavformat and libavcodec.

use std::path::Path;

use ffmpeg_next::{self as ffmpeg, Error, format, frame, media};

/// One decoded picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Picture {
    /// Seconds.
    pub at: f64,
    pub key: bool,
    pub width: u32,
    pub height: u32,
    /// Mean brightness, 0 to 255.
    pub luma: f64,
}

/// A decoded file: its first video track and its first audio track.
#[derive(Debug, Default, Clone)]
pub struct Decoded {
    pub video_packets: u64,
    pub pictures: Vec<Picture>,
    pub audio_packets: u64,
    /// Runs of samples of the left channel: the first one's time in seconds, and the samples.
    pub sound: Vec<(f64, Vec<f32>)>,
    pub sample_rate: u32,
}

impl Decoded {
    /// Seconds of sound.
    pub fn sound_seconds(&self) -> f64 {
        let samples: usize = self.sound.iter().map(|(_, samples)| samples.len()).sum();
        samples as f64 / f64::from(self.sample_rate.max(1))
    }
}

/// What came out of a decoder.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    Picture(Picture),
    /// Samples of the left channel.
    Sound {
        /// The first one's time in seconds.
        at: f64,
        /// Samples a second.
        rate: u32,
        samples: &'a [f32],
    },
}

/// Decodes a whole file into memory.
///
/// # Errors
/// When it cannot be opened, or when a frame does not decode.
pub fn decode(file: &Path) -> Result<Decoded, Error> {
    let mut decoded = Decoded::default();
    let (video, audio) = decode_each(file, |piece| match piece {
        Piece::Picture(picture) => decoded.pictures.push(picture),
        Piece::Sound { at, rate, samples } => {
            decoded.sample_rate = rate;
            decoded.sound.push((at, samples.to_vec()));
        }
    })?;
    Ok(Decoded { video_packets: video, audio_packets: audio, ..decoded })
}

/// Decodes a whole file piece by piece; returns how many packets of video and of audio it has.
///
/// # Errors
/// When it cannot be opened, or when a frame does not decode.
pub(super) fn decode_each(file: &Path, mut each: impl FnMut(Piece<'_>)) -> Result<(u64, u64), Error> {
    ffmpeg::init()?;
    let mut input = format::input(file)?;
    let mut packets = (0, 0);
    let best = |input: &format::context::Input, kind| input.streams().best(kind).map(|stream| stream.index());
    let (video, audio) = (best(&input, media::Type::Video), best(&input, media::Type::Audio));
    let context = |input: &format::context::Input, index| {
        let stream = input.stream(index).ok_or(Error::StreamNotFound)?;
        let context = ffmpeg::codec::Context::from_parameters(stream.parameters())?;
        Ok::<_, Error>((context.decoder(), f64::from(stream.time_base())))
    };
    let mut pictures = match video {
        Some(index) => Some(context(&input, index).and_then(|(decoder, base)| Ok((decoder.video()?, base)))?),
        None => None,
    };
    let mut sound = match audio {
        Some(index) => Some(context(&input, index).and_then(|(decoder, base)| Ok((decoder.audio()?, base)))?),
        None => None,
    };
    for (stream, packet) in input.packets() {
        if let Some((decoder, base)) = pictures.as_mut().filter(|_| Some(stream.index()) == video) {
            packets.0 += 1;
            decoder.send_packet(&packet)?;
            take_pictures(decoder, *base, &mut each)?;
        } else if let Some((decoder, base)) = sound.as_mut().filter(|_| Some(stream.index()) == audio) {
            packets.1 += 1;
            decoder.send_packet(&packet)?;
            take_sound(decoder, *base, &mut each)?;
        }
    }
    if let Some((decoder, base)) = &mut pictures {
        decoder.send_eof()?;
        take_pictures(decoder, *base, &mut each)?;
    }
    if let Some((decoder, base)) = &mut sound {
        decoder.send_eof()?;
        take_sound(decoder, *base, &mut each)?;
    }
    Ok(packets)
}

/// Whether a decoder has no more for now, as opposed to a failure.
fn drained(result: Result<(), Error>) -> Result<bool, Error> {
    match result {
        Ok(()) => Ok(false),
        Err(Error::Eof) => Ok(true),
        Err(Error::Other { errno }) if errno == libc::EAGAIN => Ok(true),
        Err(error) => Err(error),
    }
}

fn take_pictures(
    decoder: &mut ffmpeg::decoder::Video,
    base: f64,
    each: &mut impl FnMut(Piece<'_>),
) -> Result<(), Error> {
    let mut frame = frame::Video::empty();
    while !drained(decoder.receive_frame(&mut frame))? {
        let (width, height) = (frame.width(), frame.height());
        let rows = frame.data(0).chunks(frame.stride(0)).take(height as usize);
        let sum: u64 = rows.flat_map(|row| &row[..width as usize]).map(|luma| u64::from(*luma)).sum();
        each(Piece::Picture(Picture {
            at: frame.timestamp().unwrap_or(0) as f64 * base,
            key: frame.is_key(),
            width,
            height,
            luma: sum as f64 / f64::from(width * height),
        }));
    }
    Ok(())
}

fn take_sound(decoder: &mut ffmpeg::decoder::Audio, base: f64, each: &mut impl FnMut(Piece<'_>)) -> Result<(), Error> {
    let mut frame = frame::Audio::empty();
    while !drained(decoder.receive_frame(&mut frame))? {
        let at = frame.timestamp().unwrap_or(0) as f64 * base;
        // ffmpeg's own Opus decoder gives planes of floats.
        each(Piece::Sound { at, rate: frame.rate(), samples: frame.plane::<f32>(0) });
    }
    Ok(())
}
