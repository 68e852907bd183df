//! `user_changes`: what happened to accounts that other services must hear of, in one order for all.
//!
//! Each change has the number after the greatest there is, and the index on `_id` lets only one writer have it. So a
//! number is never used before the one below it can be read, and whoever has read up to a number has missed nothing:
//! no clock is asked.

use bson::{DateTime as BsonDateTime, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database, error::ErrorKind, options::ReadConcern};
use serde::{Deserialize, Serialize};

use crate::{
    domain::user::UserId,
    error::{DUPLICATE_KEY, Error, Result},
};

/// How often a writer tries for the next numbers. Each time it loses them, somebody else has got on.
const TRIES_MAX: usize = 1_000;

/// The changes.
#[derive(Clone, Debug)]
pub(crate) struct UserChangeStore {
    rows: Collection<ChangeRow>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UserChange {
    /// Its place in the order.
    pub(crate) number: i64,
    /// Whose account.
    pub(crate) user_id: UserId,
    /// What happened, as the feed calls it.
    pub(crate) kind: String,
    /// The account as it is since; nothing of an account that is gone.
    pub(crate) account: Option<AccountSnapshot>,
    /// When it was written down.
    pub(crate) at: DateTime<Utc>,
}

/// What other services keep of an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AccountSnapshot {
    /// The name.
    pub(crate) username: String,
    /// The address.
    pub(crate) email: String,
    /// The role, as it is read.
    pub(crate) role: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangeRow {
    #[serde(rename = "_id")]
    number: i64,
    user_id: ObjectId,
    kind: String,
    account: Option<AccountSnapshot>,
    at: BsonDateTime,
}

#[derive(Deserialize)]
struct Number {
    #[serde(rename = "_id")]
    number: i64,
}

impl UserChangeStore {
    /// Opens the collection and sees to its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let rows = database.collection("user_changes");
        rows.create_indexes([super::plain(doc! { "at": 1 })]).await?;
        Ok(Self { rows })
    }

    /// Adds a change of this kind to each of these accounts.
    pub(crate) async fn append(
        &self,
        ids: &[UserId],
        kind: &str,
        account: Option<&AccountSnapshot>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let mut rest = ids;
        for _ in 0..TRIES_MAX {
            if rest.is_empty() {
                return Ok(());
            }
            let first = self.latest().await? + 1;
            let rows = rest.iter().zip(first..).map(|(id, number)| ChangeRow {
                number,
                user_id: id.0,
                kind: kind.to_owned(),
                account: account.cloned(),
                at: BsonDateTime::from_chrono(now),
            });
            let Err(error) = self.rows.insert_many(rows).ordered(true).await else {
                return Ok(());
            };
            let written = written_before_conflict(&error).ok_or(Error::Database(error))?;
            rest = rest.get(written..).unwrap_or_default();
        }
        Err(Error::FeedBusy)
    }

    /// The greatest number; 0 when there is none.
    pub(crate) async fn latest(&self) -> Result<i64> {
        let numbers = self.rows.clone_with_type::<Number>();
        let latest = numbers.find_one(doc! {}).sort(doc! { "_id": -1 });
        let latest = latest.projection(doc! { "_id": 1 }).await?;
        Ok(latest.map_or(0, |row| row.number))
    }

    /// The changes after this number, at most `limit`. Only what a majority of the database's members has: a number
    /// that a failover takes back would be given again.
    pub(crate) async fn list_after(&self, number: i64, limit: i64) -> Result<Vec<UserChange>> {
        let filter = doc! { "_id": { "$gt": number } };
        let rows = self.rows.find(filter).sort(doc! { "_id": 1 }).limit(limit);
        let rows = rows.read_concern(ReadConcern::majority()).await?;
        Ok(rows.map_ok(UserChange::from).try_collect().await?)
    }

    /// Removes what was written down before `before`, but never the last one: the next number follows from it.
    pub(crate) async fn delete_before(&self, before: DateTime<Utc>) -> Result<u64> {
        let latest = self.latest().await?;
        let filter = doc! { "at": { "$lt": BsonDateTime::from_chrono(before) }, "_id": { "$lt": latest } };
        Ok(self.rows.delete_many(filter).await?.deleted_count)
    }
}

/// How many rows of an ordered insert were written before one whose number somebody else has; `None` when something
/// else went wrong.
fn written_before_conflict(error: &mongodb::error::Error) -> Option<usize> {
    let ErrorKind::InsertMany(failure) = &*error.kind else {
        return None;
    };
    let first = failure.write_errors.as_ref()?.first()?;
    (first.code == DUPLICATE_KEY).then_some(first.index)
}

impl From<ChangeRow> for UserChange {
    fn from(row: ChangeRow) -> Self {
        Self {
            number: row.number,
            user_id: UserId(row.user_id),
            kind: row.kind,
            account: row.account,
            at: row.at.to_chrono(),
        }
    }
}
