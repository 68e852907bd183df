//! `api_keys`: each with the hash of its secret. Places are numbered for each person, so that the unique index keeps
//! their number bounded however many requests come at once.

use std::time::Duration;

use bson::{DateTime as BsonDateTime, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use common_jwt::KeyScope;
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        api_key::{ApiKey, KEYS_MAX, KeyTerms, sid_of},
        user::UserId,
    },
    error::{ApiKeyError, Error, Result},
};

/// How long what is left of a revocation that broke off stays.
const KEPT_AFTER: Duration = Duration::from_hours(1);

/// Requests for a key that are lost to others before we give up.
const TRIES: usize = 10;

/// How often it is written down that a key is used.
const LAST_USED_EVERY: chrono::Duration = chrono::Duration::minutes(1);

/// The keys.
#[derive(Clone, Debug)]
pub(crate) struct ApiKeyStore {
    rows: Collection<ApiKeyRow>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiKeyRow {
    #[serde(rename = "_id")]
    id: String,
    user_id: ObjectId,
    /// From 0 on, and no two of one person's are the same.
    place: i32,
    name: String,
    key_hash: String,
    prefix: String,
    scopes: Vec<KeyScope>,
    chatflows: Option<Vec<String>>,
    credit_cap: Option<i64>,
    rate: Option<u32>,
    expires_at: Option<BsonDateTime>,
    epoch: i32,
    created_at: BsonDateTime,
    created_by: ObjectId,
    last_used_at: Option<BsonDateTime>,
    /// Since when it is good for nothing; the row goes as soon as everybody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked_at: Option<BsonDateTime>,
}

#[derive(Deserialize)]
struct PlaceRow {
    place: i32,
}

#[derive(Deserialize)]
struct EpochRow {
    #[serde(rename = "_id")]
    id: String,
    epoch: i32,
}

impl ApiKeyStore {
    /// Opens the collection and sees to its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let rows = database.collection("api_keys");
        rows.create_indexes([
            super::unique(doc! { "keyHash": 1 }),
            super::unique(doc! { "userId": 1, "place": 1 }),
            super::unique(doc! { "userId": 1, "name": 1 }),
            super::expiring(doc! { "revokedAt": 1 }, KEPT_AFTER),
        ])
        .await?;
        Ok(Self { rows })
    }

    /// Adds a key in the first place that is free.
    pub(crate) async fn insert(&self, key: &ApiKey, key_hash: &str) -> Result<()> {
        for _ in 0..TRIES {
            let taken = self.list_places(key.user_id).await?;
            let free = (0..KEYS_MAX).find(|place| !taken.contains(place));
            let place = free.ok_or(ApiKeyError::TooMany)?;
            match self.rows.insert_one(ApiKeyRow::new(key, key_hash, place)).await {
                Ok(_) => return Ok(()),
                Err(error) => match Error::duplicate_key(&error) {
                    Some(message) if message.contains("userId_1_name_1") => {
                        return Err(ApiKeyError::NameTaken.into());
                    }
                    // Somebody else was faster.
                    Some(_) => {}
                    None => return Err(error.into()),
                },
            }
        }
        Err(ApiKeyError::Busy.into())
    }

    async fn list_places(&self, user_id: UserId) -> Result<Vec<i32>> {
        let rows = self.rows.clone_with_type::<PlaceRow>();
        let rows = rows.find(doc! { "userId": user_id.0 });
        let places = rows.projection(doc! { "place": 1 }).await?;
        Ok(places.map_ok(|row| row.place).try_collect().await?)
    }

    /// The user's keys, the newest first.
    pub(crate) async fn list_of(&self, user_id: UserId) -> Result<Vec<ApiKey>> {
        let filter = doc! { "userId": user_id.0, "revokedAt": null };
        let rows = self.rows.find(filter).sort(doc! { "createdAt": -1, "_id": -1 });
        Ok(rows.await?.map_ok(ApiKey::from).try_collect().await?)
    }

    /// The key with this hash.
    pub(crate) async fn find_by_hash(&self, key_hash: &str) -> Result<Option<ApiKey>> {
        let filter = doc! { "keyHash": key_hash, "revokedAt": null };
        Ok(self.rows.find_one(filter).await?.map(Into::into))
    }

    /// Makes a key of this user's good for nothing, and returns it. A second time returns it again, as long as the row
    /// is there.
    pub(crate) async fn begin_revocation(
        &self,
        id: &str,
        user_id: UserId,
        now: DateTime<Utc>,
    ) -> Result<Option<ApiKey>> {
        let filter = doc! { "_id": id, "userId": user_id.0 };
        let update = doc! { "$set": { "revokedAt": BsonDateTime::from_chrono(now) } };
        let row = self.rows.find_one_and_update(filter, update).await?;
        Ok(row.map(Into::into))
    }

    /// Removes a key. Says whether it was there.
    pub(crate) async fn delete(&self, id: &str) -> Result<bool> {
        Ok(self.rows.delete_one(doc! { "_id": id }).await?.deleted_count == 1)
    }

    /// What the feed calls the keys of a user now.
    pub(crate) async fn list_sids(&self, user_id: UserId) -> Result<Vec<String>> {
        let rows = self.rows.clone_with_type::<EpochRow>();
        let rows = rows.find(doc! { "userId": user_id.0 });
        let rows = rows.projection(doc! { "epoch": 1 }).await?;
        Ok(rows
            .map_ok(|row| sid_of(&row.id, row.epoch))
            .try_collect()
            .await?)
    }

    /// Begins another epoch of all keys of a user: the feed calls them something else from now on.
    ///
    /// What they were called is read, and revoked, before: whoever verifies a key under a name that was not among those
    /// has read it after that, and the account, which was changed first, later still.
    pub(crate) async fn renew_epochs(&self, user_id: UserId) -> Result<()> {
        let update = doc! { "$inc": { "epoch": 1 } };
        self.rows
            .update_many(doc! { "userId": user_id.0 }, update)
            .await?;
        Ok(())
    }

    /// Writes down that a key is used, about once a minute.
    pub(crate) async fn touch(&self, key: &ApiKey, now: DateTime<Utc>) -> Result<()> {
        if key
            .last_used_at
            .is_some_and(|before| now - before < LAST_USED_EVERY)
        {
            return Ok(());
        }
        let update = doc! { "$max": { "lastUsedAt": BsonDateTime::from_chrono(now) } };
        self.rows.update_one(doc! { "_id": &key.id }, update).await?;
        Ok(())
    }
}

impl ApiKeyRow {
    fn new(key: &ApiKey, key_hash: &str, place: i32) -> Self {
        Self {
            id: key.id.clone(),
            user_id: key.user_id.0,
            place,
            name: key.terms.name.clone(),
            key_hash: key_hash.to_owned(),
            prefix: key.prefix.clone(),
            scopes: key.terms.scopes.clone(),
            chatflows: key.terms.chatflows.clone(),
            credit_cap: key.terms.credit_cap,
            rate: key.terms.rate,
            expires_at: key.terms.expires_at.map(BsonDateTime::from_chrono),
            epoch: key.epoch,
            created_at: BsonDateTime::from_chrono(key.created_at),
            created_by: key.created_by.0,
            last_used_at: None,
            revoked_at: None,
        }
    }
}

impl From<ApiKeyRow> for ApiKey {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            id: row.id,
            user_id: UserId(row.user_id),
            prefix: row.prefix,
            terms: KeyTerms {
                name: row.name,
                scopes: row.scopes,
                chatflows: row.chatflows,
                credit_cap: row.credit_cap,
                rate: row.rate,
                expires_at: row.expires_at.map(BsonDateTime::to_chrono),
            },
            epoch: row.epoch,
            created_at: row.created_at.to_chrono(),
            created_by: UserId(row.created_by),
            last_used_at: row.last_used_at.map(BsonDateTime::to_chrono),
        }
    }
}
