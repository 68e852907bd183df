//! `failed_sign_ins`: how many sign-ins failed in each of the last minutes, and at about how many different accounts.
//!
//! A minute is one document of at most some kilobytes, however many accounts there were: a sketch, not a list. Nobody
//! can read from it which names were typed.

use std::time::Duration;

use bson::{DateTime as BsonDateTime, Document, doc};
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database, options::ReturnDocument};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        distinct::Sketch,
        spraying::{Failures, WINDOW},
    },
    error::{Error, Result},
};

/// The one alert there is.
const ALERT: &str = "password_spraying";

/// The minutes and the alert.
#[derive(Clone, Debug)]
pub(crate) struct FailedSignInStore {
    minutes: Collection<Minute>,
    alerts: Collection<Alert>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Minute {
    #[serde(default)]
    failures: i64,
    #[serde(default)]
    registers: std::collections::BTreeMap<String, i32>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Alert {
    until: BsonDateTime,
}

impl FailedSignInStore {
    /// Opens the collections and sees to their indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let minutes = database.collection("failed_sign_ins");
        minutes
            .create_indexes([super::expiring(doc! { "expiresAt": 1 }, Duration::ZERO)])
            .await?;
        let alerts = database.collection("alerts");
        Ok(Self { minutes, alerts })
    }

    /// Adds what one replica saw to the current minute.
    pub(crate) async fn add(&self, failures: &Failures, now: DateTime<Utc>) -> Result<()> {
        let registers: Document = failures
            .accounts
            .registers()
            .map(|(index, rank)| (format!("registers.{index}"), i32::from(rank).into()))
            .collect();
        let minute = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
        let count = i64::try_from(failures.count).unwrap_or(i64::MAX);
        let mut update = doc! {
            "$inc": { "failures": count },
            "$setOnInsert": { "expiresAt": BsonDateTime::from_chrono(minute + WINDOW * 2) },
        };
        if !registers.is_empty() {
            update.insert("$max", registers);
        }
        let filter = doc! { "_id": BsonDateTime::from_chrono(minute) };
        let add = || {
            self.minutes
                .update_one(filter.clone(), update.clone())
                .upsert(true)
        };
        match add().await {
            Err(error) if Error::duplicate_key(&error).is_some() => add().await?,
            added => added?,
        };
        Ok(())
    }

    /// What all replicas saw in the window that ends now.
    pub(crate) async fn sum(&self, now: DateTime<Utc>) -> Result<Failures> {
        let filter = doc! { "_id": { "$gt": BsonDateTime::from_chrono(now - WINDOW) } };
        let mut minutes = self.minutes.find(filter).await?;
        let mut sum = Failures::default();
        while let Some(minute) = minutes.try_next().await? {
            sum.count += u64::try_from(minute.failures).unwrap_or_default();
            sum.accounts.merge(&sketch_of(&minute));
        }
        Ok(sum)
    }

    /// Raises the alert until then. Says whether it was not raised before: of all replicas, one is told so.
    pub(crate) async fn raise_alert(&self, until: DateTime<Utc>, now: DateTime<Utc>) -> Result<bool> {
        let update = doc! { "$max": { "until": BsonDateTime::from_chrono(until) } };
        let raise = self.alerts.find_one_and_update(doc! { "_id": ALERT }, update);
        match raise.upsert(true).return_document(ReturnDocument::Before).await {
            Ok(before) => Ok(before.is_none_or(|before| before.until.to_chrono() <= now)),
            Err(error) if Error::duplicate_key(&error).is_some() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn sketch_of(minute: &Minute) -> Sketch {
    let mut sketch = Sketch::default();
    for (index, rank) in &minute.registers {
        if let (Ok(index), Ok(rank)) = (index.parse(), u8::try_from(*rank)) {
            sketch.raise(index, rank);
        }
    }
    sketch
}
