//! `pending_sign_ins`: sign-ins that lack their second factor, and how often it was tried.

use std::time::Duration;

use bson::{DateTime as BsonDateTime, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{session::AuthMethod, user::UserId},
    error::Result,
};

/// Codes that may be tried with one token.
const TRIES_MAX: i32 = 5;

/// Sign-ins that lack their second factor.
#[derive(Clone, Debug)]
pub(crate) struct PendingSignInStore {
    rows: Collection<PendingRow>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PendingRow {
    #[serde(rename = "_id")]
    id: String,
    user_id: ObjectId,
    /// How they proved who they are so far; rows of older versions do not say.
    method: Option<String>,
    tries: i32,
    expires: BsonDateTime,
}

impl PendingSignInStore {
    /// Opens the collection and sees to its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let rows = database.collection("pending_sign_ins");
        rows.create_indexes([super::expiring(doc! { "expires": 1 }, Duration::ZERO)])
            .await?;
        Ok(Self { rows })
    }

    /// Adds one.
    pub(crate) async fn insert(
        &self,
        id: &str,
        user_id: UserId,
        method: &AuthMethod,
        expires_at: DateTime<Utc>,
    ) -> Result<()> {
        let row = PendingRow {
            id: id.to_owned(),
            user_id: user_id.0,
            method: Some(method.0.clone().into_owned()),
            tries: 0,
            expires: BsonDateTime::from_chrono(expires_at),
        };
        self.rows.insert_one(row).await?;
        Ok(())
    }

    /// Counts a try before its outcome is known. Says whether there was one left.
    pub(crate) async fn count_try(&self, id: &str, user_id: UserId, now: DateTime<Utc>) -> Result<bool> {
        let filter = doc! {
            "_id": id, "userId": user_id.0, "tries": { "$lt": TRIES_MAX },
            "expires": { "$gt": BsonDateTime::from_chrono(now) },
        };
        let counted = self.rows.update_one(filter, doc! { "$inc": { "tries": 1 } });
        Ok(counted.await?.matched_count == 1)
    }

    /// Uses one up, and says how it was begun. Of any number of callers exactly one gets an answer.
    pub(crate) async fn consume(&self, id: &str) -> Result<Option<AuthMethod>> {
        let row = self.rows.find_one_and_delete(doc! { "_id": id }).await?;
        let method = |row: PendingRow| {
            row.method
                .map_or(AuthMethod::PASSWORD, |method| AuthMethod(method.into()))
        };
        Ok(row.map(method))
    }
}
