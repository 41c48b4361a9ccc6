//! What waits to be written to a slow client: whole frames, bounded; the oldest media goes first, answers stay.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

/// Bytes that may wait: about 200 ms of a 10 Mbit/s stream. Older media is of no use to a call.
const LIMIT: usize = 256 << 10;

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
    media: bool,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Queues a frame; gives the number of media frames that were dropped for it, or instead of it.
    pub(super) fn push(&mut self, parts: &[&[u8]], media: bool) -> u64 {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut dropped = 0;
        while self.bytes.len() + len > LIMIT {
            if !self.drop_oldest_media() {
                break;
            }
            dropped += 1;
        }
        if media && self.bytes.len() + len > LIMIT {
            return dropped + 1;
        }
        parts.iter().for_each(|part| self.bytes.extend(*part));
        self.frames.push_back(Frame { len, media });
        dropped
    }

    /// Whether even answers are not read: such a client is no client.
    pub(super) fn is_stuck(&self) -> bool {
        self.bytes.len() > 2 * LIMIT
    }

    fn drop_oldest_media(&mut self) -> bool {
        let skip = usize::from(self.begun > 0);
        let Some(index) = self.frames.iter().skip(skip).position(|frame| frame.media) else { return false };
        let index = index + skip;
        let start = self.frames.iter().take(index).map(|frame| frame.len).sum::<usize>() - self.begun;
        if let Some(frame) = self.frames.remove(index) {
            self.bytes.drain(start..start + frame.len);
        }
        true
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

    #[test]
    fn the_oldest_media_is_dropped_but_never_half_a_frame_and_never_an_answer() {
        let mut outbox = Outbox::default();
        let size = 1000;
        assert_eq!(outbox.push(&[&[0; 999], &[0]], true), 0);
        let mut slow = Slow { room: 500, got: Vec::new() };
        outbox.write_to(&mut slow).unwrap();
        assert_eq!(outbox.push(&[&[255; 1000]], false), 0);
        let mut dropped = 0;
        for number in 1..=300u32 {
            dropped += outbox.push(&[&[(number % 250) as u8; 1000]], true);
        }
        assert!(outbox.bytes.len() <= LIMIT && dropped > 0);

        slow.room = usize::MAX;
        outbox.write_to(&mut slow).unwrap();
        let frames: Vec<&[u8]> = slow.got.chunks(size).collect();
        assert!(frames.iter().all(|frame| frame.iter().all(|byte| *byte == frame[0])), "whole frames");
        assert_eq!((frames[0][0], frames[1][0]), (0, 255), "the begun frame and the answer");
        assert_eq!(frames.len() as u64, 302 - dropped);
        assert_eq!(frames.last().unwrap()[0], (300 % 250) as u8, "the newest media");
        assert!(outbox.is_empty() && outbox.frames.is_empty() && outbox.begun == 0);
    }

    /// Rule: abuse-33
    #[test]
    fn answers_that_nobody_reads_make_a_client_stuck() {
        let mut outbox = Outbox::default();
        while !outbox.is_stuck() {
            assert_eq!(outbox.push(&[&[0; 1000]], false), 0);
        }
        assert_eq!(outbox.push(&[&[0; 1000]], true), 1, "no room for media");
    }
}
