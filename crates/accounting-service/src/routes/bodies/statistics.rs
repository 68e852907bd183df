//! Statistics: what is asked, and what is answered.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    str::FromStr,
};

use common_http::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    domain::ids::UserId,
    store::{LoggedUsage, RankedUser, Statistics, Sums},
};

/// The query of `GET /api/usage/stats` and `/stats/{userId}`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AskStatistics {
    /// The first day, or a moment.
    pub start_date: Option<String>,
    /// The last day, or a moment.
    pub end_date: Option<String>,
}

/// The query of `GET /api/usage/system-stats`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AskSystemStatistics {
    /// The first day, or a moment.
    pub start_date: Option<String>,
    /// The last day, or a moment.
    pub end_date: Option<String>,
    /// How many users at most, from 1 to 1,000.
    pub limit: Option<u16>,
    /// The `nextCursor` of the page before.
    pub cursor: Option<String>,
}

/// Where a page of ranked users ends: `<credits>.<user id>`.
#[derive(Debug)]
pub struct RankCursor(pub RankedUser);

impl Display for RankCursor {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0.credits, self.0.user_id)
    }
}

/// A cursor that this service has not made.
#[derive(Debug)]
pub struct NotACursor;

impl FromStr for RankCursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let (credits, user) = text.split_once('.').ok_or(NotACursor)?;
        Ok(Self(RankedUser {
            credits: credits.parse().or(Err(NotACursor))?,
            user_id: UserId::parse(user).ok_or(NotACursor)?.to_string(),
        }))
    }
}

/// `GET /api/usage/stats` and `/stats/{userId}`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserStatisticsBody {
    /// How many records.
    pub total_records: i64,
    /// Their credits.
    pub total_credits: i64,
    /// Credits by service.
    #[serde(serialize_with = "as_map")]
    pub by_service: Sums,
    /// Credits by UTC day.
    pub by_day: BTreeMap<String, i64>,
    /// Credits by what chats ran on.
    #[serde(serialize_with = "as_map")]
    pub by_model: Sums,
    /// Credits by chatflow.
    #[serde(serialize_with = "as_map")]
    pub by_chatflow: Sums,
    /// The last records, newest first.
    pub recent_activity: Vec<UsageBody>,
}

impl UserStatisticsBody {
    /// The answer.
    pub fn new(sums: Statistics, recent: Vec<LoggedUsage>) -> Self {
        Self {
            total_records: sums.records,
            total_credits: sums.credits,
            by_service: sums.by_service,
            by_day: sums.by_day,
            by_model: sums.by_model,
            by_chatflow: sums.by_chatflow,
            recent_activity: recent.into_iter().map(Into::into).collect(),
        }
    }
}

/// A record of the usage log.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageBody {
    /// Its id.
    pub id: Uuid,
    /// Whose usage.
    pub user_id: String,
    /// When.
    pub timestamp: Timestamp,
    /// Which part of the platform was used.
    pub service: String,
    /// What was done there.
    pub operation: String,
    /// What it cost.
    pub credits: i64,
    /// Whatever else is worth knowing.
    pub metadata: Value,
}

impl From<LoggedUsage> for UsageBody {
    fn from(usage: LoggedUsage) -> Self {
        Self {
            id: usage.id,
            user_id: usage.user_id,
            timestamp: usage.timestamp.into(),
            service: usage.service,
            operation: usage.operation,
            credits: usage.credits,
            metadata: usage.metadata,
        }
    }
}

/// `GET /api/usage/system-stats`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SystemStatisticsBody {
    /// How many records.
    pub total_records: i64,
    /// Their credits.
    pub total_credits: i64,
    /// Credits by user; those who used the most, or the next of them.
    #[serde(serialize_with = "as_map")]
    pub by_user: Sums,
    /// Credits by service.
    #[serde(serialize_with = "as_map")]
    pub by_service: Sums,
    /// Credits by UTC day.
    pub by_day: BTreeMap<String, i64>,
    /// Credits by what chats ran on.
    #[serde(serialize_with = "as_map")]
    pub by_model: Sums,
    /// Credits by chatflow.
    #[serde(serialize_with = "as_map")]
    pub by_chatflow: Sums,
    /// Where the next users begin; null when there are no more.
    pub next_cursor: Option<String>,
}

impl SystemStatisticsBody {
    /// The answer with one page of users.
    pub fn new(sums: Statistics, users: Vec<RankedUser>, next_cursor: Option<String>) -> Self {
        Self {
            total_records: sums.records,
            total_credits: sums.credits,
            next_cursor,
            by_user: users
                .into_iter()
                .map(|user| (user.user_id, user.credits))
                .collect(),
            by_service: sums.by_service,
            by_day: sums.by_day,
            by_model: sums.by_model,
            by_chatflow: sums.by_chatflow,
        }
    }
}

/// A JSON object whose members keep their order.
fn as_map<S: Serializer>(sums: &Sums, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(sums.iter().map(|(key, credits)| (key, credits)))
}
