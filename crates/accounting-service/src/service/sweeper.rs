//! Bookkeeping on an interval: holds that nobody settled, credits that have expired, answers that nobody will ask for
//! again, and gauges.
//!
//! Several replicas may sweep at once: an expiry is a command of the ledger like any other, and the second finds the
//! hold settled.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use common_http::{Clock, RequestContext};
use futures_util::future::join_all;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{
    ledger::{EXPIRED, Instruction, Ledger, Origin},
    people::People,
};
use crate::{
    domain::{
        ids::{Actor, UserId},
        ledger::{Command, Hold},
    },
    error::{Error, Result},
    metrics::LedgerMetrics,
    store::{AllowanceStore, IdempotencyStore, LapseStore, SessionStore},
};

/// Holds expired at once: one batch of the writer, so that waiting turns are not held up.
const HOLDS_PER_STEP: i64 = 64;

/// Accounts whose expired credits are written off at once, for the same reason; and how many are looked up together.
const ACCOUNTS_PER_STEP: usize = 64;
const ACCOUNTS_LISTED: i64 = 5_000;

/// Remembered answers deleted at once.
const ANSWERS_PER_STEP: i64 = 5_000;

/// How long an answer is remembered.
const ANSWERS_KEPT_HOURS: i64 = 24;

/// The task's state.
pub struct Sweeper {
    /// Expires holds.
    pub ledger: Ledger,
    /// Finds them.
    pub sessions: SessionStore,
    /// Finds expired credits.
    pub lapses: LapseStore,
    /// Removes what is left of people who are gone.
    pub people: People,
    /// Forgets answers.
    pub answers: IdempotencyStore,
    /// Forgets what supervisors granted on days that are over.
    pub allowances: AllowanceStore,
    /// The time.
    pub clock: Clock,
    /// What it counts.
    pub metrics: LedgerMetrics,
    /// How often it looks.
    pub interval: Duration,
}

impl Sweeper {
    /// Sweeps until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = RequestContext::background().scope(self.sweep()).await {
                tracing::warn!(%error, "a sweep failed and will be tried again");
            }
        }
    }

    async fn sweep(&self) -> Result<()> {
        let now = self.clock.now();
        self.expire_holds(now).await?;
        self.write_off_expired(now).await?;
        self.people.sweep().await?;
        let open = self.sessions.count_open().await?;
        self.metrics.open_holds.set(open.count);
        let age = open.oldest.map_or(TimeDelta::zero(), |oldest| now - oldest);
        self.metrics.oldest_hold_age.set(age.as_seconds_f64());
        let before = now - TimeDelta::hours(ANSWERS_KEPT_HOURS);
        while self.answers.delete_older(before, ANSWERS_PER_STEP).await? > 0 {}
        self.allowances.delete_before(before.date_naive()).await
    }

    /// Takes expired credits of accounts that nobody uses out of the books.
    async fn write_off_expired(&self, now: DateTime<Utc>) -> Result<()> {
        let since = self.lapses.since().await?;
        let mut after = None;
        loop {
            let accounts = self
                .lapses
                .list_accounts(since, now, after.as_ref(), ACCOUNTS_LISTED)
                .await?;
            for step in accounts.chunks(ACCOUNTS_PER_STEP) {
                let results = join_all(step.iter().map(|user_id| self.write_off(user_id))).await;
                results.into_iter().collect::<Result<Vec<_>>>()?;
            }
            match accounts.last() {
                Some(last) => after = Some(last.clone()),
                None => break,
            }
        }
        self.lapses.advance(now).await
    }

    async fn write_off(&self, user_id: &UserId) -> Result<()> {
        let instruction = Self::instruction(user_id, Command::WriteOff, EXPIRED);
        self.ledger.submit(instruction).await.map(drop)
    }

    /// A command of our own.
    fn instruction(user_id: &UserId, command: Command, description: &str) -> Instruction {
        Instruction {
            user_id: user_id.clone(),
            command,
            description: Some(description.to_owned()),
            origin: Origin {
                actor: Actor::system(),
                request_id: RequestContext::current().request_id().to_owned(),
                idempotency: None,
            },
            status: 200,
            render: Box::new(|_| Ok(String::new())),
        }
    }

    async fn expire_holds(&self, now: DateTime<Utc>) -> Result<()> {
        loop {
            let overdue = self.sessions.list_overdue(now, HOLDS_PER_STEP).await?;
            if overdue.is_empty() {
                return Ok(());
            }
            let results = join_all(overdue.iter().map(|hold| self.expire(hold))).await;
            // One that fails is found again by the next sweep.
            results.into_iter().collect::<Result<Vec<_>>>()?;
        }
    }

    async fn expire(&self, hold: &Hold) -> Result<()> {
        let command = Command::Expire {
            key: hold.key.clone(),
        };
        let instruction = Self::instruction(&hold.user_id, command, "nobody settled this hold in time");
        let expired = self.ledger.submit(instruction).await;
        match expired {
            Ok(_) => {
                self.metrics.holds_expired.inc();
                tracing::warn!(
                    hold.id = %hold.id,
                    session.id = %hold.key.session_id,
                    hold.owner = %hold.key.owner,
                    user.id = %hold.user_id,
                    held = hold.held.get(),
                    "a hold was not settled in time; its credits went back"
                );
                Ok(())
            }
            // Settled, or expired by another replica, since it was listed.
            Err(Error::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
