//! How a turn is written down.

use bson::{Bson, Document, doc};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::domain::{
    payment::{Ending, Settlement, settle},
    turn::Due,
};

pub(super) const RUNNING: &str = "running";
pub(super) const SETTLING: &str = "settling";
pub(super) const SETTLED: &str = "settled";

/// Where a turn stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// Somebody is working on it.
    Running,
    /// It has ended; accounting-service may not know yet.
    Settling,
    /// It is over.
    Settled,
}

/// The answer of a turn that had an idempotency key, to be given again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct StoredAnswer {
    /// The text, as far as it came.
    pub(crate) text: String,
    /// The `metadata` event, as JSON.
    pub(crate) metadata: Option<String>,
    /// What the person was told where the answer is not whole.
    pub(crate) failure: Option<String>,
}

impl StoredAnswer {
    pub(super) fn to_document(&self) -> Document {
        doc! { "text": &self.text, "metadata": &self.metadata, "failure": &self.failure }
    }
}

/// A turn known by its idempotency key.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) session_id: String,
    pub(crate) chatflow_id: String,
    pub(crate) fingerprint: String,
    pub(crate) stage: Stage,
    pub(crate) cost: i64,
    pub(crate) began_at: DateTime<Utc>,
    pub(crate) answer: Option<StoredAnswer>,
}

/// A turn that was taken over.
#[derive(Clone, Debug)]
pub(crate) struct Overdue {
    pub(crate) due: Due,
    pub(crate) session_id: String,
    pub(crate) stage: Stage,
    pub(crate) began_at: DateTime<Utc>,
}

#[derive(Deserialize)]
pub(super) struct StateRow {
    #[serde(rename = "_id")]
    id: String,
    user_id: String,
    session_id: String,
    chatflow_id: String,
    state: Stage,
    held: i64,
    content: bool,
    attempts: i64,
    settlement: Option<SettlementRow>,
    success: Option<bool>,
    total_tokens: Option<i64>,
    created_at: bson::DateTime,
    fingerprint: Option<String>,
    answer: Option<StoredAnswer>,
}

#[derive(Deserialize)]
struct SettlementRow {
    kind: SettlementKind,
    credits: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SettlementKind {
    Nothing,
    Void,
    Capture,
}

#[derive(Deserialize)]
pub(super) struct BacklogRow {
    count: i64,
    oldest: Option<bson::DateTime>,
}

impl BacklogRow {
    pub(super) fn into_parts(self) -> (i64, Option<DateTime<Utc>>) {
        (self.count, self.oldest.map(bson::DateTime::to_chrono))
    }
}

impl From<SettlementRow> for Settlement {
    fn from(row: SettlementRow) -> Self {
        match row.kind {
            SettlementKind::Nothing => Self::Nothing,
            SettlementKind::Void => Self::Void,
            SettlementKind::Capture => Self::Capture(row.credits),
        }
    }
}

pub(super) fn settlement_to_bson(settlement: Settlement) -> Document {
    match settlement {
        Settlement::Nothing => doc! { "kind": "nothing", "credits": 0_i64 },
        Settlement::Void => doc! { "kind": "void", "credits": 0_i64 },
        Settlement::Capture(credits) => doc! { "kind": "capture", "credits": credits },
    }
}

pub(super) fn time(time: DateTime<Utc>) -> Bson {
    Bson::DateTime(bson::DateTime::from_chrono(time))
}

impl From<StateRow> for Known {
    fn from(row: StateRow) -> Self {
        let cost = match row.settlement.map(Settlement::from) {
            Some(Settlement::Capture(credits)) => credits,
            Some(Settlement::Nothing | Settlement::Void) | None => 0,
        };
        Self {
            id: row.id,
            session_id: row.session_id,
            chatflow_id: row.chatflow_id,
            fingerprint: row.fingerprint.unwrap_or_default(),
            stage: row.state,
            cost,
            began_at: row.created_at.to_chrono(),
            answer: row.answer,
        }
    }
}

impl From<StateRow> for Overdue {
    fn from(row: StateRow) -> Self {
        // Nobody can say any more what it really cost.
        let crashed = || settle(Ending::Broken, row.content, None, row.held);
        Self {
            session_id: row.session_id,
            stage: row.state,
            began_at: row.created_at.to_chrono(),
            due: Due {
                id: row.id,
                user_id: row.user_id,
                chatflow_id: row.chatflow_id,
                held: row.held,
                settlement: row.settlement.map_or_else(crashed, Settlement::from),
                success: row.success.unwrap_or(false),
                total_tokens: row.total_tokens,
                attempts: u32::try_from(row.attempts).unwrap_or(u32::MAX),
            },
        }
    }
}
