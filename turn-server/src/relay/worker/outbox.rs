//! What waits to be written to a slow client: whole frames, bounded in time and bytes; the oldest media goes first,
//! answers stay.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::time::{Duration, Instant};

/// Media that has waited longer is of no use to a call. A bound in time lets a fast stream keep a whole key frame, where
/// a bound in bytes that suits a slow one would cut it.
const PATIENCE: Duration = Duration::from_millis(200);
/// Bytes that may always wait, however old: a stream of a few packets a second is not worth cutting.
const FLOOR: usize = 32 << 10;
/// Bytes that may ever wait: 200 ms at 40 Mbit/s.
const LIMIT: usize = 1 << 20;
/// Bytes at which even answers are not read: such a client is no client.
const STUCK: usize = LIMIT + (256 << 10);

/// See the module.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: VecDeque<u8>,
    frames: VecDeque<Frame>,
    /// Bytes of the first frame that are written: the rest must follow, or the stream is broken.
    begun: usize,
}

struct Frame {
    len: usize,
    /// When it came; `None`: an answer, which stays.
    media_of: Option<Instant>,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Queues an answer.
    pub(super) fn push_answer(&mut self, bytes: &[u8]) {
        self.append(&[bytes], None);
    }

    /// Queues media; gives the number of frames that were dropped for it, or instead of it.
    pub(super) fn push_media(&mut self, parts: &[&[u8]], now: Instant) -> u64 {
        let total = self.bytes.len() + parts.iter().map(|part| part.len()).sum::<usize>();
        let mut left = total;
        let mut dropped = 0;
        while left > FLOOR
            && let Some((index, came)) = self.oldest_media()
            && (left > LIMIT || now.saturating_duration_since(came) > PATIENCE)
        {
            left -= self.remove(index);
            dropped += 1;
        }
        if left > LIMIT {
            return dropped + 1;
        }
        self.append(parts, Some(now));
        dropped
    }

    /// Whether even answers are not read.
    pub(super) fn is_stuck(&self) -> bool {
        self.bytes.len() > STUCK
    }

    fn append(&mut self, parts: &[&[u8]], media_of: Option<Instant>) {
        let before = self.bytes.len();
        parts.iter().for_each(|part| self.bytes.extend(*part));
        self.frames.push_back(Frame { len: self.bytes.len() - before, media_of });
    }

    /// The oldest media frame that is not begun, and when it came.
    fn oldest_media(&self) -> Option<(usize, Instant)> {
        let skip = usize::from(self.begun > 0);
        let media = |(index, frame): (usize, &Frame)| frame.media_of.map(|came| (index, came));
        self.frames.iter().enumerate().skip(skip).find_map(media)
    }

    /// Takes a frame that is not begun out of the middle; gives its length.
    fn remove(&mut self, index: usize) -> usize {
        let start = self.frames.iter().take(index).map(|frame| frame.len).sum::<usize>() - self.begun;
        let Some(frame) = self.frames.remove(index) else { return 0 };
        self.bytes.drain(start..start + frame.len);
        frame.len
    }

    /// Writes as much as `stream` takes.
    pub(super) fn write_to(&mut self, stream: &mut impl Write) -> io::Result<()> {
        while !self.bytes.is_empty() {
            let (first, second) = self.bytes.as_slices();
            match stream.write_vectored(&[IoSlice::new(first), IoSlice::new(second)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.consume(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn consume(&mut self, written: usize) {
        self.bytes.drain(..written);
        self.begun += written;
        while let Some(frame) = self.frames.front()
            && frame.len <= self.begun
        {
            self.begun -= frame.len;
            self.frames.pop_front();
        }
        if self.frames.is_empty() {
            // A burst's memory is not kept for quiet times.
            self.bytes.shrink_to(16 << 10);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `room` bytes at a time, then says that it would block.
    struct Slow {
        room: usize,
        got: Vec<u8>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            self.got.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn some_instant() -> Instant {
        Instant::now()
    }

    fn at_most(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Rule: abuse-33
    #[test]
    fn the_oldest_media_is_dropped_but_never_half_a_frame_and_never_an_answer() {
        let (mut outbox, now) = (Outbox::default(), some_instant());
        let size = 1000;
        assert_eq!(outbox.push_media(&[&[0; 999], &[0]], now), 0);
        let mut slow = Slow { room: 500, got: Vec::new() };
        outbox.write_to(&mut slow).unwrap();
        outbox.push_answer(&[255; 1000]);
        let mut dropped = 0;
        for number in 1..=1200u32 {
            dropped += outbox.push_media(&[&[(number % 250) as u8; 1000]], now);
        }
        assert!(outbox.bytes.len() <= LIMIT && dropped > 0);

        slow.room = usize::MAX;
        outbox.write_to(&mut slow).unwrap();
        let frames: Vec<&[u8]> = slow.got.chunks(size).collect();
        assert!(frames.iter().all(|frame| frame.iter().all(|byte| *byte == frame[0])), "whole frames");
        assert_eq!((frames[0][0], frames[1][0]), (0, 255), "the begun frame and the answer");
        assert_eq!(frames.len() as u64, 1202 - dropped);
        assert_eq!(frames.last().unwrap()[0], (1200 % 250) as u8, "the newest media");
        assert!(outbox.is_empty() && outbox.frames.is_empty() && outbox.begun == 0);
    }

    /// Rule: abuse-33
    #[test]
    fn a_fast_stream_keeps_a_key_frame_and_a_slow_one_200_ms() {
        // A key frame of 500 KiB in 50 ms, where nothing can be written: all of it stays.
        let (mut fast, start) = (Outbox::default(), some_instant());
        for number in 0..500u64 {
            assert_eq!(fast.push_media(&[&[0; 1024]], start + at_most(number / 10)), 0);
        }
        // 1.6 Mbit/s without a reader: what stays is 200 ms of it, which is 40 kB, once that is more than the floor.
        let mut slow = Outbox::default();
        let mut dropped = 0;
        for number in 0..1000u64 {
            dropped += slow.push_media(&[&[0; 1000]], start + at_most(5 * number));
            assert!(slow.bytes.len() <= 41_000 + 1000, "{}", slow.bytes.len());
        }
        assert_eq!(dropped as usize, 1000 - slow.frames.len());
        assert_eq!(slow.frames.len(), 41, "from 200 ms ago until now");
        // 80 kbit/s: never less than the floor.
        let mut thin = Outbox::default();
        for number in 0..1000u64 {
            thin.push_media(&[&[0; 100]], start + at_most(10 * number));
        }
        assert_eq!(thin.bytes.len(), FLOOR / 100 * 100);
    }

    #[test]
    fn answers_that_nobody_reads_make_a_client_stuck() {
        let mut outbox = Outbox::default();
        while !outbox.is_stuck() {
            outbox.push_answer(&[0; 1000]);
        }
        assert_eq!(outbox.push_media(&[&[0; 1000]], some_instant()), 1, "no room for media");
    }
}
