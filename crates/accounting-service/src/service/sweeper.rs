//! Bookkeeping on an interval: holds that nobody settled, answers that nobody will ask for again, and gauges.
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
    ledger::{Instruction, Ledger, Origin},
    people::People,
};
use crate::{
    domain::{
        ids::Actor,
        ledger::{Command, Hold},
    },
    error::{Error, Result},
    metrics::LedgerMetrics,
    store::{IdempotencyStore, SessionStore},
};

/// Holds expired at once: one batch of the writer, so that waiting turns are not held up.
const HOLDS_PER_STEP: i64 = 64;

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
    /// Removes what is left of people who are gone.
    pub people: People,
    /// Forgets answers.
    pub answers: IdempotencyStore,
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
        self.people.sweep().await?;
        let open = self.sessions.count_open().await?;
        self.metrics.open_holds.set(open.count);
        let age = open.oldest.map_or(TimeDelta::zero(), |oldest| now - oldest);
        self.metrics.oldest_hold_age.set(age.as_seconds_f64());
        let before = now - TimeDelta::hours(ANSWERS_KEPT_HOURS);
        while self.answers.delete_older(before, ANSWERS_PER_STEP).await? > 0 {}
        Ok(())
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
        let expired = self
            .ledger
            .submit(Instruction {
                user_id: hold.user_id.clone(),
                command: Command::Expire {
                    key: hold.key.clone(),
                },
                description: Some("nobody settled this hold in time".to_owned()),
                origin: Origin {
                    actor: Actor::system(),
                    request_id: RequestContext::current().request_id().to_owned(),
                    idempotency: None,
                },
                status: 200,
                render: Box::new(|_| Ok(String::new())),
            })
            .await;
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
