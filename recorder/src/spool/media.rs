//! A media file in the spool: appended to while it is recorded, finished after a crash.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use webm::{HEAD_LEN, Output, Recovery};

/// A file that is being written.
#[derive(Debug)]
pub struct MediaFile {
    file: Arc<File>,
    len: u64,
    dirty: bool,
}

impl MediaFile {
    /// Begins a file, which must not exist, with an empty head region.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.set_len(HEAD_LEN as u64)?;
        // The bytes are synced every second; without its name a power cut would lose them all the same.
        if let Some(folder) = path.parent() {
            super::sync_dir(folder)?;
        }
        Ok(Self { file: Arc::new(file), len: HEAD_LEN as u64, dirty: true })
    }

    /// Does what the muxer says. Returns the length of what will not change any more, but for the head.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&mut self, output: &Output) -> io::Result<u64> {
        match output {
            Output::Append(bytes) => {
                self.file.write_all_at(bytes, self.len)?;
                self.len += bytes.len() as u64;
            }
            Output::PatchHead(head) => self.file.write_all_at(head, 0)?,
        }
        self.dirty = true;
        Ok(self.len)
    }

    /// What is to be synced, if anything was written since the last time; it is for the caller to do where it may block.
    pub fn to_sync(&mut self) -> Option<Arc<File>> {
        std::mem::take(&mut self.dirty).then(|| self.file.clone())
    }

    /// Syncs everything.
    ///
    /// # Errors
    /// What the system says.
    pub fn close(self) -> io::Result<u64> {
        self.file.sync_all()?;
        Ok(self.len)
    }
}

/// What a file holds after it was repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// Its size.
    pub size: u64,
    /// Its duration.
    pub end: Duration,
    /// Codecs by RTP name.
    pub codecs: Vec<String>,
}

/// Finishes a file that its writer did not: cuts what is torn, appends the cues, writes the head. May be done again.
///
/// # Errors
/// What the system says. `Ok(None)`: it holds no media.
pub fn repair(path: &Path) -> io::Result<Option<Repaired>> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut recovery = Recovery::new(Vec::new());
    let mut chunk = vec![0; 1 << 20];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            n => recovery.handle_bytes(&chunk[..n]),
        }
    }
    let Ok(recovered) = recovery.finish() else { return Ok(None) };
    // The order makes a second crash harmless: until the head says so, the cues are only another torn tail.
    file.set_len(recovered.valid_len)?;
    file.write_all_at(&recovered.cues, recovered.valid_len)?;
    file.sync_all()?;
    file.write_all_at(&recovered.head, 0)?;
    file.sync_all()?;
    let mut codecs: Vec<String> = Vec::new();
    for facts in &recovered.tracks {
        let name = match facts.track.codec {
            webm::Codec::Opus => "opus",
            webm::Codec::Vp8 => "VP8",
            webm::Codec::Vp9 => "VP9",
            webm::Codec::Av1 { .. } => "AV1",
            webm::Codec::H264 { .. } => "H264",
        };
        if !codecs.iter().any(|codec| codec == name) {
            codecs.push(name.to_owned());
        }
    }
    let size = recovered.valid_len + recovered.cues.len() as u64;
    Ok(Some(Repaired { size, end: recovered.end, codecs }))
}
