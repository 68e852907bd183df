//! Numbers about people who are made many at once.

use common_http::Metrics;
use prometheus::{Error, IntCounterVec, IntGauge, IntGaugeVec, Opts};

/// What imports count.
#[derive(Clone, Debug)]
pub(crate) struct BulkMetrics {
    /// Rows of tables and batches by what became of them.
    pub(crate) rows: IntCounterVec,
    /// People who wait for something that was promised, by what.
    pub(crate) open: IntGaugeVec,
    /// How long the oldest gift is open, in seconds.
    pub(crate) oldest: IntGauge,
}

impl BulkMetrics {
    /// Registers all, each label at zero.
    pub(super) fn new(metrics: &Metrics) -> Result<Self, Error> {
        let rows = Opts::new(
            "auth_imported_rows_total",
            "Rows of tables and batches of people, by what became of them.",
        );
        let open = Opts::new(
            "auth_onboarding_open",
            "People made many at once who wait for gifts or an invitation, or whose credits nobody knows about.",
        );
        let bulk = Self {
            rows: IntCounterVec::new(rows, &["status"])?,
            open: IntGaugeVec::new(open, &["what"])?,
            oldest: IntGauge::new(
                "auth_onboarding_oldest_seconds",
                "How long the oldest gift of credits or chatflows is waiting to be given.",
            )?,
        };
        for status in ["created", "valid", "unchanged", "failed"] {
            bulk.rows.with_label_values(&[status]);
        }
        for what in ["gifts", "invitations", "unclear"] {
            bulk.open.with_label_values(&[what]);
        }
        metrics.register(bulk.rows.clone())?;
        metrics.register(bulk.open.clone())?;
        metrics.register(bulk.oldest.clone())?;
        Ok(bulk)
    }
}
