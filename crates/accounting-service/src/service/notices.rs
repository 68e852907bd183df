//! Tells the operator by webhook what the ledger noticed, and what is about to expire.
//!
//! Messages wait in the database, so none is lost; each replica takes some of those that are due. A message may arrive
//! twice, always under the same id, and not always in order.

mod delivery;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use common_http::{Clock, RequestContext};
use futures_util::future::join_all;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::webhook::pause_after,
    error::Result,
    metrics::NoticeMetrics,
    store::{Failure, Message, WebhookStore},
};
pub use delivery::Receiver;
use delivery::Refused;

/// Messages that are on their way at once: a slow receiver is not made slower.
const AT_ONCE: i64 = 8;

/// How many looks for messages there are for each look for allocations that end.
const LOOKS_PER_SCAN: u64 = 30;

/// Allocations told of in one statement.
const EXPIRING_PER_STEP: i64 = 500;

/// How long a message is kept when it has ended: longer than the longest `EXPIRY_NOTICE_DAYS`, because the message is
/// what keeps an allocation from being told of again.
const KEPT_DAYS: i64 = 90;

/// Messages forgotten at once.
const FORGOTTEN_PER_STEP: i64 = 1_000;

/// The task's state.
pub struct Notices {
    /// The messages.
    pub store: WebhookStore,
    /// Who gets them.
    pub receiver: Receiver,
    /// How often one is tried.
    pub attempts_max: u32,
    /// How many days ahead an allocation's end is told of; 0 never.
    pub expiry_notice_days: u32,
    /// The time.
    pub clock: Clock,
    /// What it counts.
    pub metrics: NoticeMetrics,
    /// How often it looks.
    pub interval: Duration,
}

impl Notices {
    /// Delivers until `stop`; what is on its way then is waited for.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for look in 0_u64.. {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let work = async {
                if look % LOOKS_PER_SCAN == 0 {
                    self.scan().await?;
                }
                self.deliver(&stop).await
            };
            if let Err(error) = RequestContext::background().scope(work).await {
                tracing::warn!(%error, "webhook messages could not be looked for and will be later");
            }
        }
    }

    /// Finds what is about to expire, forgets what is long past, and counts.
    async fn scan(&self) -> Result<()> {
        let now = self.clock.now();
        if self.expiry_notice_days > 0 {
            let until = now + TimeDelta::days(self.expiry_notice_days.into());
            while self.store.tell_expiring(now, until, EXPIRING_PER_STEP).await? > 0 {}
        }
        let before = now - TimeDelta::days(KEPT_DAYS);
        while self.store.delete_older(before, FORGOTTEN_PER_STEP).await? > 0 {}
        let backlog = self.store.backlog().await?;
        self.metrics.waiting.set(backlog.waiting);
        self.metrics.dead.set(backlog.dead);
        let age = backlog.oldest.map_or(TimeDelta::zero(), |oldest| now - oldest);
        self.metrics.oldest_age.set(age.as_seconds_f64());
        Ok(())
    }

    /// Sends everything that is due.
    async fn deliver(&self, stop: &CancellationToken) -> Result<()> {
        while !stop.is_cancelled() {
            let messages = self.store.take(self.clock.now(), AT_ONCE).await?;
            if messages.is_empty() {
                return Ok(());
            }
            let sent = join_all(messages.iter().map(|message| self.send(message))).await;
            sent.into_iter().collect::<Result<Vec<_>>>()?;
        }
        Ok(())
    }

    async fn send(&self, message: &Message) -> Result<()> {
        let answer = self.receiver.send(message, self.clock.now()).await;
        let now = self.clock.now();
        let Err(refused) = answer else {
            self.store.delivered(message.id, now).await?;
            self.metrics.ended(&message.kind, "delivered");
            return Ok(());
        };
        let failure = self.failure(message, refused, now);
        let outcome = if failure.again_at.is_some() {
            "failed"
        } else {
            "dead"
        };
        tracing::warn!(
            message.id = %message.id, kind = message.kind, attempt = message.attempts, error = failure.error, outcome,
            "a webhook message was not taken"
        );
        self.store.failed(message.id, &failure, now).await?;
        self.metrics.ended(&message.kind, outcome);
        Ok(())
    }

    fn failure(&self, message: &Message, refused: Refused, now: DateTime<Utc>) -> Failure {
        let attempt = u32::try_from(message.attempts).unwrap_or(u32::MAX);
        let pause = pause_after(attempt, message.id).max(refused.not_before.unwrap_or_default());
        let may_again = attempt < self.attempts_max && !refused.is_final;
        Failure {
            error: refused.error,
            again_at: may_again.then(|| now + pause),
        }
    }
}
