//! The bytes of files, in GridFS (bucket `fs`), and who refers to them: the collection `file_blobs`.
//!
//! A person who sends the same bytes twice has them stored once. Which files refer to a blob is kept as a set, not as a
//! number: a change that is made twice counts once. A blob goes with the last file that refers to it, in one conditional
//! delete, so that a file which takes it up at that very moment either keeps it or finds none and stores its own.

use std::ops::Range;

use bson::{Binary, Document, doc, oid::ObjectId, spec::BinarySubtype};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use mongodb::{
    Collection, Database, IndexModel,
    error::Error,
    options::{IndexOptions, ReturnDocument},
};
use serde::Deserialize;

use super::{
    Result,
    indexes::{ensure_index, is_duplicate_key},
};

/// GridFS's own default: two round trips for a photo, and no more than this in memory for each reader.
pub(crate) const CHUNK_BYTES: usize = 255 << 10;

/// Chunks the driver fetches at once.
const CHUNKS_AT_ONCE: u32 = 4;

/// The stored bytes of files.
#[derive(Clone, Debug)]
pub(crate) struct BlobStore {
    files: Collection<Document>,
    chunks: Collection<Document>,
    blobs: Collection<Document>,
}

/// Bytes a person has sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content<'a> {
    pub(crate) user_id: &'a str,
    /// SHA-256 in hex.
    pub(crate) hash: &'a str,
}

impl Content<'_> {
    fn key(&self) -> String {
        format!("{}:{}", self.user_id, self.hash)
    }
}

#[derive(Deserialize)]
struct BlobRow {
    gridfs_id: ObjectId,
}

#[derive(Deserialize)]
struct ChunkRow {
    n: i32,
    data: Binary,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileRow {
    length: i64,
    chunk_size: i32,
}

impl BlobStore {
    /// Opens the collections and makes sure of the indexes that GridFS wants.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let store = Self {
            files: database.collection("fs.files"),
            chunks: database.collection("fs.chunks"),
            blobs: database.collection("file_blobs"),
        };
        let unique = IndexOptions::builder().unique(true).build();
        let chunk = IndexModel::builder()
            .keys(doc! { "files_id": 1, "n": 1 })
            .options(unique)
            .build();
        store.chunks.create_index(chunk).await?;
        ensure_index(&store.files, doc! { "filename": 1, "uploadDate": 1 }).await?;
        Ok(store)
    }

    /// Lets a file refer to bytes that the person has here already, and says where they are.
    pub(crate) async fn refer(&self, content: Content<'_>, file_id: &str) -> Result<Option<ObjectId>> {
        let update = doc! { "$addToSet": { "files": file_id } };
        let blobs = self.blobs.clone_with_type::<BlobRow>();
        let blob = blobs
            .find_one_and_update(doc! { "_id": content.key() }, update)
            .await?;
        Ok(blob.map(|blob| blob.gridfs_id))
    }

    /// Lets a file refer to bytes that were just stored under `gridfs_id`. Where somebody stored the same at the same
    /// time, theirs are referred to and ours removed. Says where the bytes are.
    pub(crate) async fn insert(
        &self,
        content: Content<'_>,
        file_id: &str,
        gridfs_id: ObjectId,
    ) -> Result<ObjectId> {
        let update = doc! {
            "$setOnInsert": { "gridfs_id": gridfs_id, "user_id": content.user_id },
            "$addToSet": { "files": file_id },
        };
        let upsert = async || {
            let blobs = self.blobs.clone_with_type::<BlobRow>();
            blobs
                .find_one_and_update(doc! { "_id": content.key() }, update.clone())
                .upsert(true)
                .return_document(ReturnDocument::After)
                .await
        };
        let blob = match upsert().await {
            // Two upserts at once: the other one has made it by now.
            Err(error) if is_duplicate_key(&error) => upsert().await?,
            outcome => outcome?,
        };
        let kept = blob.map_or(gridfs_id, |blob| blob.gridfs_id);
        if kept != gridfs_id {
            self.delete_bytes(gridfs_id).await?;
        }
        Ok(kept)
    }

    /// Ends a file's reference to the bytes at `gridfs_id`, and removes them unless another file refers to them. What is
    /// half done is done by calling it again.
    pub(crate) async fn release(
        &self,
        content: Content<'_>,
        file_id: &str,
        gridfs_id: ObjectId,
    ) -> Result<()> {
        let filter = doc! { "_id": content.key() };
        self.blobs
            .update_one(filter, doc! { "$pull": { "files": file_id } })
            .await?;
        let blobs = self.blobs.clone_with_type::<BlobRow>();
        let unused = doc! { "_id": content.key(), "files": [] };
        if let Some(blob) = blobs.find_one_and_delete(unused).await? {
            self.delete_bytes(blob.gridfs_id).await?;
        }
        let referred = doc! { "_id": content.key(), "gridfs_id": gridfs_id };
        if self.blobs.find_one(referred).await?.is_none() {
            self.delete_bytes(gridfs_id).await?;
        }
        Ok(())
    }

    /// Writes one chunk of bytes that are being stored.
    pub(crate) async fn write_chunk(&self, gridfs_id: ObjectId, n: i32, bytes: &[u8]) -> Result<()> {
        let data = Binary {
            subtype: BinarySubtype::Generic,
            bytes: bytes.to_vec(),
        };
        self.chunks
            .insert_one(doc! { "files_id": gridfs_id, "n": n, "data": data })
            .await?;
        Ok(())
    }

    /// Says that all chunks are written.
    pub(crate) async fn finish(
        &self,
        gridfs_id: ObjectId,
        length: i64,
        content: Content<'_>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let file = doc! {
            "_id": gridfs_id,
            "length": length,
            "chunkSize": i32::try_from(CHUNK_BYTES).unwrap_or(i32::MAX),
            "uploadDate": bson::DateTime::from_chrono(now),
            "filename": content.hash,
            "metadata": { "user_id": content.user_id, "file_hash": content.hash },
        };
        self.files.insert_one(file).await?;
        Ok(())
    }

    /// Stores bytes that are in memory anyway.
    pub(crate) async fn write(
        &self,
        gridfs_id: ObjectId,
        bytes: &[u8],
        content: Content<'_>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        for (n, chunk) in (0..).zip(bytes.chunks(CHUNK_BYTES)) {
            self.write_chunk(gridfs_id, n, chunk).await?;
        }
        let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        self.finish(gridfs_id, length, content, now).await
    }

    /// How many bytes are stored there; `None` when there are none.
    pub(crate) async fn length(&self, gridfs_id: ObjectId) -> Result<Option<u64>> {
        Ok(self.find(gridfs_id).await?.map(|(length, _)| length))
    }

    /// A part of the bytes, as it is read.
    pub(crate) async fn read(
        &self,
        gridfs_id: ObjectId,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes>> + use<>> {
        let (_, chunk_bytes) = self.find(gridfs_id).await?.unwrap_or((0, 1));
        let (first, last) = (
            range.start / chunk_bytes,
            range.end.saturating_sub(1) / chunk_bytes,
        );
        let wanted = doc! {
            "$gte": i64::try_from(first).unwrap_or(i64::MAX),
            "$lte": i64::try_from(last).unwrap_or(i64::MAX),
        };
        let chunks = self.chunks.clone_with_type::<ChunkRow>();
        let chunks = chunks
            .find(doc! { "files_id": gridfs_id, "n": wanted })
            .sort(doc! { "n": 1 })
            .batch_size(CHUNKS_AT_ONCE)
            .await?;
        let mut expected = first;
        Ok(chunks.map(move |chunk| {
            let chunk = chunk?;
            let n = u64::try_from(chunk.n).unwrap_or(u64::MAX);
            if n != expected {
                return Err(Error::custom("a chunk of a file is missing"));
            }
            expected += 1;
            let begin = n.saturating_mul(chunk_bytes);
            let bytes = Bytes::from(chunk.data.bytes);
            let at = |position: u64| {
                let offset = usize::try_from(position.saturating_sub(begin)).unwrap_or(usize::MAX);
                offset.min(bytes.len())
            };
            Ok(bytes.slice(at(range.start)..at(range.end).max(at(range.start))))
        }))
    }

    /// All of the bytes, at most `max`.
    pub(crate) async fn read_whole(&self, gridfs_id: ObjectId, max: u64) -> Result<Option<Vec<u8>>> {
        let Some(length) = self.length(gridfs_id).await? else {
            return Ok(None);
        };
        if length > max {
            return Ok(None);
        }
        let mut whole = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        let mut pieces = std::pin::pin!(self.read(gridfs_id, 0..length).await?);
        while let Some(piece) = pieces.try_next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok((u64::try_from(whole.len()).ok() == Some(length)).then_some(whole))
    }

    /// Removes bytes, also half written ones.
    pub(crate) async fn delete_bytes(&self, gridfs_id: ObjectId) -> Result<()> {
        self.files.delete_one(doc! { "_id": gridfs_id }).await?;
        self.chunks.delete_many(doc! { "files_id": gridfs_id }).await?;
        Ok(())
    }

    async fn find(&self, gridfs_id: ObjectId) -> Result<Option<(u64, u64)>> {
        let files = self.files.clone_with_type::<FileRow>();
        let file = files.find_one(doc! { "_id": gridfs_id }).await?;
        Ok(file.map(|file| {
            let length = u64::try_from(file.length).unwrap_or_default();
            (length, u64::try_from(file.chunk_size).unwrap_or(1).max(1))
        }))
    }
}
