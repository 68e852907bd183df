//! Looks after turns that nobody looks after: settlements that have not succeeded, and turns whose process died.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::Shared;
use crate::{
    domain::failure::Failure,
    store::{
        messages::Place,
        turns::{Overdue, Stage, StoredAnswer},
    },
};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);

/// How often the size of the backlog is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// Turns taken over and settled at once. So few that none of them is due again before accounting-service has had its
/// time to answer.
const AT_ONCE: usize = 32;

/// Settlements tried once more when the service stops.
const FLUSHED_MAX: usize = 256;

/// Renews the leases of the turns that run here, until the service stops and every one of them is over.
pub(super) async fn keep_leases(shared: Arc<Shared>) {
    let mut ticks = ticks();
    let mut renewed_at = shared.clock.now();
    while let Some(running) = shared.next_tick(&mut ticks).await {
        let now = shared.clock.now();
        if now - renewed_at < shared.lease / 3 || running.is_empty() {
            continue;
        }
        match shared.turns.renew(&running, now).await {
            Ok(()) => renewed_at = now,
            Err(error) => tracing::warn!(%error, "the leases of running turns could not be renewed"),
        }
    }
}

/// Settles what is due, until the service stops and every turn of this process is over; then once more what it can.
pub(super) async fn tend(shared: Arc<Shared>) {
    let mut ticks = ticks();
    let mut measured_at: Option<Instant> = None;
    while shared.next_tick(&mut ticks).await.is_some() {
        if !shared.stop.is_cancelled() {
            shared.take_over().await;
        }
        if measured_at.is_none_or(|at| at.elapsed() >= MEASURE_EVERY) {
            measured_at = Some(Instant::now());
            shared.measure().await;
        }
    }
    shared.flush().await;
}

fn ticks() -> Interval {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

impl Shared {
    /// Waits for the next look and gives the turns that run here; `None` when there will be no more.
    async fn next_tick(&self, ticks: &mut Interval) -> Option<Vec<String>> {
        ticks.tick().await;
        let running = self.running.ids();
        (!running.is_empty() || !self.stop.is_cancelled()).then_some(running)
    }

    /// Takes over what is due, whoever began it.
    async fn take_over(self: &Arc<Self>) {
        loop {
            let mut taken = Vec::new();
            while taken.len() < AT_ONCE {
                match self.turns.take_overdue(self.clock.now()).await {
                    Ok(Some(overdue)) => taken.push(overdue),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, "the outbox could not be read");
                        break;
                    }
                }
            }
            let more = taken.len() == AT_ONCE;
            join_all(taken.into_iter().map(|overdue| self.settle_overdue(overdue))).await;
            if !more || self.stop.is_cancelled() {
                return;
            }
        }
    }

    /// Settles what this process still owes, without waiting for its time. What fails is left to the next one.
    async fn flush(self: &Arc<Self>) {
        let now = self.clock.now();
        for _ in 0..FLUSHED_MAX {
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

    async fn settle_overdue(self: &Arc<Self>, overdue: Overdue) {
        if overdue.stage == Stage::Running {
            self.leave_run_of(&overdue).await;
        }
        let Overdue {
            due,
            talker_id,
            session_id,
            stage,
            began_at,
            flow_id: _,
        } = overdue;
        let place = Place {
            turn: &due.id,
            user: &talker_id,
            chatflow: &due.chatflow_id,
            session: &session_id,
        };
        if stage == Stage::Running {
            // Visitors' sessions are no conversations in anybody's list; somebody else pays for them.
            let is_visitor = talker_id != due.user_id;
            if !is_visitor && let Err(error) = self.mend_session(place, began_at).await {
                tracing::warn!(%error, turn_id = due.id, "a conversation is left for later");
                return;
            }
            // It is paid for and its answer is lost: the same request must not be run, and paid for, again.
            let lost = due.settlement.is_capture().then(|| StoredAnswer {
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
        }
        self.close_history(place, stage, began_at).await;
        match self.tell(&due).await {
            Some(paid) => self.note_settled(&due, paid).await,
            None => self.postpone(due).await,
        }
    }

    /// Ends a turn in the history. A process may also have died when the settlement was written down and this was not.
    async fn close_history(&self, place: Place<'_>, stage: Stage, began_at: DateTime<Utc>) {
        let closing = async {
            if stage != Stage::Running && !self.messages.has_pending_question(place).await? {
                return Ok(());
            }
            self.recover(place, began_at).await;
            self.messages.fail_question(place).await
        };
        if let Err(error) = closing.await {
            tracing::warn!(%error, turn_id = place.turn, "a question stays marked as pending");
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
