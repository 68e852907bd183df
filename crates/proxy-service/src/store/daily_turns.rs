//! How many turns were begun on a day, where that is capped: the collection `daily_turns`.

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

impl DailyTurnStore {
    /// Opens the collection and makes sure of its index.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let counters = database.collection(COLLECTION);
        let expiry = IndexOptions::builder().expire_after(Duration::ZERO).build();
        let expiry = IndexModel::builder()
            .keys(doc! { "expires_at": 1 })
            .options(expiry)
            .build();
        counters.create_index(expiry).await?;
        Ok(Self { counters })
    }

    /// Counts one turn, or `by` credits, unless there would be more than `max` then; says whether it did.
    pub(crate) async fn take(
        &self,
        name: &str,
        by: i64,
        max: i64,
        expires_at: DateTime<Utc>,
    ) -> Result<bool> {
        if by > max {
            return Ok(false);
        }
        // The first failure may be another turn that made the counter at this moment. After it there is a counter, and
        // the second says that it is full.
        for _ in 0..2 {
            let filter = doc! { "_id": name, "count": { "$lte": max - by } };
            let update = doc! {
                "$inc": { "count": by },
                "$setOnInsert": { "expires_at": bson::DateTime::from_chrono(expires_at) },
            };
            match self.counters.update_one(filter, update).upsert(true).await {
                Ok(_) => return Ok(true),
                Err(error) if is_duplicate_key(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
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
