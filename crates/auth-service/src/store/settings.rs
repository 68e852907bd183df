//! `settings`: every version of the settings, the greatest number counts. A version is only ever added, under a number that
//! nobody else has: of two who change the same version one is told so.

use bson::{DateTime as BsonDateTime, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{settings::Settings, user::UserId},
    error::{Error, Result},
};

/// The versions.
#[derive(Clone, Debug)]
pub(crate) struct SettingsStore {
    rows: Collection<SettingsRow>,
}

/// A version as it was kept.
#[derive(Clone, Debug)]
pub(crate) struct SettingsVersion {
    /// Its number.
    pub(crate) version: i64,
    /// What it says.
    pub(crate) settings: Settings,
    /// When it was made.
    pub(crate) at: DateTime<Utc>,
    /// By whom.
    pub(crate) by: UserId,
}

#[derive(Debug, Serialize, Deserialize)]
struct SettingsRow {
    #[serde(rename = "_id")]
    version: i64,
    settings: Settings,
    at: BsonDateTime,
    by: ObjectId,
}

impl SettingsStore {
    /// The versions in this database.
    pub(crate) fn new(database: &Database) -> Self {
        Self {
            rows: database.collection("settings"),
        }
    }

    /// The version that counts; `None` before anybody changed anything.
    pub(crate) async fn latest(&self) -> Result<Option<SettingsVersion>> {
        let row = self.rows.find_one(doc! {}).sort(doc! { "_id": -1 }).await?;
        Ok(row.map(SettingsVersion::from))
    }

    /// One version.
    pub(crate) async fn find(&self, version: i64) -> Result<Option<SettingsVersion>> {
        let row = self.rows.find_one(doc! { "_id": version }).await?;
        Ok(row.map(SettingsVersion::from))
    }

    /// The latest versions, the newest first.
    pub(crate) async fn list(&self, limit: i64) -> Result<Vec<SettingsVersion>> {
        let rows = self.rows.find(doc! {}).sort(doc! { "_id": -1 }).limit(limit);
        Ok(rows.await?.map_ok(SettingsVersion::from).try_collect().await?)
    }

    /// Adds a version. Says whether its number was free.
    pub(crate) async fn insert(&self, version: &SettingsVersion) -> Result<bool> {
        let row = SettingsRow {
            version: version.version,
            settings: version.settings.clone(),
            at: BsonDateTime::from_chrono(version.at),
            by: version.by.0,
        };
        match self.rows.insert_one(row).await {
            Ok(_) => Ok(true),
            Err(error) if Error::duplicate_key(&error).is_some() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl From<SettingsRow> for SettingsVersion {
    fn from(row: SettingsRow) -> Self {
        Self {
            version: row.version,
            settings: row.settings,
            at: row.at.to_chrono(),
            by: UserId(row.by),
        }
    }
}
