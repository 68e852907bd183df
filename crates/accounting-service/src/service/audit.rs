//! `verify`, again and again: are the books right, as a number that can be alerted on.

use std::time::Duration;

use common_http::{Clock, RequestContext};
use secrecy::SecretString;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{
    error::Result,
    metrics::LedgerMetrics,
    store::{check_invariants, connect},
};

/// The task's state.
pub struct Audit {
    /// The database; the audit has a connection of its own, for it may take long.
    pub database_url: SecretString,
    /// The time.
    pub clock: Clock,
    /// What it tells.
    pub metrics: LedgerMetrics,
    /// How often it looks.
    pub interval: Duration,
}

impl Audit {
    /// Verifies until `stop`; for the first time when one interval is over.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let verify = RequestContext::background().scope(self.verify());
            tokio::select! {
                verified = verify => {
                    if let Err(error) = verified {
                        tracing::warn!(%error, "the ledger could not be verified and will be tried again");
                    }
                }
                () = stop.cancelled() => return,
            }
        }
    }

    async fn verify(&self) -> Result<()> {
        let mut connection = connect(&self.database_url).await?;
        let (findings, _) = check_invariants(&mut connection).await?;
        for finding in findings.iter().filter(|finding| finding.violations > 0) {
            tracing::error!(
                invariant = finding.invariant,
                statement = finding.statement,
                violations = finding.violations,
                example = finding.example,
                "the ledger breaks an invariant"
            );
        }
        self.metrics.verified(&findings, self.clock.now());
        Ok(())
    }
}
