//! What files tell Prometheus.

use common_http::Metrics;
use prometheus::{IntCounterVec, IntGauge, Opts};

use crate::{domain::refusal::Refusal, store::files::Kept};

/// Numbers about files.
#[derive(Clone, Debug)]
pub(super) struct FileMetrics {
    received: IntCounterVec,
    files: IntGauge,
    bytes: IntGauge,
}

impl FileMetrics {
    pub(super) fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let ours = Self {
            received: IntCounterVec::new(
                Opts::new(
                    "files_received_total",
                    "Files that people sent: stored, deduplicated (stored too, without bytes of their own), or why refused.",
                ),
                &["outcome"],
            )?,
            files: IntGauge::new("files_stored", "Files kept, as last counted by any replica.")?,
            bytes: IntGauge::new(
                "files_stored_bytes",
                "Bytes of the files kept, those of equal files counted each time.",
            )?,
        };
        metrics.register(ours.received.clone())?;
        metrics.register(ours.files.clone())?;
        metrics.register(ours.bytes.clone())?;
        Ok(ours)
    }

    pub(super) fn kept(&self) {
        self.received.with_label_values(&["stored"]).inc();
    }

    pub(super) fn deduplicated(&self) {
        self.received.with_label_values(&["deduplicated"]).inc();
    }

    pub(super) fn refused(&self, why: Refusal) {
        self.received.with_label_values(&[why.code()]).inc();
    }

    pub(super) fn counted(&self, kept: Kept) {
        self.files.set(i64::try_from(kept.files).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(kept.bytes).unwrap_or(i64::MAX));
    }
}
