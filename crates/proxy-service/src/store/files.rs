//! People's files, without their bytes. The collection `file_uploads`.
//!
//! A row is written before its bytes and removed after them, so that whatever a crash leaves half done can be found: a
//! row that is `pending` for long, or `deleting`. Only rows without a stage are files. Rows of an older service name
//! their bytes by `file_id` and may share it; they are read, and removed in the same way.

use bson::{Bson, Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt as _};
use mongodb::{Collection, Database, IndexModel, options::IndexOptions};
use serde::Deserialize;

use super::{Result, blobs::Content, indexes::ensure_index};

/// Files in one list; nobody may have more by default.
const LISTED_MAX: i64 = 10_000;

const PENDING: &str = "pending";
const DELETING: &str = "deleting";

/// Somebody's file.
#[derive(Clone, Debug)]
pub(crate) struct StoredFile {
    /// The row's own id.
    pub(crate) row: ObjectId,
    pub(crate) id: String,
    pub(crate) user_id: String,
    pub(crate) name: String,
    pub(crate) mime: String,
    pub(crate) size: u64,
    pub(crate) upload_type: String,
    pub(crate) message_id: Option<String>,
    pub(crate) session_id: Option<String>,
    pub(crate) hash: Option<String>,
    pub(crate) uploaded_at: DateTime<Utc>,
    pub(crate) processed: bool,
    pub(crate) metadata: Option<Document>,
    /// Where its bytes are; an address that an older service kept has none.
    pub(crate) blob: Option<ObjectId>,
    /// Whether an older service wrote it.
    pub(crate) is_older: bool,
}

/// A file that is about to be stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewFile<'a> {
    pub(crate) id: &'a str,
    pub(crate) user_id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) mime: &'a str,
    /// Its size, as far as it is known.
    pub(crate) size: u64,
    /// Its SHA-256, where that is known already.
    pub(crate) hash: Option<&'a str>,
    pub(crate) blob: ObjectId,
    pub(crate) owner: Owner<'a>,
}

/// Where a file belongs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Owner<'a> {
    pub(crate) message: Option<&'a str>,
    pub(crate) session: Option<&'a str>,
    pub(crate) chatflow: Option<&'a str>,
}

/// How much a person keeps here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

#[derive(Deserialize)]
struct FileRow {
    #[serde(rename = "_id")]
    row: ObjectId,
    file_id: String,
    user_id: String,
    original_name: Option<String>,
    mime_type: Option<String>,
    file_size: Option<Bson>,
    upload_type: Option<String>,
    message_id: Option<String>,
    session_id: Option<String>,
    file_hash: Option<String>,
    uploaded_at: Option<bson::DateTime>,
    processed: Option<bool>,
    metadata: Option<Document>,
    blob_id: Option<ObjectId>,
}

#[derive(Deserialize)]
struct KeptRow {
    files: i64,
    bytes: i64,
}

impl StoredFile {
    /// Its bytes, where they came to their end.
    pub(crate) fn content(&self) -> Option<Content<'_>> {
        let hash = self.hash.as_deref()?;
        Some(Content {
            user_id: &self.user_id,
            hash,
        })
    }
}

impl From<FileRow> for StoredFile {
    fn from(row: FileRow) -> Self {
        let older = || ObjectId::parse_str(&row.file_id).ok();
        Self {
            row: row.row,
            blob: row.blob_id.or_else(older),
            is_older: row.blob_id.is_none(),
            name: row.original_name.unwrap_or_else(|| "file".to_owned()),
            mime: row.mime_type.unwrap_or_default(),
            size: row.file_size.as_ref().map_or(0, number),
            upload_type: row.upload_type.unwrap_or_else(|| "file".to_owned()),
            message_id: row.message_id,
            session_id: row.session_id,
            hash: row.file_hash,
            uploaded_at: row
                .uploaded_at
                .map_or(DateTime::UNIX_EPOCH, bson::DateTime::to_chrono),
            processed: row.processed.unwrap_or_default(),
            metadata: row.metadata,
            id: row.file_id,
            user_id: row.user_id,
        }
    }
}

/// A count in whatever kind of number it was written.
fn number(value: &Bson) -> u64 {
    let number = value.as_i64().or_else(|| value.as_i32().map(i64::from));
    number
        .and_then(|number| u64::try_from(number).ok())
        .unwrap_or_default()
}

/// People's files.
#[derive(Clone, Debug)]
pub(crate) struct FileStore {
    files: Collection<Document>,
}

impl FileStore {
    /// Opens the collection and makes sure of its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let files: Collection<Document> = database.collection("file_uploads");
        for keys in [
            doc! { "file_id": 1, "user_id": 1 },
            doc! { "user_id": 1, "session_id": 1, "uploaded_at": 1 },
            doc! { "user_id": 1, "message_id": 1 },
            doc! { "uploaded_at": 1 },
        ] {
            ensure_index(&files, keys).await?;
        }
        let unfinished = IndexOptions::builder()
            .partial_filter_expression(doc! { "stage": { "$exists": true } })
            .build();
        let unfinished = IndexModel::builder()
            .keys(doc! { "stage": 1, "staged_at": 1 })
            .options(unfinished)
            .build();
        files.create_index(unfinished).await?;
        Ok(Self { files })
    }

    /// Announces a file whose bytes are about to be stored. It counts from now on and is not seen before
    /// [`FileStore::confirm`].
    pub(crate) async fn insert(&self, file: &NewFile<'_>, now: DateTime<Utc>) -> Result<()> {
        let now = bson::DateTime::from_chrono(now);
        let document = doc! {
            "file_id": file.id,
            "original_name": file.name,
            "mime_type": file.mime,
            "message_id": file.owner.message,
            "session_id": file.owner.session,
            "user_id": file.user_id,
            "chatflow_id": file.owner.chatflow,
            "file_size": signed(file.size),
            "upload_type": "file",
            "file_hash": file.hash,
            "processed": false,
            "processing_error": Bson::Null,
            "uploaded_at": now,
            "processed_at": Bson::Null,
            "metadata": Bson::Null,
            "blob_id": file.blob,
            "stage": PENDING,
            "staged_at": now,
        };
        self.files.insert_one(document).await?;
        Ok(())
    }

    /// Notes what is known of an announced file when all its bytes have come. Its blob is looked for by the hash, so that
    /// has to stand here before the blob refers to the file.
    pub(crate) async fn note_content(&self, id: &str, hash: &str, size: u64) -> Result<()> {
        let set = doc! { "file_hash": hash, "file_size": signed(size) };
        let announced = doc! { "file_id": id, "stage": PENDING };
        self.files.update_one(announced, doc! { "$set": set }).await?;
        Ok(())
    }

    /// Notes where the bytes of an announced file are. From now on it is one; `false` when it was given up meanwhile.
    pub(crate) async fn confirm(&self, id: &str, blob: ObjectId, now: DateTime<Utc>) -> Result<bool> {
        let set = doc! {
            "blob_id": blob,
            "processed": true,
            "processed_at": bson::DateTime::from_chrono(now),
        };
        let update = doc! { "$set": set, "$unset": { "stage": "", "staged_at": "" } };
        let announced = doc! { "file_id": id, "stage": PENDING };
        Ok(self.files.update_one(announced, update).await?.modified_count == 1)
    }

    /// Gives a file that belongs to no message yet to one; `false` when it belongs to one, or is gone.
    pub(crate) async fn attach(&self, id: &str, user_id: &str, owner: Owner<'_>) -> Result<bool> {
        let free = doc! {
            "file_id": id, "user_id": user_id, "message_id": Bson::Null, "stage": { "$exists": false },
        };
        let set = doc! {
            "message_id": owner.message, "session_id": owner.session, "chatflow_id": owner.chatflow,
        };
        let updated = self.files.update_one(free, doc! { "$set": set }).await?;
        Ok(updated.modified_count == 1)
    }

    /// One of the person's files.
    pub(crate) async fn find(&self, user_id: &str, id: &str) -> Result<Option<StoredFile>> {
        let filter = doc! { "file_id": id, "user_id": user_id, "stage": { "$exists": false } };
        let row = self.files.clone_with_type::<FileRow>().find_one(filter).await?;
        Ok(row.map(StoredFile::from))
    }

    /// The person's files in one session, oldest first.
    pub(crate) async fn list_of_session(&self, user_id: &str, session_id: &str) -> Result<Vec<StoredFile>> {
        self.list(doc! { "user_id": user_id, "session_id": session_id })
            .await
    }

    /// The person's files in one message, oldest first.
    pub(crate) async fn list_of_message(&self, user_id: &str, message_id: &str) -> Result<Vec<StoredFile>> {
        self.list(doc! { "user_id": user_id, "message_id": message_id })
            .await
    }

    async fn list(&self, mut filter: Document) -> Result<Vec<StoredFile>> {
        filter.insert("stage", doc! { "$exists": false });
        let files = self.files.clone_with_type::<FileRow>();
        let rows = files
            .find(filter)
            .sort(doc! { "uploaded_at": 1, "_id": 1 })
            .limit(LISTED_MAX)
            .await?;
        rows.map_ok(StoredFile::from).try_collect().await
    }

    /// All of the person's files, oldest first, as they are read.
    pub(crate) async fn stream_of(
        &self,
        user_id: &str,
    ) -> Result<impl Stream<Item = Result<StoredFile>> + use<>> {
        let files = self.files.clone_with_type::<FileRow>();
        let filter = doc! { "user_id": user_id, "stage": { "$exists": false } };
        let rows = files.find(filter).sort(doc! { "_id": 1 }).await?;
        Ok(rows.map_ok(StoredFile::from))
    }

    /// How much the person keeps here, files that are on their way included.
    pub(crate) async fn count(&self, user_id: &str) -> Result<Kept> {
        let pipeline = [
            doc! { "$match": { "user_id": user_id, "stage": { "$ne": DELETING } } },
            doc! { "$group": {
                "_id": 0,
                "files": { "$sum": 1_i64 },
                "bytes": { "$sum": { "$toLong": { "$ifNull": ["$file_size", 0] } } },
            } },
        ];
        let mut rows = self.files.aggregate(pipeline).with_type::<KeptRow>().await?;
        let row = rows.try_next().await?;
        Ok(row.map_or_else(Kept::default, |row| Kept {
            files: u64::try_from(row.files).unwrap_or_default(),
            bytes: u64::try_from(row.bytes).unwrap_or_default(),
        }))
    }

    /// How much everybody keeps here.
    pub(crate) async fn count_all(&self) -> Result<Kept> {
        let pipeline = [doc! { "$group": {
            "_id": 0,
            "files": { "$sum": 1_i64 },
            "bytes": { "$sum": { "$toLong": { "$ifNull": ["$file_size", 0] } } },
        } }];
        let mut rows = self.files.aggregate(pipeline).with_type::<KeptRow>().await?;
        let row = rows.try_next().await?;
        Ok(row.map_or_else(Kept::default, |row| Kept {
            files: u64::try_from(row.files).unwrap_or_default(),
            bytes: u64::try_from(row.bytes).unwrap_or_default(),
        }))
    }

    /// Ends one of the person's files: from now on nobody sees it, and its bytes may be removed. `false` when there is
    /// none.
    pub(crate) async fn doom(&self, user_id: &str, id: &str, now: DateTime<Utc>) -> Result<bool> {
        let filter = doc! { "user_id": user_id, "file_id": id };
        Ok(self.doom_where(filter, now).await? > 0)
    }

    /// Ends all files of these sessions of the person.
    pub(crate) async fn doom_sessions(
        &self,
        user_id: &str,
        session_ids: &[String],
        now: DateTime<Utc>,
    ) -> Result<u64> {
        let filter = doc! { "user_id": user_id, "session_id": { "$in": session_ids } };
        self.doom_where(filter, now).await
    }

    /// Ends all files of somebody who is gone.
    pub(crate) async fn doom_of(&self, user_id: &str, now: DateTime<Utc>) -> Result<u64> {
        self.doom_where(doc! { "user_id": user_id }, now).await
    }

    /// Gives up files that were announced before `before` and never came, and files of before `unused_before` that no
    /// message ever used.
    pub(crate) async fn doom_forgotten(
        &self,
        before: DateTime<Utc>,
        unused_before: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<u64> {
        let time = bson::DateTime::from_chrono;
        let pending = doc! { "stage": PENDING, "staged_at": { "$lt": time(before) } };
        let set = doc! { "$set": { "stage": DELETING, "staged_at": time(now) } };
        let pending = self.files.update_many(pending, set).await?.modified_count;
        let orphans = self.list_orphans(before, unused_before).await?;
        let orphans = self.doom_where(doc! { "_id": { "$in": orphans } }, now).await?;
        let unused = doc! {
            "message_id": Bson::Null,
            "blob_id": { "$exists": true },
            "uploaded_at": { "$lt": time(unused_before) },
        };
        Ok(pending + orphans + self.doom_where(unused, now).await?)
    }

    /// Files whose question was never written: its process died in between. Those of before `since` were looked at.
    async fn list_orphans(&self, before: DateTime<Utc>, since: DateTime<Utc>) -> Result<Vec<ObjectId>> {
        let time = bson::DateTime::from_chrono;
        let recent = doc! {
            "message_id": { "$type": "string" },
            "blob_id": { "$exists": true },
            "uploaded_at": { "$gte": time(since), "$lt": time(before) },
        };
        let message =
            doc! { "$convert": { "input": "$message_id", "to": "objectId", "onError": Bson::Null } };
        let lookup = doc! {
            "from": "chat_messages", "localField": "message", "foreignField": "_id", "as": "messages",
        };
        let pipeline = [
            doc! { "$match": recent },
            doc! { "$project": { "message": message } },
            doc! { "$lookup": lookup },
            doc! { "$match": { "messages": { "$size": 0 } } },
            doc! { "$limit": LISTED_MAX },
            doc! { "$project": { "_id": 1 } },
        ];
        let rows = self.files.aggregate(pipeline).await?;
        let ids = rows.try_filter_map(async |row| Ok(row.get_object_id("_id").ok()));
        ids.try_collect().await
    }

    async fn doom_where(&self, mut filter: Document, now: DateTime<Utc>) -> Result<u64> {
        filter.insert("stage", doc! { "$ne": DELETING });
        let set = doc! { "stage": DELETING, "staged_at": bson::DateTime::from_chrono(now) };
        let doomed = self.files.update_many(filter, doc! { "$set": set }).await?;
        Ok(doomed.modified_count)
    }

    /// Files whose bytes may be removed: the person's, or those that have waited since `before`.
    pub(crate) async fn list_doomed(&self, whose: Whose<'_>, max: i64) -> Result<Vec<StoredFile>> {
        let filter = match whose {
            Whose::Person(user_id) => doc! { "stage": DELETING, "user_id": user_id },
            Whose::LeftBefore(before) => {
                doc! { "stage": DELETING, "staged_at": { "$lt": bson::DateTime::from_chrono(before) } }
            }
        };
        let files = self.files.clone_with_type::<FileRow>();
        let rows = files.find(filter).limit(max).await?;
        rows.map_ok(StoredFile::from).try_collect().await
    }

    /// Whether another row of an older service names the same bytes.
    pub(crate) async fn is_shared(&self, file: &StoredFile) -> Result<bool> {
        let filter = doc! {
            "file_id": &file.id, "_id": { "$ne": file.row }, "stage": { "$ne": DELETING },
        };
        Ok(self.files.find_one(filter).await?.is_some())
    }

    /// Forgets a file whose bytes are removed.
    pub(crate) async fn delete(&self, row: ObjectId) -> Result<()> {
        self.files
            .delete_one(doc! { "_id": row, "stage": DELETING })
            .await?;
        Ok(())
    }
}

/// Whose files are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose<'a> {
    /// One person's.
    Person(&'a str),
    /// Anybody's that wait since before this time.
    LeftBefore(DateTime<Utc>),
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
