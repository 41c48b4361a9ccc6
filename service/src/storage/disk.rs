//! Storage in a local folder. What both binaries share is only the folder: every object appears by an atomic rename of a
//! file that is on disk already, so a reader sees all of it or none.
//!
//! An unfinished upload is `{root}/.uploads/{id}/` with its `key`, its growing `data` (part n lies at
//! (n - 1) * [`PART_SIZE`], so completing is one rename) and an empty file `{n}.{size}.{md5}` for each part that is in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use md5::{Digest, Md5};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::{Body, Download, Error, Object, PART_SIZE, Part, Sse, StorageConfig, Upload, hex};

/// Where unfinished things lie. A key cannot name it: no part of a key starts with a dot.
const UPLOADS: &str = ".uploads";

/// A folder.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The configured folder and prefix.
    root: Arc<Path>,
    /// Tells temporary names of one process apart.
    counter: Arc<AtomicU64>,
}

impl Disk {
    pub(super) fn open(config: &StorageConfig) -> Result<Self, Error> {
        if config.path.as_os_str().is_empty() {
            return Err(Error::Config("path is empty; it must name a folder".into()));
        }
        if config.sse != Sse::Off {
            return Err(Error::Config("sse needs kind = \"s3\"; encrypt the disk instead".into()));
        }
        Ok(Self { root: config.path.join(&config.prefix).into(), counter: Arc::default() })
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    fn upload(&self, upload: &str) -> Result<PathBuf, Error> {
        // The id came back from a caller's journal, so it is checked like a key.
        super::check(upload)?;
        Ok(self.root.join(UPLOADS).join(upload))
    }

    /// A name that no other upload or process has: file names are the only thing that several writers share.
    fn unique(&self) -> String {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_nanos());
        format!("{nanos:x}-{}-{}", std::process::id(), self.counter.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), Error> {
        let (root, path, unique) = (self.root.clone(), self.path(key), self.unique());
        blocking("write", key, move || {
            let folder = root.join(UPLOADS);
            create_dirs(&folder)?;
            let temporary = folder.join(unique);
            let put = || {
                let mut file = File::create(&temporary)?;
                file.write_all(&bytes)?;
                publish(&file, &temporary, &path)
            };
            put().inspect_err(|_| {
                // A full disk would get less room with every try.
                let _ = fs::remove_file(&temporary);
            })
        })
        .await
    }

    pub(super) async fn read(&self, key: &str, range: Option<Range<u64>>) -> Result<Download, Error> {
        let fail = |error: io::Error| failure("read", key, &error);
        let mut file = tokio::fs::File::open(self.path(key)).await.map_err(fail)?;
        let meta = file.metadata().await.map_err(fail)?;
        if !meta.is_file() {
            return Err(Error::NotFound(key.into()));
        }
        let size = meta.len();
        let range = match range {
            Some(range) if range.start >= size => {
                let why = format!("it ends at byte {size}");
                return Err(Error::Refused { what: format!("read {key} from byte {}", range.start), why });
            }
            Some(range) => range.start..range.end.min(size),
            None => 0..size,
        };
        file.seek(SeekFrom::Start(range.start)).await.map_err(fail)?;
        let body = Box::pin(file.take(range.end - range.start));
        Ok(Download { size, range, md5: None, body })
    }

    pub(super) async fn head(&self, key: &str) -> Result<Option<Object>, Error> {
        match tokio::fs::metadata(self.path(key)).await {
            Ok(meta) if meta.is_file() => Ok(Some(Object { key: key.into(), size: meta.len(), etag: None })),
            Ok(_) => Ok(None),
            Err(error) => match failure("look at", key, &error) {
                Error::NotFound(_) => Ok(None),
                other => Err(other),
            },
        }
    }

    /// Reads the object back and digests it.
    pub(super) async fn digest(&self, key: &str) -> Result<Option<Object>, Error> {
        let (path, name) = (self.path(key), key.to_owned());
        let read = blocking("read", key, move || {
            let mut digest = Digesting(Md5::new());
            let size = io::copy(&mut File::open(path)?, &mut digest)?;
            Ok(Object { key: name, size, etag: Some(hex(&digest.0.finalize())) })
        });
        match read.await {
            Ok(object) => Ok(Some(object)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<Object>, Error> {
        let (root, prefix_owned) = (self.root.clone(), prefix.to_owned());
        blocking("list", prefix, move || {
            let folder = prefix_owned.rsplit_once('/').map_or("", |(folder, _)| folder);
            let mut found = Vec::new();
            walk(&root, folder, &mut found)?;
            found.retain(|object| object.key.starts_with(&prefix_owned));
            found.sort_by(|a, b| a.key.cmp(&b.key));
            Ok(found)
        })
        .await
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), Error> {
        let (root, path) = (self.root.clone(), self.path(key));
        blocking("delete", key, move || {
            absent_is_fine(fs::remove_file(&path))?;
            // Folders exist only because a key has slashes; empty ones would be litter.
            for folder in path.ancestors().skip(1).take_while(|folder| *folder != &*root) {
                if fs::remove_dir(folder).is_err() {
                    break;
                }
            }
            Ok(())
        })
        .await
    }

    pub(super) async fn create_upload(&self, key: &str) -> Result<String, Error> {
        let upload = self.unique();
        let folder = self.upload(&upload)?;
        let text = key.to_owned();
        blocking("begin uploading", key, move || {
            create_dirs(&folder)?;
            let begin = || {
                let mut file = File::create(folder.join("key"))?;
                file.write_all(text.as_bytes())?;
                file.sync_all()?;
                sync_dir(&folder)
            };
            begin().inspect_err(|_| {
                // Nobody knows of it, and without a whole key it is listed for nobody.
                let _ = fs::remove_dir_all(&folder);
            })
        })
        .await?;
        Ok(upload)
    }

    pub(super) async fn upload_part(
        &self,
        key: &str,
        upload: &str,
        number: u32,
        Body { bytes, md5: etag, .. }: Body,
    ) -> Result<String, Error> {
        let folder = self.upload(upload)?;
        if number == 0 || bytes.len() > PART_SIZE {
            return Err(Error::Refused {
                what: format!("take part {number} of {key}"),
                why: "bad number or size".into(),
            });
        }
        blocking("upload", key, move || {
            // Not `create`: an upload that was given up must not come back as half a folder.
            if !folder.join("key").exists() {
                return Err(io::ErrorKind::NotFound.into());
            }
            for old in parts_in(&folder)?.into_iter().filter(|part| part.number == number) {
                absent_is_fine(fs::remove_file(folder.join(marker(&old))))?;
            }
            let data = OpenOptions::new().write(true).create(true).truncate(false).open(folder.join("data"))?;
            data.write_all_at(&bytes, u64::from(number - 1) * PART_SIZE as u64)?;
            data.sync_data()?;
            let part = Part { number, size: bytes.len() as u64, etag: Some(etag.clone()) };
            File::create(folder.join(marker(&part)))?;
            sync_dir(&folder)?;
            Ok(etag)
        })
        .await
    }

    pub(super) async fn list_parts(&self, key: &str, upload: &str) -> Result<Vec<Part>, Error> {
        let folder = self.upload(upload)?;
        blocking("list the parts of", key, move || {
            let mut parts = parts_in(&folder)?;
            parts.sort_by_key(|part| part.number);
            Ok(parts)
        })
        .await
    }

    pub(super) async fn complete_upload(&self, key: &str, upload: &str, etags: &[String]) -> Result<(), Error> {
        let (folder, path) = (self.upload(upload)?, self.path(key));
        let mut parts = self.list_parts(key, upload).await?;
        parts.truncate(etags.len());
        let numbers = 1..=parts.len() as u32;
        let whole = parts.len() == etags.len()
            && parts.iter().zip(numbers).all(|(part, number)| part.number == number)
            && parts.iter().zip(etags).all(|(part, etag)| part.etag.as_ref() == Some(etag))
            && parts.iter().rev().skip(1).all(|part| part.size == PART_SIZE as u64);
        if !whole {
            let why = "a part is missing, short or another one".into();
            return Err(Error::Refused { what: format!("complete {key}"), why });
        }
        let size = parts.iter().map(|part| part.size).sum();
        blocking("complete", key, move || {
            let data = folder.join("data");
            let file = OpenOptions::new().write(true).open(&data)?;
            file.set_len(size)?;
            publish(&file, &data, &path)?;
            fs::remove_dir_all(&folder)
        })
        .await
    }

    pub(super) async fn abort_upload(&self, key: &str, upload: &str) -> Result<(), Error> {
        let folder = self.upload(upload)?;
        blocking("give up", key, move || absent_is_fine(fs::remove_dir_all(folder))).await
    }

    pub(super) async fn list_uploads(&self, prefix: &str) -> Result<Vec<Upload>, Error> {
        let (folder, prefix_owned) = (self.root.join(UPLOADS), prefix.to_owned());
        blocking("list uploads of", prefix, move || {
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                other => other?,
            };
            let mut uploads = Vec::new();
            for entry in entries {
                let entry = entry?;
                let path = entry.path().join("key");
                let Ok(key) = fs::read_to_string(&path) else { continue };
                if let (true, Ok(id)) = (key.starts_with(&prefix_owned), entry.file_name().into_string()) {
                    let begun = fs::metadata(path).and_then(|meta| meta.modified()).ok();
                    uploads.push(Upload { key, id, begun });
                }
            }
            Ok(uploads)
        })
        .await
    }

    /// Removes objects that a killed process had not given their names yet.
    pub(super) async fn sweep(&self, age: Duration) -> Result<(), Error> {
        let folder = self.root.join(UPLOADS);
        blocking("sweep", UPLOADS, move || {
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other?,
            };
            for entry in entries {
                let entry = entry?;
                let meta = entry.metadata()?;
                if meta.is_file() && meta.modified()?.elapsed().is_ok_and(|old| old >= age) {
                    absent_is_fine(fs::remove_file(entry.path()))?;
                }
            }
            Ok(())
        })
        .await
    }
}

/// A writer that only digests.
struct Digesting(Md5);

impl Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts a finished file in its place: its bytes first, then its name, then the folder that holds the name.
fn publish(file: &File, from: &Path, to: &Path) -> io::Result<()> {
    file.sync_all()?;
    let folder = to.parent().unwrap_or(Path::new("."));
    create_dirs(folder)?;
    fs::rename(from, to)?;
    sync_dir(folder)
}

/// Creates a folder and makes each new level survive a power cut.
fn create_dirs(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_dirs(parent)?;
        match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        return sync_dir(parent);
    }
    fs::create_dir(folder)
}

fn sync_dir(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn marker(part: &Part) -> String {
    format!("{}.{}.{}", part.number, part.size, part.etag.as_deref().unwrap_or_default())
}

fn parts_in(folder: &Path) -> io::Result<Vec<Part>> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        let mut fields = name.split('.');
        let (Some(number), Some(size), Some(etag)) = (fields.next(), fields.next(), fields.next()) else { continue };
        if let (Ok(number), Ok(size)) = (number.parse(), size.parse()) {
            parts.push(Part { number, size, etag: Some(etag.into()) });
        }
    }
    Ok(parts)
}

/// Collects the objects below `root/folder`; hidden names are ours and no objects.
fn walk(root: &Path, folder: &str, found: &mut Vec<Object>) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(folder)) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let key = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => match walk(root, &key, found) {
                // Such as `lost+found` of a disk of its own: nothing of ours is in it.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    tracing::warn!(folder = key, %error, "not listed");
                }
                other => other?,
            },
            Ok(meta) if meta.is_file() => found.push(Object { key, size: meta.len(), etag: None }),
            // Neither, or deleted since: no object.
            _ => {}
        }
    }
    Ok(())
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    what: &str,
    key: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| failure(what, key, &error))
}

fn failure(what: &str, key: &str, error: &io::Error) -> Error {
    let what = format!("{what} {key}");
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::NotFound(key.into()),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::Refused { what, why: error.to_string() }
        }
        _ => Error::Unavailable { what, why: error.to_string() },
    }
}
