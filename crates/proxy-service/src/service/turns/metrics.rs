//! What turns tell Prometheus.

use std::time::Duration;

use common_http::Metrics;
use prometheus::{Gauge, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts};

use crate::domain::{door::Door, failure::Failure, payment::Settlement, turn::Due};

/// From a local model's first token to a failing one that is retried for minutes.
const FIRST_TOKEN_BUCKETS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0,
];

/// Milliseconds: what this service adds to Flowise's own time.
const ADDED_BUCKETS: [f64; 11] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
];

/// Numbers about turns.
#[derive(Clone, Debug)]
pub(super) struct TurnMetrics {
    active: IntGauge,
    turns: IntCounterVec,
    credits: IntCounterVec,
    upstream_errors: IntCounterVec,
    first_token: Histogram,
    added: HistogramVec,
    backlog: IntGauge,
    oldest: Gauge,
    taken_over: prometheus::IntCounter,
    unread: prometheus::IntCounter,
}

impl TurnMetrics {
    pub(super) fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let counters =
            |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let opts = |name: &str, help: &str, buckets: &[f64]| {
            HistogramOpts::new(name, help).buckets(buckets.to_vec())
        };
        let ours = Self {
            active: IntGauge::new("turns_active", "Chat turns that have begun and not ended.")?,
            turns: counters("turns_total", "Chat turns ended.", &["outcome", "door"])?,
            credits: counters(
                "turn_credits_total",
                "Credits held, captured and voided.",
                &["kind"],
            )?,
            upstream_errors: counters(
                "upstream_errors_total",
                "Turns that Flowise did not answer.",
                &["kind"],
            )?,
            first_token: Histogram::with_opts(opts(
                "upstream_first_token_seconds",
                "From asking Flowise to its first token.",
                &FIRST_TOKEN_BUCKETS,
            ))?,
            added: HistogramVec::new(
                opts(
                    "turn_added_latency_seconds",
                    "Time a turn took before Flowise was asked and after it had answered.",
                    &ADDED_BUCKETS,
                ),
                &["door"],
            )?,
            backlog: IntGauge::new(
                "outbox_backlog",
                "Turns that accounting-service has not been told of.",
            )?,
            oldest: Gauge::new("outbox_oldest_seconds", "How long the oldest of them has waited.")?,
            taken_over: prometheus::IntCounter::new(
                "turns_taken_over_total",
                "Turns settled for a process that died.",
            )?,
            unread: prometheus::IntCounter::new(
                "upstream_events_unread_total",
                "Events of Flowise's that could not be read and were left out.",
            )?,
        };
        metrics.register(ours.active.clone())?;
        metrics.register(ours.turns.clone())?;
        metrics.register(ours.credits.clone())?;
        metrics.register(ours.upstream_errors.clone())?;
        metrics.register(ours.first_token.clone())?;
        metrics.register(ours.added.clone())?;
        metrics.register(ours.backlog.clone())?;
        metrics.register(ours.oldest.clone())?;
        metrics.register(ours.taken_over.clone())?;
        metrics.register(ours.unread.clone())?;
        Ok(ours)
    }

    /// Counts a turn as active until what is returned is dropped.
    pub(super) fn begin(&self) -> Active {
        self.active.inc();
        Active(self.active.clone())
    }

    pub(super) fn held(&self, credits: i64) {
        self.count_credits("held", credits);
    }

    pub(super) fn settled(&self, due: &Due, paid: i64) {
        match due.settlement {
            Settlement::Nothing => {}
            Settlement::Void => self.count_credits("voided", due.held),
            Settlement::Capture(_) | Settlement::CaptureTokens(_) => self.count_credits("captured", paid),
        }
    }

    pub(super) fn ended(&self, outcome: Result<(), Failure>, door: Door) {
        let label = outcome.map_or_else(Failure::code, |()| "completed");
        self.turns.with_label_values(&[label, door.as_str()]).inc();
        if let Err(failure) = outcome
            && failure.is_upstream()
        {
            self.upstream_errors.with_label_values(&[failure.code()]).inc();
        }
    }

    pub(super) fn refused(&self, why: &'static str, door: Door) {
        self.turns.with_label_values(&[why, door.as_str()]).inc();
    }

    pub(super) fn first_token(&self, after: Duration) {
        self.first_token.observe(after.as_secs_f64());
    }

    pub(super) fn added(&self, time: Duration, door: Door) {
        let added = self.added.with_label_values(&[door.as_str()]);
        added.observe(time.as_secs_f64());
    }

    pub(super) fn unread(&self, events: u64) {
        self.unread.inc_by(events);
    }

    pub(super) fn backlog(&self, count: i64, oldest_secs: f64) {
        self.backlog.set(count);
        self.oldest.set(oldest_secs);
    }

    pub(super) fn took_over(&self) {
        self.taken_over.inc();
    }

    fn count_credits(&self, kind: &str, credits: i64) {
        let credits = u64::try_from(credits).unwrap_or_default();
        self.credits.with_label_values(&[kind]).inc_by(credits);
    }
}

/// One active turn.
#[derive(Debug)]
pub(super) struct Active(IntGauge);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}
