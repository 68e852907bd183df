//! How a turn is written down.

use bson::{Bson, Document, doc};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::domain::{
    payment::{Ending, Hold, Settlement, settle},
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
    /// Credits paid; `None` while only accounting-service knows.
    pub(crate) cost: Option<i64>,
    pub(crate) began_at: DateTime<Utc>,
    pub(crate) answer: Option<StoredAnswer>,
}

/// A turn that was taken over.
#[derive(Clone, Debug)]
pub(crate) struct Overdue {
    pub(crate) due: Due,
    /// Who talks: a user id, or the name of a visitor.
    pub(crate) talker_id: String,
    /// The chatflow that is run, where it is one.
    pub(crate) flow_id: Option<String>,
    pub(crate) session_id: String,
    pub(crate) stage: Stage,
    pub(crate) began_at: DateTime<Utc>,
}

#[derive(Deserialize)]
pub(super) struct StateRow {
    #[serde(rename = "_id")]
    id: String,
    user_id: String,
    payer_id: Option<String>,
    flow_id: Option<String>,
    session_id: String,
    chatflow_id: String,
    state: Stage,
    held: i64,
    /// Only where the price is by usage.
    estimated_tokens: Option<i64>,
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
    /// What is paid; null while only accounting-service knows.
    credits: Option<i64>,
    /// What is paid for, where tokens are counted.
    tokens: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum SettlementKind {
    Nothing,
    Void,
    Capture,
    Tokens,
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
            SettlementKind::Capture => Self::Capture(row.credits.unwrap_or_default()),
            SettlementKind::Tokens => Self::CaptureTokens(row.tokens.unwrap_or_default()),
        }
    }
}

/// A settlement and what is paid by it, where that is known.
pub(super) fn settlement_to_bson(settlement: Settlement, paid: Option<i64>) -> Document {
    match settlement {
        Settlement::Nothing => doc! { "kind": "nothing", "credits": paid },
        Settlement::Void => doc! { "kind": "void", "credits": paid },
        Settlement::Capture(_) => doc! { "kind": "capture", "credits": paid },
        Settlement::CaptureTokens(tokens) => doc! { "kind": "tokens", "tokens": tokens, "credits": paid },
    }
}

pub(super) fn time(time: DateTime<Utc>) -> Bson {
    Bson::DateTime(bson::DateTime::from_chrono(time))
}

impl From<StateRow> for Known {
    fn from(row: StateRow) -> Self {
        Self {
            id: row.id,
            session_id: row.session_id,
            chatflow_id: row.chatflow_id,
            fingerprint: row.fingerprint.unwrap_or_default(),
            stage: row.state,
            cost: row.settlement.map_or(Some(0), |settlement| settlement.credits),
            began_at: row.created_at.to_chrono(),
            answer: row.answer,
        }
    }
}

impl From<StateRow> for Overdue {
    fn from(row: StateRow) -> Self {
        let hold = match row.estimated_tokens {
            None => Hold::flat(row.held),
            Some(estimated_tokens) => Hold::ByUsage {
                credits: row.held,
                estimated_tokens,
            },
        };
        // Nobody can say any more what it really cost.
        let crashed = || settle(Ending::Broken, row.content, None, hold);
        let flow_id = match row.payer_id {
            None => Some(row.chatflow_id.clone()),
            Some(_) => row.flow_id,
        };
        Self {
            flow_id,
            talker_id: row.user_id.clone(),
            session_id: row.session_id,
            stage: row.state,
            began_at: row.created_at.to_chrono(),
            due: Due {
                id: row.id,
                user_id: row.payer_id.unwrap_or(row.user_id),
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
