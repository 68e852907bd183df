//! Takes over the list of chatflows from Flowise.
//!
//! A chatflow is marked deleted only when a listing that is *whole* does not name it: every page was read, every entry
//! had a readable id, and the numbers add up. An empty listing is what a wrong key, another workspace or a fresh
//! Flowise database looks like, so it deletes nothing unless an administrator confirms it. Nothing is ever removed:
//! a chatflow that is listed again is active again, with its assignments and its price.

use std::{collections::HashSet, time::Duration};

use common_http::{Clock, Metrics, RequestContext};
use prometheus::{CounterVec, IntGauge, Opts};
use reqwest::StatusCode;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::access::Access;
use crate::{
    catalog_source::{CatalogSource, Listing},
    error::Result,
    store::{chatflows::ChatflowStore, leases::LeaseStore},
    upstream::Failure,
};

/// The lease that lets one replica synchronise.
const LEASE: &str = "chatflow-sync";

/// The longest a background synchronisation may take.
const RUN_MAX: Duration = Duration::from_mins(2);

/// How long the lease outlives the holder's next turn: a whole run, and some delay.
const LEASE_MARGIN: Duration = Duration::from_mins(3);

/// Synchronises, when asked or by itself.
#[derive(Clone)]
pub(crate) struct CatalogSync {
    source: CatalogSource,
    store: ChatflowStore,
    leases: LeaseStore,
    access: Access,
    clock: Clock,
    up: IntGauge,
    runs: CounterVec,
}

/// What one synchronisation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SyncReport {
    /// Entries that Flowise listed.
    pub(crate) total_fetched: usize,
    /// Chatflows that are new.
    pub(crate) created: u64,
    /// Chatflows that were known already.
    pub(crate) updated: u64,
    /// Chatflows that Flowise has no longer.
    pub(crate) deleted: u64,
    /// What went wrong.
    pub(crate) errors: Vec<SyncError>,
}

/// One thing that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyncError {
    /// A sentence for the administrator; it names no address and no key.
    pub(crate) error: String,
    /// The chatflow concerned.
    pub(crate) chatflow_id: Option<String>,
    /// A word for programs.
    pub(crate) kind: &'static str,
}

impl CatalogSync {
    /// Synchronises `store` with `source`.
    pub(crate) fn new(
        source: CatalogSource,
        store: ChatflowStore,
        leases: LeaseStore,
        access: Access,
        clock: Clock,
        metrics: &Metrics,
    ) -> Result<Self, prometheus::Error> {
        let up = IntGauge::new(
            "chatflow_sync_up",
            "Whether the last synchronisation with Flowise read a usable list.",
        )?;
        let runs = CounterVec::new(
            Opts::new("chatflow_syncs_total", "Synchronisations with Flowise."),
            &["outcome"],
        )?;
        metrics.register(up.clone())?;
        metrics.register(runs.clone())?;
        Ok(Self {
            source,
            store,
            leases,
            access,
            clock,
            up,
            runs,
        })
    }

    /// Synchronises now. That Flowise is away stands in the report; only our own database is an error.
    pub(crate) async fn run(&self, confirm_empty: bool) -> Result<SyncReport> {
        // Taken before Flowise is asked: whatever is written later knows better.
        let listed_at = self.clock.now();
        let listing = match self.source.list().await {
            Ok(listing) => listing,
            Err(failure) => {
                if self.up.get() == 1 || self.runs.with_label_values(&["failed"]).get() == 0.0 {
                    let cause = std::error::Error::source(&failure).map(ToString::to_string);
                    tracing::warn!(%failure, cause, "chatflows cannot be read from Flowise; those known stay");
                }
                self.up.set(0);
                self.runs.with_label_values(&["failed"]).inc();
                return Ok(SyncReport::failed(&failure));
            }
        };
        if self.up.get() == 0 {
            tracing::info!(
                chatflows = listing.chatflows.len(),
                "chatflows are read from Flowise"
            );
        }
        self.up.set(1);
        let report = self.store_listing(&listing, listed_at, confirm_empty).await?;
        let outcome = if report.errors.is_empty() {
            "complete"
        } else {
            "partial"
        };
        self.runs.with_label_values(&[outcome]).inc();
        Ok(report)
    }

    async fn store_listing(
        &self,
        listing: &Listing,
        listed_at: chrono::DateTime<chrono::Utc>,
        confirm_empty: bool,
    ) -> Result<SyncReport> {
        let upserted = self.store.upsert_listed(&listing.chatflows, listed_at).await?;
        let mut errors: Vec<_> = upserted.refused.into_iter().map(SyncError::refused).collect();
        errors.extend(listing.unreadable.iter().map(|entry| SyncError {
            error: entry.reason.to_owned(),
            chatflow_id: entry.flowise_id.clone(),
            kind: "unreadable",
        }));
        let named: HashSet<&str> = listing
            .chatflows
            .iter()
            .map(|chatflow| chatflow.flowise_id.as_str())
            .chain(
                listing
                    .unreadable
                    .iter()
                    .filter_map(|entry| entry.flowise_id.as_deref()),
            )
            .collect();
        let mut deleted = 0;
        if !listing.complete {
            errors.push(SyncError::incomplete());
        } else if !named.is_empty() || confirm_empty {
            deleted = self.store.mark_missing(&named, listed_at).await?;
        } else if self.store.count_active().await? > 0 {
            errors.push(SyncError::empty());
        }
        self.access.forget();
        Ok(SyncReport {
            total_fetched: listing.chatflows.len() + listing.unreadable.len(),
            created: upserted.created,
            updated: upserted.updated,
            deleted,
            errors,
        })
    }

    /// Synchronises at once and then every `interval`, unless another replica does, until `stop`.
    pub(crate) async fn run_regularly(self, interval: Duration, stop: CancellationToken) {
        let turns = async {
            loop {
                RequestContext::background().scope(self.take_turn(interval)).await;
                tokio::time::sleep(jittered(interval)).await;
            }
        };
        tokio::select! {
            () = turns => {}
            () = stop.cancelled() => {}
        }
        if let Err(error) = self.leases.release(LEASE).await {
            tracing::debug!(%error, "the lease of the synchronisation runs out by itself");
        }
    }

    /// The holder of the lease keeps it from turn to turn, so that all replicas together ask Flowise once an interval.
    async fn take_turn(&self, interval: Duration) {
        match self
            .leases
            .acquire(LEASE, interval.saturating_add(LEASE_MARGIN))
            .await
        {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::warn!(%error, "chatflows are not synchronised: no lease"),
        }
        match tokio::time::timeout(RUN_MAX, self.run(false)).await {
            Ok(Ok(report)) => {
                let SyncReport {
                    created,
                    updated,
                    deleted,
                    ..
                } = report;
                tracing::debug!(created, updated, deleted, "chatflows are synchronised");
            }
            Ok(Err(error)) => tracing::warn!(?error, "chatflows are not synchronised"),
            Err(_) => tracing::warn!("synchronising chatflows took too long and was given up"),
        }
    }
}

impl SyncReport {
    fn failed(failure: &Failure) -> Self {
        let (error, kind) = match failure {
            Failure::Unreachable(_) => ("Flowise cannot be reached".to_owned(), "unreachable"),
            Failure::Status(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => (
                "Flowise refuses the API key; check FLOWISE_API_KEY".to_owned(),
                "refused",
            ),
            Failure::Status(status) => (
                format!("Flowise answered with status {}", status.as_u16()),
                "status",
            ),
            Failure::NotJson | Failure::Shape(_) => (
                "Flowise answered something that is no list of chatflows; check FLOWISE_API_URL".to_owned(),
                "not_a_list",
            ),
            Failure::TooLarge(bytes) => (format!("Flowise answered more than {bytes} bytes"), "too_large"),
            // Flowise is asked with an API key, never with a token of ours.
            Failure::Token(_) => ("Flowise could not be asked".to_owned(), "unreachable"),
        };
        let error = SyncError {
            error,
            chatflow_id: None,
            kind,
        };
        Self {
            errors: vec![error],
            ..Self::default()
        }
    }
}

impl SyncError {
    fn refused(flowise_id: String) -> Self {
        Self {
            error: "the database refused this chatflow".to_owned(),
            chatflow_id: Some(flowise_id),
            kind: "not_stored",
        }
    }

    fn incomplete() -> Self {
        Self {
            error: "Flowise did not list everything it counts; nothing was marked deleted".to_owned(),
            chatflow_id: None,
            kind: "incomplete",
        }
    }

    fn empty() -> Self {
        Self {
            error: "Flowise listed no chatflow at all; nothing was marked deleted. Send {\"confirm_empty\":true} when \
                    that is right"
                .to_owned(),
            chatflow_id: None,
            kind: "empty",
        }
    }
}

/// Between nine and eleven tenths of `interval`, so that replicas started together do not ask together.
fn jittered(interval: Duration) -> Duration {
    let percent = u32::try_from(Uuid::new_v4().as_u128() % 21).unwrap_or_default();
    interval.saturating_mul(90 + percent) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_a_tenth() {
        let interval = Duration::from_secs(100);
        for _ in 0..200 {
            let jittered = jittered(interval).as_secs();
            assert!((90..=110).contains(&jittered), "{jittered}");
        }
    }
}
