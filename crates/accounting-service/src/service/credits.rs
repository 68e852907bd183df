//! Granting credits and spending them at once.

use chrono::{DateTime, TimeDelta, Utc};
use common_http::Clock;
use uuid::Uuid;

use super::ledger::{Answer, Instruction, Ledger, Origin, Render};
use crate::{
    domain::{
        credits::{Amount, Credits as Remaining},
        expiry::ExpiryDays,
        ids::UserId,
        ledger::{Command, Grant, Refusal},
        text::Note,
    },
    error::{Error, Result},
    store::FoundAllocation,
};

/// An allocation to be made.
#[derive(Clone, Debug)]
pub struct Allocating {
    /// For whom.
    pub user_id: UserId,
    /// How much.
    pub credits: Amount,
    /// For how long.
    pub expiry_days: Option<ExpiryDays>,
    /// A remark.
    pub notes: Option<Note>,
    /// Who grants it: a user id, or one of our services.
    pub allocated_by: String,
}

/// Credits to be taken out of one allocation.
#[derive(Clone, Debug)]
pub struct Withdrawing {
    /// Which.
    pub allocation: FoundAllocation,
    /// What stays in it.
    pub keep: Remaining,
    /// A remark.
    pub notes: Option<Note>,
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
        let grant = self.grant(
            allocating.credits,
            allocating.expiry_days,
            allocating.notes.as_ref(),
            allocating.allocated_by,
        )?;
        let granted = grant.clone();
        self.ledger
            .submit(Instruction {
                user_id: allocating.user_id,
                command: Command::Allocate { grant },
                description: granted.notes.clone(),
                origin,
                status: 201,
                render: Box::new(move |_| render(&granted)),
            })
            .await
    }

    /// Changes what somebody can spend on an administrator's behalf; nothing happens when more would be taken than there
    /// is.
    pub async fn correct(
        &self,
        user_id: UserId,
        command: Command,
        notes: Option<Note>,
        origin: Origin,
        render: Render,
    ) -> Result<Answer> {
        let instruction = Instruction {
            user_id,
            command,
            description: notes.map(Note::into_inner),
            origin,
            status: 200,
            render,
        };
        self.ledger.submit(instruction).await.map_err(overdrawn)
    }

    /// Takes credits out of one allocation.
    pub async fn withdraw(&self, withdrawing: Withdrawing, origin: Origin, render: Render) -> Result<Answer> {
        let command = Command::Withdraw {
            allocation_id: withdrawing.allocation.id,
            keep: withdrawing.keep,
        };
        let user_id = withdrawing.allocation.user_id;
        self.correct(user_id, command, withdrawing.notes, origin, render)
            .await
    }

    /// Takes everything away and closes the account. The ledger stays; what is known of the owner is blanked with it. An
    /// account that is closed counts as gone.
    pub async fn close(&self, user_id: UserId, origin: Origin, render: Render) -> Result<Answer> {
        let instruction = Instruction {
            user_id,
            command: Command::Close,
            description: Some("the account was closed".to_owned()),
            origin,
            status: 200,
            render,
        };
        self.ledger.submit(instruction).await.map_err(|error| {
            if matches!(error, Error::Refused(Refusal::AccountClosed)) {
                Error::UserNotFound
            } else {
                error
            }
        })
    }

    /// An allocation of `credits` that begins now.
    pub fn grant(
        &self,
        credits: Amount,
        expiry_days: Option<ExpiryDays>,
        notes: Option<&Note>,
        allocated_by: String,
    ) -> Result<Grant> {
        Ok(Grant {
            id: Uuid::now_v7(),
            credits,
            expires_at: self.days_from_now(expiry_days.unwrap_or_default())?,
            allocated_by,
            notes: notes.cloned().map(Note::into_inner),
        })
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
        answer.map_err(overdrawn)
    }

    fn days_from_now(&self, days: ExpiryDays) -> Result<DateTime<Utc>> {
        let span = TimeDelta::try_days(days.get());
        span.and_then(|span| self.clock.now().checked_add_signed(span))
            .ok_or_else(|| Error::invalid("expiryDays", "lies too far ahead"))
    }
}

/// Where the documented answer to too little is 400, not 402.
fn overdrawn(error: Error) -> Error {
    if let Error::Refused(Refusal::InsufficientCredits { required, available }) = error {
        return Error::Overdrawn { required, available };
    }
    error
}
