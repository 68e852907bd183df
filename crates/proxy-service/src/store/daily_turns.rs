//! How many turns were begun on a day, and how many credits were spent by way of an API key, where that is capped: the
//! collection `daily_turns`.

use std::time::Duration;

use bson::{Document, doc};
use chrono::{DateTime, Utc};
use mongodb::{Collection, Database, IndexModel, error::Result, options::IndexOptions};

use super::indexes::is_duplicate_key;

const COLLECTION: &str = "daily_turns";

/// Counters by name. Their own database decides, in one operation, whether there is room for another turn; so caps are
/// exact however many replicas ask at once.
#[derive(Clone, Debug)]
pub(crate) struct DailyTurnStore {
    counters: Collection<Document>,
}

/// A counter and how far it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counter<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// What is never exceeded.
    pub(crate) max: i64,
    /// When nobody needs it any more.
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// With whom it goes, where it is somebody's.
    pub(crate) owner_id: Option<&'a str>,
}

impl DailyTurnStore {
    /// Opens the collection and makes sure of its index.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let counters = database.collection(COLLECTION);
        let expiry = IndexOptions::builder().expire_after(Duration::ZERO).build();
        let expiry = IndexModel::builder()
            .keys(doc! { "expires_at": 1 })
            .options(expiry)
            .build();
        let sparse = IndexOptions::builder().sparse(true).build();
        let owner = IndexModel::builder()
            .keys(doc! { "owner_id": 1 })
            .options(sparse)
            .build();
        counters.create_indexes([expiry, owner]).await?;
        Ok(Self { counters })
    }

    /// Counts one turn, or `by` credits, unless there would be more than `max` then; says whether it did.
    pub(crate) async fn take(&self, counter: Counter<'_>, by: i64) -> Result<bool> {
        if by > counter.max {
            return Ok(false);
        }
        let mut first = doc! {};
        if let Some(expires_at) = counter.expires_at {
            first.insert("expires_at", bson::DateTime::from_chrono(expires_at));
        }
        if let Some(owner_id) = counter.owner_id {
            first.insert("owner_id", owner_id);
        }
        // The first failure may be another turn that made the counter at this moment. After it there is a counter, and
        // the second says that it is full.
        for _ in 0..2 {
            let filter = doc! { "_id": counter.name, "count": { "$lte": counter.max - by } };
            let mut update = doc! { "$inc": { "count": by } };
            if !first.is_empty() {
                update.insert("$setOnInsert", first.clone());
            }
            match self.counters.update_one(filter, update).upsert(true).await {
                Ok(_) => return Ok(true),
                Err(error) if is_duplicate_key(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Forgets the counters that are this person's.
    pub(crate) async fn delete_of(&self, owner_id: &str) -> Result<()> {
        self.counters.delete_many(doc! { "owner_id": owner_id }).await?;
        Ok(())
    }

    /// Takes so many back.
    pub(crate) async fn give_back(&self, name: &str, by: i64) -> Result<()> {
        let filter = doc! { "_id": name, "count": { "$gte": by } };
        self.counters
            .update_one(filter, doc! { "$inc": { "count": -by } })
            .await?;
        Ok(())
    }
}
