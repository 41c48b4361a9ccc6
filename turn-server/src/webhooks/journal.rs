//! Webhooks that wait, on disk: a file a message, so that a restart loses none.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::queue::{Message, Tries};

/// A file.
#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    message: Message,
    /// Where it still has to go, and how often that was tried.
    urls: Vec<Tries>,
}

/// A folder. It is made with the first message.
pub(super) struct Journal {
    folder: PathBuf,
}

impl Journal {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Writes a message down, in place of what was there of it.
    pub(super) async fn write(&self, message: &Message, urls: &[Tries]) -> io::Result<()> {
        let entry = Entry { message: message.clone(), urls: urls.to_vec() };
        let bytes = serde_json::to_vec(&entry).map_err(io::Error::other)?;
        let (path, temporary) = (self.path(&message.id), self.folder.join(format!("{}.new", message.id)));
        tokio::fs::create_dir_all(&self.folder).await?;
        // Whole or not at all, also after a power cut.
        let written = async {
            let mut file = tokio::fs::File::create(&temporary).await?;
            tokio::io::AsyncWriteExt::write_all(&mut file, &bytes).await?;
            file.sync_all().await?;
            tokio::fs::rename(&temporary, &path).await?;
            tokio::fs::File::open(&self.folder).await?.sync_all().await
        };
        let written = written.await;
        if written.is_err() {
            // A full disk is not to keep halves as well; what cannot be removed now is at the next start.
            let _ = tokio::fs::remove_file(&temporary).await;
        }
        written
    }

    /// Forgets a message.
    pub(super) async fn remove(&self, id: &str) -> io::Result<()> {
        match tokio::fs::remove_file(self.path(id)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Everything that was not removed, in the order in which it was said.
    pub(super) async fn read(&self) -> io::Result<Vec<(Message, Vec<Tries>)>> {
        let mut folder = match tokio::fs::read_dir(&self.folder).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut names = Vec::new();
        while let Some(entry) = folder.next_entry().await? {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.ends_with(".new") {
                // Half of one, of a crash.
                if let Err(error) = tokio::fs::remove_file(entry.path()).await {
                    tracing::warn!(name, %error, "half a webhook cannot be removed");
                }
            } else if name.ends_with(".json") {
                names.push(name);
            }
        }
        // The time is in the name.
        names.sort();
        let mut found = Vec::new();
        for name in names {
            let read = tokio::fs::read(self.folder.join(&name)).await;
            match read.and_then(|bytes| serde_json::from_slice::<Entry>(&bytes).map_err(io::Error::other)) {
                Ok(Entry { message, urls }) => found.push((message, urls)),
                Err(error) => tracing::warn!(name, %error, "a waiting webhook cannot be read"),
            }
        }
        Ok(found)
    }

    fn path(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }
}

#[cfg(test)]
mod tests {
    use signalling::RecordingId;

    use super::*;

    #[tokio::test]
    async fn what_was_written_is_read_in_order_until_it_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Journal::new(folder.path().join("webhooks"));
        assert!(journal.read().await.expect("reads").is_empty());
        let message = |id: &str| Message {
            id: id.into(),
            recording: RecordingId::parse("r1").expect("an id"),
            created_ms: 7,
            body: "{\"a\":1}".into(),
        };
        for id in ["msg_2", "msg_1"] {
            journal.write(&message(id), &[("http://a/".into(), 0)]).await.expect("writes");
        }
        let tried = [("http://a/".into(), 3)];
        journal.write(&message("msg_2"), &tried).await.expect("writes again");
        // A torn file of a power cut holds nobody up.
        std::fs::write(folder.path().join("webhooks/msg_0.json"), "{").expect("writes");
        std::fs::write(folder.path().join("webhooks/msg_3.new"), "{").expect("writes");
        let found = journal.read().await.expect("reads");
        assert_eq!(found, [(message("msg_1"), vec![("http://a/".into(), 0)]), (message("msg_2"), tried.to_vec())]);
        assert!(!folder.path().join("webhooks/msg_3.new").exists());
        // A folder of that name is in the way of the file, and of no other.
        std::fs::create_dir(folder.path().join("webhooks/msg_4.json")).expect("a folder");
        assert_eq!(journal.read().await.expect("reads").len(), 2);
        journal.write(&message("msg_4"), &tried).await.expect_err("cannot be renamed to it");
        assert!(!folder.path().join("webhooks/msg_4.new").exists());
        std::fs::remove_dir(folder.path().join("webhooks/msg_4.json")).expect("removes");
        journal.remove("msg_1").await.expect("removes");
        journal.remove("msg_1").await.expect("is gone already");
        assert_eq!(journal.read().await.expect("reads").len(), 1);
    }
}
