//! What credits were used for.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{credits::Credits, ids::UserId, ledger::Hold};

/// How a capture is to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageNote {
    /// The id of the record to be.
    pub id: Uuid,
    /// Which part of the platform was used, such as `chat-streaming`.
    pub service: String,
    /// What was done there; the hold's model when nothing else is said.
    pub operation: Option<String>,
    /// Whatever else is worth knowing.
    pub metadata: Map<String, Value>,
}

/// One line of the usage log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRecord {
    /// Its id.
    pub id: Uuid,
    /// Whose usage.
    pub user_id: UserId,
    /// Which part of the platform was used.
    pub service: String,
    /// What was done there.
    pub operation: String,
    /// What it cost.
    pub credits: Credits,
    /// Whatever else is worth knowing.
    pub metadata: Map<String, Value>,
    /// The hold that paid, when one did.
    pub hold_id: Option<Uuid>,
    /// When.
    pub recorded_at: DateTime<Utc>,
}

impl UsageNote {
    /// The record of a capture: the note, with the session and how long it streamed.
    pub fn record(&self, hold: &Hold, now: DateTime<Utc>) -> UsageRecord {
        let millis = (now - hold.started_at).num_milliseconds().max(0);
        let mut metadata = self.metadata.clone();
        metadata.insert("sessionId".to_owned(), hold.key.session_id.clone().into());
        metadata.insert("streamingDuration".to_owned(), seconds(millis));
        UsageRecord {
            id: self.id,
            user_id: hold.user_id.clone(),
            service: self.service.clone(),
            operation: self.operation.clone().unwrap_or_else(|| hold.model_id.clone()),
            credits: hold.captured,
            metadata,
            hold_id: Some(hold.id),
            recorded_at: now,
        }
    }
}

/// Milliseconds as the documented fractional seconds.
fn seconds(millis: i64) -> Value {
    let duration = std::time::Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    duration.as_secs_f64().into()
}
