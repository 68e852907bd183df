//! Granting credits and spending them at once.

use chrono::{DateTime, TimeDelta, Utc};
use common_http::Clock;
use uuid::Uuid;

use super::ledger::{Answer, Instruction, Ledger, Origin, Render};
use crate::{
    domain::{
        credits::Amount,
        expiry::ExpiryDays,
        ids::UserId,
        ledger::{Command, Grant, Refusal},
        text::Note,
    },
    error::{Error, Result},
};

/// An allocation to be made.
#[derive(Clone, Debug)]
pub struct Allocating {
    /// For whom.
    pub user_id: UserId,
    /// How much.
    pub credits: Amount,
    /// For how long.
    pub expiry_days: ExpiryDays,
    /// A remark.
    pub notes: Option<Note>,
    /// Who grants it.
    pub allocated_by: UserId,
}

/// Granting and spending.
#[derive(Clone)]
pub struct Credits {
    ledger: Ledger,
    clock: Clock,
}

impl Credits {
    /// Changes credits through `ledger`.
    pub fn new(ledger: Ledger, clock: Clock) -> Self {
        Self { ledger, clock }
    }

    /// Grants credits. `render` is given the allocation that was made.
    pub async fn allocate(
        &self,
        allocating: Allocating,
        origin: Origin,
        render: impl Fn(&Grant) -> serde_json::Result<String> + Send + Sync + 'static,
    ) -> Result<Answer> {
        let notes = allocating.notes.map(Note::into_inner);
        let grant = Grant {
            id: Uuid::now_v7(),
            credits: allocating.credits,
            expires_at: self.days_from_now(allocating.expiry_days)?,
            allocated_by: allocating.allocated_by.to_string(),
            notes: notes.clone(),
        };
        let granted = grant.clone();
        self.ledger
            .submit(Instruction {
                user_id: allocating.user_id,
                command: Command::Allocate { grant },
                description: notes,
                origin,
                status: 201,
                render: Box::new(move |_| render(&granted)),
            })
            .await
    }

    /// Spends credits of the caller's own.
    pub async fn deduct(
        &self,
        user_id: UserId,
        credits: Amount,
        origin: Origin,
        render: Render,
    ) -> Result<Answer> {
        let answer = self
            .ledger
            .submit(Instruction {
                user_id,
                command: Command::Deduct { credits },
                description: None,
                origin,
                status: 200,
                render,
            })
            .await;
        answer.map_err(|error| {
            if let Error::Refused(Refusal::InsufficientCredits { required, available }) = error {
                return Error::Overdrawn { required, available };
            }
            error
        })
    }

    fn days_from_now(&self, days: ExpiryDays) -> Result<DateTime<Utc>> {
        let span = TimeDelta::try_days(days.get());
        span.and_then(|span| self.clock.now().checked_add_signed(span))
            .ok_or_else(|| Error::invalid("expiryDays", "lies too far ahead"))
    }
}
