//! Streaming sessions in lists.

use common_http::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::domain::{
    credits::Credits,
    ids::UserId,
    ledger::{Hold, HoldStatus},
};

/// A streaming session in a list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionBody {
    /// The hold.
    pub id: Uuid,
    /// The session.
    pub session_id: String,
    /// Whose it is.
    pub user_id: UserId,
    /// What uses the credits.
    pub model_id: String,
    /// What the use was estimated at.
    pub estimated_credits: Credits,
    /// What was held.
    pub allocated_credits: Credits,
    /// What was paid; nothing while it runs.
    pub used_credits: Credits,
    /// `active`, `completed` or `failed`.
    pub status: &'static str,
    /// When it was opened.
    pub started_at: Timestamp,
    /// When it ended.
    pub completed_at: Option<Timestamp>,
}

impl From<Hold> for SessionBody {
    fn from(hold: Hold) -> Self {
        let status = match hold.status {
            HoldStatus::Open => "active",
            HoldStatus::Captured if hold.succeeded == Some(true) => "completed",
            HoldStatus::Captured | HoldStatus::Voided | HoldStatus::Expired => "failed",
        };
        Self {
            id: hold.id,
            session_id: hold.key.session_id,
            user_id: hold.user_id,
            model_id: hold.model_id,
            estimated_credits: hold.estimated,
            allocated_credits: hold.held,
            used_credits: hold.captured,
            status,
            started_at: hold.started_at.into(),
            completed_at: hold.settled_at.map(Timestamp),
        }
    }
}

/// `GET /api/streaming-sessions/recent` and `/recent/{userId}`.
#[derive(Debug, Serialize)]
pub struct RecentSessionsBody {
    /// Running ones, then completed, then failed ones.
    pub sessions: Vec<SessionBody>,
    /// The time of the answer.
    pub timestamp: Timestamp,
    /// What was asked for.
    pub filter: RecentFilterBody,
}

/// What a list of recent sessions was asked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecentFilterBody {
    /// Whose sessions, when somebody was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// How far back ended ones were looked for.
    pub minutes: u32,
}
