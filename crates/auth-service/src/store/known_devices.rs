//! `known_devices`: what each user was seen with, as keyed hashes.

use std::time::Duration;

use bson::{DateTime as BsonDateTime, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        known_devices::{KEPT_FOR, KnownDevices, Seen},
        user::UserId,
    },
    error::{Error, Result},
};

/// The records.
#[derive(Clone, Debug)]
pub(crate) struct KnownDeviceStore {
    rows: Collection<Row>,
}

/// How often a record was written: who writes says which one they read.
pub(crate) type Version = i64;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(rename = "_id")]
    user_id: ObjectId,
    version: Version,
    seen: Vec<SeenRow>,
    mails_since: BsonDateTime,
    mails: u32,
    expires_at: BsonDateTime,
}

#[derive(Debug, Serialize, Deserialize)]
struct SeenRow {
    key: String,
    at: BsonDateTime,
}

impl KnownDeviceStore {
    /// Opens the collection and sees to its index.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let rows = database.collection("known_devices");
        rows.create_indexes([super::expiring(doc! { "expiresAt": 1 }, Duration::ZERO)])
            .await?;
        Ok(Self { rows })
    }

    /// What is remembered of this user.
    pub(crate) async fn find(&self, user_id: UserId) -> Result<Option<(KnownDevices, Version)>> {
        let row = self.rows.find_one(doc! { "_id": user_id.0 }).await?;
        Ok(row.map(|row| {
            let seen = row.seen.into_iter().map(|seen| Seen {
                key: seen.key,
                at: seen.at.to_chrono(),
            });
            let known = KnownDevices {
                seen: seen.collect(),
                mails_since: row.mails_since.to_chrono(),
                mails: row.mails,
            };
            (known, row.version)
        }))
    }

    /// Writes a record if it is still as it was read; `None` when there was none. Says whether it did.
    pub(crate) async fn put(
        &self,
        user_id: UserId,
        known: &KnownDevices,
        read: Option<Version>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let seen = known.seen.iter().map(|seen| SeenRow {
            key: seen.key.clone(),
            at: BsonDateTime::from_chrono(seen.at),
        });
        let row = Row {
            user_id: user_id.0,
            version: read.unwrap_or_default().wrapping_add(1),
            seen: seen.collect(),
            mails_since: BsonDateTime::from_chrono(known.mails_since),
            mails: known.mails,
            expires_at: BsonDateTime::from_chrono(now + KEPT_FOR),
        };
        let Some(version) = read else {
            return match self.rows.insert_one(row).await {
                Ok(_) => Ok(true),
                Err(error) if Error::duplicate_key(&error).is_some() => Ok(false),
                Err(error) => Err(error.into()),
            };
        };
        let filter = doc! { "_id": user_id.0, "version": version };
        Ok(self.rows.replace_one(filter, row).await?.matched_count == 1)
    }
}
