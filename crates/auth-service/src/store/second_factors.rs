//! `second_factors`: one document a user who has, or is setting up, an authenticator app. Its secret is sealed, its
//! recovery codes are keyed hashes.

use bson::{DateTime as BsonDateTime, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{second_factor::Guesses, user::UserId},
    error::{Error, Result},
};

/// The second factors.
#[derive(Clone, Debug)]
pub(crate) struct SecondFactorStore {
    rows: Collection<SecondFactorRow>,
}

/// A user's second factor as it is kept.
#[derive(Clone, Debug)]
pub(crate) struct StoredFactor {
    /// The sealed secret, once a first code has proven it.
    pub(crate) secret: Option<String>,
    /// The sealed secret that waits for its first code, and since when.
    pub(crate) pending: Option<(String, DateTime<Utc>)>,
    /// How many recovery codes are unused.
    pub(crate) recovery_codes_left: usize,
    /// Wrong codes in a row.
    pub(crate) guesses: Guesses,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecondFactorRow {
    #[serde(rename = "_id")]
    user_id: ObjectId,
    secret: Option<String>,
    pending_secret: Option<String>,
    pending_at: Option<BsonDateTime>,
    #[serde(default)]
    recovery_codes: Vec<String>,
    #[serde(default)]
    wrong_count: i32,
    wrong_last_at: Option<BsonDateTime>,
}

impl SecondFactorStore {
    /// Opens the collection; it is read by its `_id` only.
    pub(crate) fn open(database: &Database) -> Self {
        Self {
            rows: database.collection("second_factors"),
        }
    }

    /// What is kept for the user.
    pub(crate) async fn find(&self, user_id: UserId) -> Result<Option<StoredFactor>> {
        let row = self.rows.find_one(doc! { "_id": user_id.0 }).await?;
        Ok(row.map(StoredFactor::from))
    }

    /// Keeps a secret that waits for its first code; an earlier one that waits is replaced. Says whether it did: not
    /// when the user has a second factor.
    pub(crate) async fn begin(&self, user_id: UserId, sealed: &str, now: DateTime<Utc>) -> Result<bool> {
        let filter = doc! { "_id": user_id.0, "secret": { "$exists": false } };
        let update =
            doc! { "$set": { "pendingSecret": sealed, "pendingAt": BsonDateTime::from_chrono(now) } };
        match self.rows.update_one(filter, update).upsert(true).await {
            Ok(_) => Ok(true),
            Err(error) if Error::duplicate_key(&error).is_some() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the waiting secret the user's second factor, its first code used up. Of parallel calls one gets `true`.
    pub(crate) async fn enable(
        &self,
        user_id: UserId,
        sealed: &str,
        step: i64,
        recovery_codes: &[String],
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let filter = doc! { "_id": user_id.0, "pendingSecret": sealed, "secret": { "$exists": false } };
        let update = doc! {
            "$set": {
                "secret": sealed, "enabledAt": BsonDateTime::from_chrono(now), "lastStep": step,
                "recoveryCodes": recovery_codes, "wrongCount": 0,
            },
            "$unset": { "pendingSecret": "", "pendingAt": "" },
        };
        Ok(self.rows.update_one(filter, update).await?.matched_count == 1)
    }

    /// Counts a guess, provided that `before` is what was counted so far.
    pub(crate) async fn count_guess(&self, user_id: UserId, before: Guesses, after: Guesses) -> Result<bool> {
        let filter = doc! { "_id": user_id.0, "secret": { "$exists": true }, "wrongCount": before.count };
        let last_at = after.last_at.map(BsonDateTime::from_chrono);
        let update = doc! { "$set": { "wrongCount": after.count, "wrongLastAt": last_at } };
        Ok(self.rows.update_one(filter, update).await?.matched_count == 1)
    }

    /// Uses a step up, and all before it. Of any number of callers with the same step exactly one gets `true`.
    pub(crate) async fn use_step(&self, user_id: UserId, sealed: &str, step: i64) -> Result<bool> {
        let filter = doc! { "_id": user_id.0, "secret": sealed, "lastStep": { "$lt": step } };
        let update = doc! { "$set": { "lastStep": step, "wrongCount": 0 } };
        Ok(self.rows.update_one(filter, update).await?.matched_count == 1)
    }

    /// Uses a recovery code up. Of any number of callers with the same code exactly one gets `true`.
    pub(crate) async fn use_recovery_code(&self, user_id: UserId, hash: &str) -> Result<bool> {
        let filter = doc! { "_id": user_id.0, "secret": { "$exists": true }, "recoveryCodes": hash };
        let update = doc! { "$pull": { "recoveryCodes": hash }, "$set": { "wrongCount": 0 } };
        Ok(self.rows.update_one(filter, update).await?.matched_count == 1)
    }

    /// Replaces all recovery codes.
    pub(crate) async fn set_recovery_codes(&self, user_id: UserId, hashes: &[String]) -> Result<bool> {
        let filter = doc! { "_id": user_id.0, "secret": { "$exists": true } };
        let update = doc! { "$set": { "recoveryCodes": hashes } };
        Ok(self.rows.update_one(filter, update).await?.matched_count == 1)
    }

    /// Removes the second factor. Says whether there was one.
    pub(crate) async fn delete(&self, user_id: UserId) -> Result<bool> {
        let filter = doc! { "_id": user_id.0, "secret": { "$exists": true } };
        Ok(self.rows.delete_one(filter).await?.deleted_count == 1)
    }
}

impl From<SecondFactorRow> for StoredFactor {
    fn from(row: SecondFactorRow) -> Self {
        let pending_at = row.pending_at.map(BsonDateTime::to_chrono);
        Self {
            secret: row.secret,
            pending: row.pending_secret.zip(pending_at),
            recovery_codes_left: row.recovery_codes.len(),
            guesses: Guesses {
                count: row.wrong_count,
                last_at: row.wrong_last_at.map(BsonDateTime::to_chrono),
            },
        }
    }
}
