//! Dead letters: what is asked, and what is answered.

use common_http::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::store::DeadLetter;

/// The query of `GET /api/admin/webhooks/dead-letters`.
#[derive(Debug, Deserialize)]
pub struct ListDeadLetters {
    /// How many at most, from 1 to 500.
    pub limit: Option<u16>,
    /// The `nextCursor` of the page before.
    pub cursor: Option<Uuid>,
}

/// `GET /api/admin/webhooks/dead-letters`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLettersBody {
    /// One page, latest first.
    pub dead_letters: Vec<DeadLetterBody>,
    /// Where the next page begins; null when this is the last.
    pub next_cursor: Option<Uuid>,
}

/// A message that was given up.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterBody {
    /// Its id, which is also the header `webhook-id`.
    pub id: Uuid,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What was sent.
    pub payload: Value,
    /// How often it was tried.
    pub attempts: i32,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When its fact arose.
    pub created_at: Timestamp,
    /// When it was given up.
    pub died_at: Timestamp,
}

impl From<DeadLetter> for DeadLetterBody {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            kind: letter.kind,
            payload: serde_json::from_str(&letter.payload).unwrap_or_default(),
            attempts: letter.attempts,
            last_error: letter.last_error,
            created_at: letter.created_at.into(),
            died_at: letter.ended_at.into(),
        }
    }
}

/// `POST /api/admin/webhooks/dead-letters/{id}/retry`.
#[derive(Debug, Serialize)]
pub struct RetriedBody {
    /// The message.
    pub id: Uuid,
    /// `waiting`.
    pub status: &'static str,
}
