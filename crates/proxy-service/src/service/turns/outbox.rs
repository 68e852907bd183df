//! Looks after turns that nobody looks after: settlements that have not succeeded, and turns whose process died.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Shared;
use crate::{
    domain::{failure::Failure, payment::Settlement, turn::LEASE},
    store::turns::{Overdue, Stage, StoredAnswer},
};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);

/// How often the size of the backlog is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// Settlements under way at once.
const AT_ONCE: usize = 8;

/// Turns taken over in one look; the rest waits for the next.
const TAKEN_MAX: usize = 256;

/// Runs until the service stops and every turn of this process is over; then settles once more what it can.
pub(super) async fn tend(shared: Arc<Shared>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut renewed_at = shared.clock.now();
    let mut measured_at: Option<Instant> = None;
    loop {
        ticks.tick().await;
        let stopping = shared.stop.is_cancelled();
        let running = shared.running.ids();
        if stopping && running.is_empty() {
            break;
        }
        let now = shared.clock.now();
        if now - renewed_at >= LEASE / 3 && !running.is_empty() {
            match shared.turns.renew(&running, now).await {
                Ok(()) => renewed_at = now,
                Err(error) => tracing::warn!(%error, "the leases of running turns could not be renewed"),
            }
        }
        if !stopping {
            shared.take_over().await;
        }
        if measured_at.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
            measured_at = Some(Instant::now());
            shared.measure().await;
        }
    }
    shared.flush().await;
}

impl Shared {
    /// Takes over what is due, whoever began it.
    async fn take_over(&self) {
        let mut taken = Vec::new();
        while taken.len() < TAKEN_MAX {
            match self.turns.take_overdue(self.clock.now()).await {
                Ok(Some(overdue)) => taken.push(overdue),
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "the outbox could not be read");
                    break;
                }
            }
        }
        stream::iter(taken)
            .for_each_concurrent(AT_ONCE, |overdue| self.settle_overdue(overdue))
            .await;
    }

    /// Settles what this process still owes, without waiting for its time. What fails is left to the next one.
    async fn flush(&self) {
        let now = self.clock.now();
        for _ in 0..TAKEN_MAX {
            match self.turns.take_own(now).await {
                Ok(Some(overdue)) => self.settle_overdue(overdue).await,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "the outbox could not be flushed");
                    break;
                }
            }
        }
    }

    async fn settle_overdue(&self, overdue: Overdue) {
        let Overdue {
            due,
            session_id,
            stage,
            ..
        } = overdue;
        if stage == Stage::Running {
            // It is paid for and its answer is lost: the same request must not be run, and paid for, again.
            let lost = matches!(due.settlement, Settlement::Capture(_)).then(|| StoredAnswer {
                text: String::new(),
                metadata: None,
                failure: Some(Failure::Broken.sentence().to_owned()),
            });
            tracing::warn!(turn_id = due.id, settlement = ?due.settlement, "a turn was taken over");
            self.metrics.took_over();
            if let Err(error) = self
                .turns
                .record_settlement(&due, lost.as_ref(), self.clock.now())
                .await
            {
                tracing::warn!(%error, turn_id = due.id, "a turn that was taken over is left for later");
                return;
            }
            if let Err(error) = self
                .messages
                .update_question_of(&due.id, &due.user_id, &session_id)
                .await
            {
                tracing::warn!(%error, turn_id = due.id, "a question stays marked as pending");
            }
        }
        if self.tell(&due).await {
            self.note_settled(&due).await;
        } else {
            self.postpone(due).await;
        }
    }

    async fn measure(&self) {
        match self.turns.backlog().await {
            Ok((count, oldest)) => {
                let waited = oldest.map_or(0, |oldest| (self.clock.now() - oldest).num_milliseconds());
                let waited = u64::try_from(waited).unwrap_or_default();
                self.metrics
                    .backlog(count, Duration::from_millis(waited).as_secs_f64());
            }
            Err(error) => tracing::warn!(%error, "the backlog of the outbox could not be measured"),
        }
    }
}
