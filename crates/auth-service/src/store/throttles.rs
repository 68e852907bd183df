//! `throttles`: what slows those who try too often, shared by all replicas and kept over restarts.
//!
//! Two kinds of documents, both under a keyed hash: buckets, which hold tokens and fill up with time, and trials, which
//! count the failures of one account from one network. Each decision is one conditional update that the database makes
//! by itself, so that requests made at once, at any replica, are all counted.

use std::time::Duration;

use bson::{Bson, DateTime as BsonDateTime, Document, doc};
use chrono::{DateTime, Utc};
use mongodb::{Collection, Database, options::ReturnDocument};
use serde::{Deserialize, Serialize};

use crate::{
    domain::throttle::{Bucket, BucketRate, PENDING_LOST_AFTER, PENDING_MAX, Trial, TrialRule},
    error::{Error, Result},
};

/// The counters.
#[derive(Clone, Debug)]
pub(crate) struct ThrottleStore {
    rows: Collection<Row>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    #[serde(default)]
    admitted: bool,
    /// Of a bucket.
    #[serde(default)]
    tokens: f64,
    /// Of a trial.
    open_at: Option<BsonDateTime>,
}

impl ThrottleStore {
    /// Opens the collection and sees to its index.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let rows = database.collection("throttles");
        rows.create_indexes([super::expiring(doc! { "expiresAt": 1 }, Duration::ZERO)])
            .await?;
        Ok(Self { rows })
    }

    /// Takes one token, if there is one.
    pub(crate) async fn take_token(&self, key: &str, rate: BucketRate, now: DateTime<Utc>) -> Result<Bucket> {
        let quota = f64::from(rate.quota);
        let elapsed_secs = doc! { "$divide": [{ "$subtract": [time(now), "$at"] }, 1_000] };
        // Without a document, "$at" is null, and so is the difference; `$max` passes over nulls.
        let gained = doc! { "$multiply": [rate.per_sec(), { "$max": [0, elapsed_secs] }] };
        let update = vec![
            doc! { "$set": {
                "tokens": { "$min": [quota, { "$add": [{ "$ifNull": ["$tokens", quota] }, gained] }] },
                "at": { "$max": ["$at", time(now)] },
                "expiresAt": time(now + rate.window),
            } },
            doc! { "$set": { "admitted": { "$gte": ["$tokens", 1] } } },
            doc! { "$set": { "tokens": { "$cond": ["$admitted", { "$subtract": ["$tokens", 1] }, "$tokens"] } } },
        ];
        let row = self.change(key, update).await?;
        Ok(Bucket {
            admitted: row.admitted,
            tokens: row.tokens,
        })
    }

    /// Gives a token back.
    pub(crate) async fn give_token_back(&self, key: &str, rate: BucketRate) -> Result<()> {
        let tokens = doc! { "$min": [f64::from(rate.quota), { "$add": ["$tokens", 1] }] };
        let update = vec![doc! { "$set": { "tokens": tokens } }];
        self.rows.update_one(doc! { "_id": key }, update).await?;
        Ok(())
    }

    /// Begins a try, if its time has come. Until it is known how it ended it is pending.
    pub(crate) async fn begin_try(&self, key: &str, rule: TrialRule, now: DateTime<Utc>) -> Result<Trial> {
        let (free, longest) = (i64::from(rule.free_failures), i64::from(rule.wait_secs_max));
        let older_than = |age: chrono::Duration| {
            let since = doc! { "$subtract": [time(now), { "$ifNull": ["$lastAt", time(now)] }] };
            doc! { "$gte": [since, age.num_milliseconds()] }
        };
        // 2^20 seconds are more than any longest wait.
        let excess = doc! { "$min": [20, { "$max": [0, { "$subtract": ["$failures", free] }] }] };
        let wait_ms = doc! { "$multiply": [1_000, { "$min": [longest, { "$pow": [2, excess] }] }] };
        let is_free = || doc! { "$lt": ["$failures", free] };
        let all = doc! { "$add": ["$failures", "$pending"] };
        let update = vec![
            doc! { "$set": {
                "failures": { "$cond": [older_than(rule.forgotten_after()), 0, { "$ifNull": ["$failures", 0] }] },
                "pending": { "$cond": [older_than(PENDING_LOST_AFTER), 0, { "$ifNull": ["$pending", 0] }] },
                "lastAt": { "$ifNull": ["$lastAt", time(now)] },
                "expiresAt": time(now + rule.forgotten_after()),
            } },
            doc! { "$set": { "openAt": { "$cond": [is_free(), time(now), { "$add": ["$lastAt", wait_ms] }] } } },
            doc! { "$set": { "admitted": { "$cond": [
                is_free(),
                { "$lt": [all, free + PENDING_MAX] },
                { "$lte": ["$openAt", time(now)] },
            ] } } },
            // Once waits have begun a try closes the door behind it: of many made at once, one is looked at.
            doc! { "$set": {
                "pending": { "$add": ["$pending", { "$cond": ["$admitted", 1, 0] }] },
                "lastAt": { "$cond": [{ "$and": ["$admitted", { "$not": [is_free()] }] }, time(now), "$lastAt"] },
            } },
        ];
        let row = self.change(key, update).await?;
        let open_at = row.open_at.map_or(now, BsonDateTime::to_chrono);
        Ok(if row.admitted {
            Trial::Admitted
        } else {
            Trial::OpenAt(open_at)
        })
    }

    /// The try failed.
    pub(crate) async fn fail_try(&self, key: &str, rule: TrialRule, now: DateTime<Utc>) -> Result<()> {
        let update = vec![doc! { "$set": {
            "failures": { "$add": [{ "$ifNull": ["$failures", 0] }, 1] },
            "pending": one_less(),
            "lastAt": { "$max": ["$lastAt", time(now)] },
            "expiresAt": time(now + rule.forgotten_after()),
        } }];
        self.change(key, update).await.map(drop)
    }

    /// The try came to nothing: it was neither right nor wrong.
    pub(crate) async fn withdraw_try(&self, key: &str) -> Result<()> {
        let update = vec![doc! { "$set": { "pending": one_less() } }];
        self.rows.update_one(doc! { "_id": key }, update).await?;
        Ok(())
    }

    /// The try was right: all is forgotten.
    pub(crate) async fn forget(&self, key: &str) -> Result<()> {
        self.rows.delete_one(doc! { "_id": key }).await?;
        Ok(())
    }

    /// The document after the change. Of two that make it at once, one may be told that it exists; then it does.
    async fn change(&self, key: &str, update: Vec<Document>) -> Result<Row> {
        let change = || {
            self.rows
                .find_one_and_update(doc! { "_id": key }, update.clone())
                .upsert(true)
                .return_document(ReturnDocument::After)
        };
        let changed = match change().await {
            Err(error) if Error::duplicate_key(&error).is_some() => change().await,
            changed => changed,
        };
        Ok(changed?.unwrap_or_default())
    }
}

fn one_less() -> Document {
    doc! { "$max": [0, { "$subtract": [{ "$ifNull": ["$pending", 0] }, 1] }] }
}

fn time(time: DateTime<Utc>) -> Bson {
    BsonDateTime::from_chrono(time).into()
}
