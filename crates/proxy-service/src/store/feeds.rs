//! How far the feeds of other services have been taken in: the collection `feeds`.

use bson::{Document, doc};
use chrono::{DateTime, Utc};
use mongodb::{Collection, Database, error::Result};

const COLLECTION: &str = "feeds";

/// The cursors.
#[derive(Clone, Debug)]
pub(crate) struct FeedStore {
    documents: Collection<Document>,
}

impl FeedStore {
    /// The cursors in this database.
    pub(crate) fn new(database: &Database) -> Self {
        Self {
            documents: database.collection(COLLECTION),
        }
    }

    /// Where the feed goes on; empty when it has never been read.
    pub(crate) async fn find_cursor(&self, feed: &str) -> Result<String> {
        let row = self.documents.find_one(doc! { "_id": feed }).await?;
        let cursor = row.and_then(|row| row.get_str("cursor").ok().map(str::to_owned));
        Ok(cursor.unwrap_or_default())
    }

    /// Notes where the feed goes on. Replicas follow by themselves; when the slower one writes last, something is read
    /// twice, which does no harm.
    pub(crate) async fn update_cursor(&self, feed: &str, cursor: &str, now: DateTime<Utc>) -> Result<()> {
        let set = doc! { "cursor": cursor, "updated_at": bson::DateTime::from_chrono(now) };
        self.documents
            .update_one(doc! { "_id": feed }, doc! { "$set": set })
            .upsert(true)
            .await?;
        Ok(())
    }
}
