//! People's files: kept once for each person, read by nobody else, and gone when they are deleted.
//!
//! How a file comes in is told in `files/`: `gathering` reads those of a chat request, `receiving` those of an upload,
//! `keeping` stores both. Whatever is half done when a process dies is finished by `tidying`.

mod gathering;
mod keeping;
mod metrics;
mod receiving;
mod thumbnails;
mod tidying;

use std::ops::Range;

use bytes::Bytes;
use common_http::{Clock, Metrics};
use futures_util::Stream;
use mongodb::Database;

pub(crate) use self::{
    gathering::{Attached, Gathered},
    keeping::{FILE_BYTES_MAX, KeptFile},
    receiving::Incoming,
    thumbnails::Picture,
};
use self::{metrics::FileMetrics, thumbnails::Thumbnails};
use crate::{
    config::FileLimits,
    domain::file_kind::FileKind,
    error::{Error, Result},
    store::{
        blobs::BlobStore,
        files::{FileStore, Kept, StoredFile, Whose},
        sessions::SessionStore,
    },
};

/// Files removed in one go before it is looked whether there are more.
const BATCH: i64 = 200;

/// People's files. Clones share everything.
#[derive(Clone)]
pub(crate) struct Files {
    rows: FileStore,
    blobs: BlobStore,
    sessions: SessionStore,
    thumbnails: Thumbnails,
    limits: FileLimits,
    metrics: FileMetrics,
    clock: Clock,
}

impl Files {
    /// Opens the collections.
    pub(crate) async fn open(
        limits: FileLimits,
        database: &Database,
        sessions: SessionStore,
        clock: Clock,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            rows: FileStore::open(database).await?,
            blobs: BlobStore::open(database).await?,
            sessions,
            thumbnails: Thumbnails::new(),
            limits,
            metrics: FileMetrics::new(metrics)?,
            clock,
        })
    }

    /// The rows, to be read.
    pub(crate) fn store(&self) -> FileStore {
        self.rows.clone()
    }

    /// What the person keeps here, and may keep.
    pub(crate) async fn usage(&self, user_id: &str) -> Result<(Kept, FileLimits)> {
        Ok((self.rows.count(user_id).await?, self.limits))
    }

    /// One of the person's files.
    pub(crate) async fn find(&self, user_id: &str, id: &str) -> Result<StoredFile> {
        self.rows.find(user_id, id).await?.ok_or(Error::FileNotFound)
    }

    /// The person's files in one of their sessions.
    pub(crate) async fn list_of_session(&self, user_id: &str, session_id: &str) -> Result<Vec<StoredFile>> {
        if !self.sessions.is_owned(session_id, user_id).await? {
            return Err(Error::SessionNotFound);
        }
        Ok(self.rows.list_of_session(user_id, session_id).await?)
    }

    /// The person's files in a message. Whether the message exists at all is not told.
    pub(crate) async fn list_of_message(&self, user_id: &str, message_id: &str) -> Result<Vec<StoredFile>> {
        Ok(self.rows.list_of_message(user_id, message_id).await?)
    }

    /// How many bytes of the file can be read.
    pub(crate) async fn length(&self, file: &StoredFile) -> Result<u64> {
        let blob = file.blob.ok_or(Error::FileDataNotFound)?;
        self.blobs.length(blob).await?.ok_or(Error::FileDataNotFound)
    }

    /// These bytes of the file, as they are read.
    pub(crate) async fn read(
        &self,
        file: &StoredFile,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes>> + use<>> {
        use futures_util::TryStreamExt as _;
        let blob = file.blob.ok_or(Error::FileDataNotFound)?;
        Ok(self.blobs.read(blob, range).await?.map_err(Error::from))
    }

    /// A small picture of an image, or the image itself where none can be made.
    pub(crate) async fn thumbnail(&self, file: &StoredFile, side: u32) -> Result<Picture> {
        if !FileKind::stored(&file.mime).is_image() {
            return Err(Error::NotAnImage);
        }
        let blob = file.blob.ok_or(Error::FileDataNotFound)?;
        if let Some(picture) = self.thumbnails.find(blob, side).await {
            return Ok(picture);
        }
        let turn = self.thumbnails.turn().await?;
        let bytes = self.blobs.read_whole(blob, FILE_BYTES_MAX).await?;
        let bytes = bytes.ok_or(Error::FileDataNotFound)?;
        self.thumbnails.make(turn, blob, side, bytes, &file.mime).await
    }

    /// Deletes one of the person's files, with its bytes when no other file has the same.
    pub(crate) async fn delete(&self, user_id: &str, id: &str) -> Result<()> {
        if !self.rows.doom(user_id, id, self.clock.now()).await? {
            return Err(Error::FileNotFound);
        }
        self.remove_doomed(Whose::Person(user_id)).await
    }

    /// Deletes all files of these sessions of the person.
    pub(crate) async fn delete_sessions(&self, user_id: &str, session_ids: &[String]) -> Result<u64> {
        let now = self.clock.now();
        let doomed = self.rows.doom_sessions(user_id, session_ids, now).await?;
        self.remove_doomed(Whose::Person(user_id)).await?;
        Ok(doomed)
    }

    /// Deletes everything that somebody who is gone has kept here.
    pub(crate) async fn delete_of(&self, user_id: &str) -> Result<u64> {
        let doomed = self.rows.doom_of(user_id, self.clock.now()).await?;
        self.remove_doomed(Whose::Person(user_id)).await?;
        Ok(doomed)
    }

    /// Removes the bytes of files that nobody sees any more, then their rows. Where it is broken off, the next one goes
    /// on; two at once do no harm.
    async fn remove_doomed(&self, whose: Whose<'_>) -> Result<()> {
        loop {
            let doomed = self.rows.list_doomed(whose, BATCH).await?;
            let Some(_) = doomed.first() else {
                return Ok(());
            };
            for file in doomed {
                self.remove_bytes(&file).await?;
                self.rows.delete(file.row).await?;
            }
        }
    }

    async fn remove_bytes(&self, file: &StoredFile) -> Result<()> {
        let Some(blob) = file.blob else {
            return Ok(());
        };
        if file.is_older {
            if !self.rows.is_shared(file).await? {
                self.blobs.delete_bytes(blob).await?;
            }
        } else if let Some(content) = file.content() {
            self.blobs.release(content, &file.id, blob).await?;
        } else {
            // Its bytes never came to their end, so nothing else can refer to them.
            self.blobs.delete_bytes(blob).await?;
        }
        self.thumbnails.forget(blob);
        Ok(())
    }
}
