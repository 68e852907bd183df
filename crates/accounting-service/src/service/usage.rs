//! Usage that is only written down. What a hold paid for is logged with its capture, not here.

use common_http::Clock;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::ledger::{Answer, InProgress, Origin};
use crate::{
    domain::{credits::Credits, ids::UserId, usage::UsageRecord},
    error::{Error, Result},
    store::{IdempotencyStore, RememberedRow, UsageStore},
};

/// Something to be logged.
#[derive(Clone, Debug)]
pub struct Recording {
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
}

/// The usage log.
#[derive(Clone)]
pub struct Usage {
    store: UsageStore,
    answers: IdempotencyStore,
    in_progress: InProgress,
    clock: Clock,
}

impl Usage {
    /// The log in `store`, with remembered answers in `answers`.
    pub fn new(store: UsageStore, answers: IdempotencyStore, clock: Clock) -> Self {
        Self {
            store,
            answers,
            in_progress: InProgress::default(),
            clock,
        }
    }

    /// Writes a record down, once per idempotency key.
    pub async fn record(
        &self,
        recording: Recording,
        origin: Origin,
        render: impl Fn(&UsageRecord) -> serde_json::Result<String>,
    ) -> Result<Answer> {
        let key = origin.idempotency.as_ref();
        let _in_use = key
            .map(|key| self.in_progress.enter(key).ok_or(Error::IdempotencyInProgress))
            .transpose()?;
        if let Some(key) = key
            && let Some(known) = self.answers.find(key).await?
        {
            return Answer::replay(&known, key);
        }
        let record = UsageRecord {
            id: Uuid::now_v7(),
            user_id: recording.user_id,
            service: recording.service,
            operation: recording.operation,
            credits: recording.credits,
            metadata: recording.metadata,
            hold_id: None,
            recorded_at: self.clock.now(),
        };
        let answer = Answer {
            status: 201,
            body: render(&record)?,
            replayed: false,
        };
        let remembered = origin.idempotency.map(|key| RememberedRow {
            key,
            status: 201,
            body: answer.body.clone(),
            command_id: None,
            created_at: record.recorded_at,
        });
        if self.store.insert(&record, remembered.as_ref()).await? {
            return Ok(answer);
        }
        // Somebody was faster with the same key.
        let key = remembered.map(|row| row.key).ok_or(Error::UserNotFound)?;
        let known = self.answers.find(&key).await?.ok_or(Error::Unavailable)?;
        Answer::replay(&known, &key)
    }
}
