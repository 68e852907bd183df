//! Goes through the accounts and grants what rules say: to new ones that could not be greeted at once, and to all on the
//! day of a monthly rule.
//!
//! Grants are commands of the ledger like any other, a few at a time, with a pause after them as long as they took: a
//! school of 100,000 gets its credits while everybody chats. What was granted is known by account, rule and period, so a
//! sweep that is cut short is gone on with, and two that meet grant nothing twice.

use std::time::{Duration, Instant};

use common_http::{Clock, RequestContext};
use futures_util::future::join_all;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::rules::Rules;
use crate::{
    domain::rules::{DueGrant, Rule},
    error::Result,
    store::{Exclusive, RuleStore},
};

/// Accounts at a time: a fraction of the ledger's queue, and of one of its batches.
const ACCOUNTS_PER_STEP: i64 = 64;

/// The task's state.
pub struct AutomaticCredits {
    /// What grants.
    pub rules: Rules,
    /// What is said and what is done.
    pub store: RuleStore,
    /// Held while it works: one replica at a time is enough.
    pub turn: Exclusive,
    /// The time.
    pub clock: Clock,
    /// How often it looks.
    pub interval: Duration,
}

impl AutomaticCredits {
    /// Grants until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            if let Err(error) = RequestContext::background().scope(self.sweep(&stop)).await {
                tracing::warn!(%error, "automatic grants were interrupted and will be gone on with");
            }
        }
    }

    async fn sweep(&mut self, stop: &CancellationToken) -> Result<()> {
        if !self.turn.try_take().await? {
            return Ok(());
        }
        let swept = self.grant_all(stop).await;
        self.turn.give_back().await;
        swept
    }

    async fn grant_all(&self, stop: &CancellationToken) -> Result<()> {
        let rules = self.store.list().await?;
        self.greet_arrivals(&rules, stop).await?;
        for rule in &rules {
            let Some(grant) = rule.due(self.clock.now()) else {
                continue;
            };
            if !self.store.is_finished(&grant.claim).await? {
                self.grant_month(rule, &grant, stop).await?;
            }
        }
        Ok(())
    }

    async fn greet_arrivals(&self, rules: &[Rule], stop: &CancellationToken) -> Result<()> {
        let mut last = None;
        while !stop.is_cancelled() {
            let started = Instant::now();
            let arrivals = self.store.list_arrivals(last.as_ref(), ACCOUNTS_PER_STEP).await?;
            let Some(end) = arrivals.last() else {
                return Ok(());
            };
            last = Some(end.user_id.clone());
            let greeted = join_all(arrivals.iter().map(|arrival| self.rules.greet(rules, arrival))).await;
            // Who fails is found again by the next sweep.
            let greeted: Vec<_> = arrivals
                .iter()
                .zip(greeted)
                .filter_map(|(arrival, greeted)| greeted.ok().map(|()| arrival.user_id.as_str()))
                .collect();
            self.store.welcomed(&greeted, self.clock.now()).await?;
            breathe(started).await;
        }
        Ok(())
    }

    async fn grant_month(&self, rule: &Rule, grant: &DueGrant, stop: &CancellationToken) -> Result<()> {
        let (mut last, mut granted) = (None, 0_usize);
        while !stop.is_cancelled() {
            let started = Instant::now();
            let lacking = self
                .store
                .list_lacking(rule, grant, last.as_ref(), ACCOUNTS_PER_STEP)
                .await?;
            let Some(end) = lacking.last() else {
                tracing::info!(rule.id = %rule.id, period = grant.claim.period, granted, "a monthly grant is complete");
                return self.store.finish(&grant.claim, self.clock.now()).await;
            };
            last = Some(end.clone());
            let grants = lacking
                .iter()
                .map(|user| self.rules.grant(rule, grant.claim.clone(), user));
            let results = join_all(grants).await;
            granted += results.into_iter().collect::<Result<Vec<_>>>()?.len();
            breathe(started).await;
        }
        Ok(())
    }
}

/// Leaves the ledger to others for as long as it was busy with us.
async fn breathe(since: Instant) {
    tokio::time::sleep(since.elapsed()).await;
}
