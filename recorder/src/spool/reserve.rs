//! A file of blocks that nobody needs until the disk is full: then cues, heads and journals are written in their place.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

/// Cues and heads of some hundred files of hours.
const SIZE: u64 = 4 << 20;

/// Makes the file, with blocks of its own, on a disk that has so many bytes free.
pub(super) fn take(path: &Path, free: u64) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|meta| meta.len() == SIZE) {
        return Ok(());
    }
    if free < 2 * SIZE {
        // What was given back is being used.
        return Err(io::ErrorKind::StorageFull.into());
    }
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    let taken = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, SIZE);
    if taken.is_err() {
        // Half a reserve is taken for none, and would only be in the way.
        let _ = fs::remove_file(path);
    }
    Ok(taken?)
}
