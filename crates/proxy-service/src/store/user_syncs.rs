//! How the latest synchronisation of people stands: one document in the collection `syncs`.

use bson::{Document, doc};
use chrono::{DateTime, Utc};
use mongodb::{Collection, Database, error::Result};
use serde::{Deserialize, Serialize};

const COLLECTION: &str = "syncs";
const ID: &str = "users";

/// The latest run.
#[derive(Clone, Debug)]
pub(crate) struct UserSyncStore {
    documents: Collection<Document>,
}

/// One run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct UserSyncCounts {
    /// People auth-service named.
    pub(crate) total: u64,
    /// Those who were not known here.
    pub(crate) created: u64,
    /// Those who had changed.
    pub(crate) updated: u64,
    /// Those who were switched off, or are named no longer.
    pub(crate) deactivated: u64,
    /// Those who are as they were.
    pub(crate) unchanged: u64,
}

/// A run, and what it has done so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserSyncRun {
    pub(crate) began_at: DateTime<Utc>,
    /// `None` while it runs.
    pub(crate) finished_at: Option<DateTime<Utc>>,
    /// The code of the error that ended it.
    pub(crate) failure: Option<String>,
    pub(crate) counts: UserSyncCounts,
}

#[derive(Deserialize)]
struct RunRow {
    began_at: bson::DateTime,
    finished_at: Option<bson::DateTime>,
    failure: Option<String>,
    counts: UserSyncCounts,
}

impl UserSyncStore {
    /// The collection in this database.
    pub(crate) fn new(database: &Database) -> Self {
        Self {
            documents: database.collection(COLLECTION),
        }
    }

    /// The latest run, if there ever was one.
    pub(crate) async fn find(&self) -> Result<Option<UserSyncRun>> {
        let rows = self.documents.clone_with_type::<RunRow>();
        let row = rows.find_one(doc! { "_id": ID }).await?;
        Ok(row.map(|row| UserSyncRun {
            began_at: row.began_at.to_chrono(),
            finished_at: row.finished_at.map(bson::DateTime::to_chrono),
            failure: row.failure,
            counts: row.counts,
        }))
    }

    /// Writes down how a run stands.
    pub(crate) async fn save(&self, run: &UserSyncRun) -> Result<()> {
        let set = doc! {
            "began_at": bson::DateTime::from_chrono(run.began_at),
            "finished_at": run.finished_at.map(bson::DateTime::from_chrono),
            "failure": &run.failure,
            "counts": bson::serialize_to_document(&run.counts)?,
        };
        self.documents
            .update_one(doc! { "_id": ID }, doc! { "$set": set })
            .upsert(true)
            .await?;
        Ok(())
    }

    /// Writes down how far a run has come.
    pub(crate) async fn save_progress(&self, counts: &UserSyncCounts) -> Result<()> {
        let counts = bson::serialize_to_document(counts)?;
        self.documents
            .update_one(doc! { "_id": ID }, doc! { "$set": { "counts": counts } })
            .await?;
        Ok(())
    }
}
