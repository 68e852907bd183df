//! Work that only one replica does at a time: the collection `leases`.

use bson::{Document, doc};
use mongodb::{Collection, Database, error::Result};
use std::time::Duration;

use super::indexes::is_duplicate_key;

const COLLECTION: &str = "leases";

/// Leases by name. The database's own clock decides when one has run out: replicas' clocks may differ.
#[derive(Clone, Debug)]
pub(crate) struct LeaseStore {
    documents: Collection<Document>,
    holder: String,
}

impl LeaseStore {
    /// Leases for `holder`, a name nobody else has.
    pub(crate) fn new(database: &Database, holder: String) -> Self {
        Self {
            documents: database.collection(COLLECTION),
            holder,
        }
    }

    /// Takes the lease, or prolongs it; `false` when somebody else holds it.
    pub(crate) async fn acquire(&self, name: &str, lifetime: Duration) -> Result<bool> {
        let lifetime_ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
        let filter = doc! {
            "_id": name,
            "$or": [
                { "holder": &self.holder },
                { "$expr": { "$lte": ["$expires_at", "$$NOW"] } },
            ],
        };
        let update = [doc! { "$set": {
            "holder": { "$literal": &self.holder },
            "expires_at": { "$add": ["$$NOW", lifetime_ms] },
        } }];
        match self
            .documents
            .update_one(filter, update.to_vec())
            .upsert(true)
            .await
        {
            Ok(_) => Ok(true),
            Err(error) if is_duplicate_key(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives the lease back, so that another replica need not wait for it to run out.
    pub(crate) async fn release(&self, name: &str) -> Result<()> {
        let ours = doc! { "_id": name, "holder": &self.holder };
        self.documents.delete_one(ours).await.map(drop)
    }
}
