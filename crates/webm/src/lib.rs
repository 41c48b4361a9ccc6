//! A crash-safe WebM writer without IO.
//!
//! [`Muxer`] takes frames of a few tracks and says what to do to one file: append whole clusters of known size, or
//! rewrite the fixed head region of [`HEAD_LEN`] bytes at its start. Whatever stops the process, the file so far is a
//! list of whole clusters and at most one torn one; [`Recovery`] reads such a file, damaged or not, and says how to
//! finish it. Nothing is ever moved, so everything behind the head can be uploaded while the recording goes on.
//!
//! Not here: depacketising, clocks and gap filling (the recorder), files and uploads (the recorder's spool).
//!
//! ```
//! use std::time::Duration;
//! use webm::{Codec, Frame, HEAD_LEN, Muxer, Options};
//!
//! // The file of this example is a vector; a spool does the same with `pwrite`.
//! let mut file = Vec::new();
//! let mut muxer = Muxer::new(Options::default());
//! let mic = muxer.add_track(Codec::Opus)?;
//! let cam = muxer.add_track(Codec::Vp8)?; // never delivers here, so the file never declares it
//!
//! for n in 0..100 {
//!     let at = Duration::from_millis(n * 20);
//!     muxer.handle_frame(Frame { track: mic, at, key: true, size: None, data: vec![0xf8, 0xff, 0xfe] })?;
//!     muxer.handle_timeout(at);
//!     while let Some(output) = muxer.poll_output() {
//!         output.apply(&mut file);
//!     }
//! }
//! muxer.finish(Duration::from_secs(2));
//! while let Some(output) = muxer.poll_output() {
//!     output.apply(&mut file);
//! }
//! assert_eq!(muxer.len(), file.len() as u64);
//!
//! // After a crash: feed what is on the disk, in chunks of any size.
//! file.truncate(HEAD_LEN + 700);
//! let mut recovery = webm::Recovery::new(Vec::new());
//! recovery.handle_bytes(&file);
//! recovery.finish()?.apply(&mut file);
//! # let _ = cam;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cluster;
mod cues;
mod ebml;
mod head;
mod id;
mod muxer;
mod opus;
mod recovery;
mod reorder;
mod track;

#[cfg(test)]
mod tests;

pub use head::HEAD_LEN;
pub use muxer::{Frame, FrameError, MAX_TIME, Muxer, Options, Output, Stats};
pub use opus::opus_head;
pub use recovery::{Recovered, Recovery, RecoveryError, TrackFacts};
pub use track::{Codec, Size, Track, TrackError, TrackNumber};
