//! How much a supervisor may grant, at once and on one day (UTC). Admins may grant what they like.

use chrono::NaiveDate;
use common_http::Clock;

use super::ledger::{Answer, Origin};
use crate::{
    domain::{credits::Amount, ids::UserId},
    error::{Error, Result},
    store::{AllowanceStore, IdempotencyStore},
};

/// The caps of supervisors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocationCaps {
    /// The most in one call.
    pub at_once: i64,
    /// The most on one day.
    pub a_day: i64,
}

/// Keeps supervisors to their caps.
#[derive(Clone)]
pub struct Allowances {
    store: AllowanceStore,
    answers: IdempotencyStore,
    clock: Clock,
    caps: AllocationCaps,
}

/// Credits that count towards a supervisor's day, unless they turn out not to be granted.
struct Reserved<'a> {
    allowances: &'a Allowances,
    supervisor: &'a UserId,
    day: NaiveDate,
    credits: Amount,
}

impl Allowances {
    /// Caps, with each day's sums in `store`.
    pub fn new(store: AllowanceStore, answers: IdempotencyStore, clock: Clock, caps: AllocationCaps) -> Self {
        Self {
            store,
            answers,
            clock,
            caps,
        }
    }

    /// Grants `credits` by `grant`, if the giver may; nobody but a `supervisor` is kept to a cap. Whatever is not granted in the end does not count; what may have
    /// been granted, does.
    pub async fn grant(
        &self,
        supervisor: Option<&UserId>,
        credits: Option<Amount>,
        origin: &Origin,
        grant: impl Future<Output = Result<Answer>>,
    ) -> Result<Answer> {
        let Some((supervisor, credits)) = supervisor.zip(credits) else {
            return grant.await;
        };
        // A repeated request grants nothing, so it passes also when the day's sum is reached.
        if let Some(key) = &origin.idempotency
            && let Some(known) = self.answers.find(key).await?
        {
            return Answer::replay(&known, key);
        }
        let reserved = self.reserve(supervisor, credits).await?;
        let answer = grant.await;
        let granted = match &answer {
            Ok(answer) => !answer.replayed,
            Err(error) => matches!(error, Error::OutcomeUnknown),
        };
        if !granted {
            reserved.give_back().await;
        }
        answer
    }

    async fn reserve<'a>(&'a self, supervisor: &'a UserId, credits: Amount) -> Result<Reserved<'a>> {
        let exceeded = |limit, per| Error::AllocationCap { limit, per };
        if credits.get() > self.caps.at_once {
            return Err(exceeded(self.caps.at_once, "at once"));
        }
        let day = self.clock.now().date_naive();
        if !self
            .store
            .add(supervisor, day, credits.get(), self.caps.a_day)
            .await?
        {
            return Err(exceeded(self.caps.a_day, "a day"));
        }
        Ok(Reserved {
            allowances: self,
            supervisor,
            day,
            credits,
        })
    }
}

impl Reserved<'_> {
    /// A sum that stays too high costs a supervisor a part of one day, so a failure is only told.
    async fn give_back(self) {
        let store = &self.allowances.store;
        if let Err(error) = store
            .subtract(self.supervisor, self.day, self.credits.get())
            .await
        {
            tracing::warn!(%error, "credits that were not granted count towards a supervisor's day");
        }
    }
}
