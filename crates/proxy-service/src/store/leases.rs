//! Work that only one replica does at a time: the collection `leases`.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::{Collection, Database, error::Result, options::ReturnDocument};

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
        let holder = doc! { "$literal": &self.holder };
        // A lease that nobody ever took has no end, which compares as earlier than any time.
        let ours_or_over = doc! { "$or": [
            { "$eq": ["$holder", &holder] },
            { "$lte": ["$expires_at", "$$NOW"] },
        ] };
        let update = [doc! { "$set": {
            "holder": { "$cond": [&ours_or_over, &holder, "$holder"] },
            "expires_at": { "$cond": [&ours_or_over, { "$add": ["$$NOW", lifetime_ms] }, "$expires_at"] },
        } }];
        let lease = self
            .documents
            .find_one_and_update(doc! { "_id": name }, update.to_vec())
            .upsert(true)
            .return_document(ReturnDocument::After)
            .await;
        match lease {
            Ok(lease) => {
                Ok(lease
                    .is_some_and(|lease| lease.get_str("holder").is_ok_and(|holder| holder == self.holder)))
            }
            // Somebody else took it for the first time at this moment.
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
