//! People whose account is gone and of whom something may still be kept here: the collection `departures`.

use bson::{Document, doc};
use chrono::{DateTime, Utc};
use mongodb::{Collection, Database, IndexModel, error::Result};
use serde::Deserialize;

const COLLECTION: &str = "departures";

/// The departures.
#[derive(Clone, Debug)]
pub(crate) struct DepartureStore {
    documents: Collection<Document>,
}

/// Somebody whose removal is due.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Departure {
    /// Who.
    #[serde(rename = "_id")]
    pub(crate) user_id: String,
    /// Whether everything was removed once; something that was on its way then may have come since.
    #[serde(default)]
    pub(crate) was_removed: bool,
}

impl DepartureStore {
    /// Opens the collection and makes sure of its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let documents: Collection<Document> = database.collection(COLLECTION);
        let due = IndexModel::builder().keys(doc! { "due_at": 1 }).build();
        documents.create_index(due).await?;
        Ok(Self { documents })
    }

    /// Notes that this person has to be removed, now.
    pub(crate) async fn insert(&self, user_id: &str, now: DateTime<Utc>) -> Result<()> {
        let update = doc! { "$setOnInsert": { "due_at": bson::DateTime::from_chrono(now) } };
        self.documents
            .update_one(doc! { "_id": user_id }, update)
            .upsert(true)
            .await?;
        Ok(())
    }

    /// Takes somebody whose removal is due, and leaves them to others from `until` on.
    pub(crate) async fn take_due(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Option<Departure>> {
        let due = doc! { "due_at": { "$lte": bson::DateTime::from_chrono(now) } };
        let update = doc! { "$set": { "due_at": bson::DateTime::from_chrono(until) } };
        self.documents
            .clone_with_type::<Departure>()
            .find_one_and_update(due, update)
            .await
    }

    /// Notes that everything was removed, and when to look once more.
    pub(crate) async fn mark_removed(&self, user_id: &str, due_at: DateTime<Utc>) -> Result<()> {
        let set = doc! { "was_removed": true, "due_at": bson::DateTime::from_chrono(due_at) };
        self.documents
            .update_one(doc! { "_id": user_id }, doc! { "$set": set })
            .await?;
        Ok(())
    }

    /// Nothing of this person can come any more.
    pub(crate) async fn delete(&self, user_id: &str) -> Result<()> {
        self.documents.delete_one(doc! { "_id": user_id }).await?;
        Ok(())
    }
}
