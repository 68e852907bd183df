//! Runs that were left at Flowise and may still be writing: the collection `left_runs`.

use std::time::Duration;

use bson::{Document, doc};
use chrono::{DateTime, TimeDelta, Utc};
use mongodb::{Collection, Database, IndexModel, error::Result, options::IndexOptions};

const COLLECTION: &str = "left_runs";

/// How long a run may go on at most. Flowise sets it no limit, but no model writes for a day.
const KEPT: TimeDelta = TimeDelta::days(1);

/// The last run that was left behind in each conversation. It says nothing of whose conversation it is.
#[derive(Clone, Debug)]
pub(crate) struct LeftRunStore {
    documents: Collection<Document>,
}

impl LeftRunStore {
    /// Opens the collection and makes sure of its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let documents = database.collection(COLLECTION);
        let expiry = IndexOptions::builder().expire_after(Duration::ZERO).build();
        let expiry = IndexModel::builder()
            .keys(doc! { "expires_at": 1 })
            .options(expiry)
            .build();
        documents.create_index(expiry).await?;
        Ok(Self { documents })
    }

    /// Notes that the run of this turn was left behind.
    pub(crate) async fn note(&self, memory_id: &str, turn_id: &str, now: DateTime<Utc>) -> Result<()> {
        let expires_at = bson::DateTime::from_chrono(now + KEPT);
        let set = doc! { "$set": { "turn_id": turn_id, "expires_at": expires_at } };
        self.documents
            .update_one(doc! { "_id": memory_id }, set)
            .upsert(true)
            .await?;
        Ok(())
    }

    /// The turn whose run was left behind last.
    pub(crate) async fn last(&self, memory_id: &str) -> Result<Option<String>> {
        let found = self.documents.find_one(doc! { "_id": memory_id }).await?;
        Ok(found.and_then(|left| left.get_str("turn_id").ok().map(str::to_owned)))
    }
}
