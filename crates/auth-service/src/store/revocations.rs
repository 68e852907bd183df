//! `revocations`: sessions that ended before their access tokens did.

use std::time::Duration;

use bson::{DateTime as BsonDateTime, doc};
use chrono::{DateTime, Utc};
use futures_util::{TryStreamExt as _, future::try_join_all};
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use crate::error::Result;

/// How long after its last access token a revocation is removed: longer than clocks may differ.
const REMOVED_AFTER: Duration = Duration::from_mins(2);

/// Writes that are under way together.
const AT_ONCE: usize = 16;

/// The revocations.
#[derive(Clone, Debug)]
pub(crate) struct RevocationStore {
    rows: Collection<RevocationRow>,
}

/// A session that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revocation {
    /// The session.
    pub(crate) session_id: String,
    /// When the database was told, by the database's own clock: the replicas of this service share it.
    pub(crate) at: DateTime<Utc>,
    /// When its last access token expires.
    pub(crate) expires_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RevocationRow {
    #[serde(rename = "_id")]
    session_id: String,
    at: BsonDateTime,
    expires_at: BsonDateTime,
}

impl RevocationStore {
    /// Opens the collection and sees to its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let rows = database.collection("revocations");
        rows.create_indexes([
            super::plain(doc! { "at": 1 }),
            super::expiring(doc! { "expiresAt": 1 }, REMOVED_AFTER),
        ])
        .await?;
        Ok(Self { rows })
    }

    /// Revokes sessions; a second time changes nothing but a later expiry.
    pub(crate) async fn insert_all(&self, session_ids: &[String], expires_at: DateTime<Utc>) -> Result<()> {
        let expires_at = BsonDateTime::from_chrono(expires_at);
        let update = vec![doc! { "$set": {
            "at": { "$ifNull": ["$at", "$$NOW"] },
            "expiresAt": { "$max": ["$expiresAt", expires_at] },
        } }];
        for session_ids in session_ids.chunks(AT_ONCE) {
            let mut writes = Vec::with_capacity(session_ids.len());
            for session_id in session_ids {
                let write = self.rows.update_one(doc! { "_id": session_id }, update.clone());
                writes.push(write.upsert(true).into_future());
            }
            try_join_all(writes).await?;
        }
        Ok(())
    }

    /// What was revoked after `since`, or everything.
    pub(crate) async fn list_since(&self, since: Option<DateTime<Utc>>) -> Result<Vec<Revocation>> {
        let filter = since.map_or_else(
            || doc! {},
            |since| doc! { "at": { "$gt": BsonDateTime::from_chrono(since) } },
        );
        let rows: Vec<RevocationRow> = self.rows.find(filter).await?.try_collect().await?;
        Ok(rows
            .into_iter()
            .map(|row| Revocation {
                session_id: row.session_id,
                at: row.at.to_chrono(),
                expires_at: row.expires_at.to_chrono(),
            })
            .collect())
    }
}
