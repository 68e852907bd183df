//! `deletions`: accounts that are being deleted. Written before anything is removed and removed last, so that a
//! deletion that broke off is finished by whoever finds it here.

use bson::{DateTime as BsonDateTime, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database, error::ErrorKind};
use serde::{Deserialize, Serialize};

use crate::{
    domain::user::UserId,
    error::{DUPLICATE_KEY, Result},
};

/// The deletions under way.
#[derive(Clone, Debug)]
pub(crate) struct DeletionStore {
    rows: Collection<DeletionRow>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeletionRow {
    #[serde(rename = "_id")]
    user_id: ObjectId,
    at: BsonDateTime,
    actor: ObjectId,
}

impl DeletionStore {
    /// Opens the collection. It is nearly always empty, so it needs no index.
    pub(crate) fn new(database: &Database) -> Self {
        Self {
            rows: database.collection("deletions"),
        }
    }

    /// Notes that these accounts are being deleted; some may be noted already.
    pub(crate) async fn insert(&self, ids: &[UserId], actor: UserId, now: DateTime<Utc>) -> Result<()> {
        let rows = ids.iter().map(|id| DeletionRow {
            user_id: id.0,
            at: BsonDateTime::from_chrono(now),
            actor: actor.0,
        });
        match self.rows.insert_many(rows).ordered(false).await {
            Ok(_) => Ok(()),
            Err(error) if is_about_known_ones(&error) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletions begun before `before`, with who asked for them.
    pub(crate) async fn list_before(
        &self,
        before: DateTime<Utc>,
        limit: i64,
    ) -> Result<Vec<(UserId, UserId)>> {
        let filter = doc! { "at": { "$lt": BsonDateTime::from_chrono(before) } };
        let rows = self.rows.find(filter).limit(limit).await?;
        Ok(rows
            .map_ok(|row| (UserId(row.user_id), UserId(row.actor)))
            .try_collect()
            .await?)
    }

    /// Forgets deletions that are over, or were not to be.
    pub(crate) async fn delete(&self, ids: &[UserId]) -> Result<()> {
        let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
        self.rows.delete_many(doc! { "_id": { "$in": ids } }).await?;
        Ok(())
    }
}

/// Whether all that went wrong is that some rows were there.
fn is_about_known_ones(error: &mongodb::error::Error) -> bool {
    let ErrorKind::InsertMany(failure) = &*error.kind else {
        return false;
    };
    failure.write_concern_error.is_none()
        && failure
            .write_errors
            .as_ref()
            .is_some_and(|errors| errors.iter().all(|error| error.code == DUPLICATE_KEY))
}
