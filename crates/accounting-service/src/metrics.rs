//! What the ledger tells Prometheus.

use chrono::{DateTime, Utc};
use common_http::Metrics;
use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use crate::{
    domain::ledger::{Entry, Kind},
    store::Finding,
};

/// The metrics of webhook messages.
#[derive(Clone)]
pub struct NoticeMetrics {
    attempts: IntCounterVec,
    /// Messages that wait.
    pub waiting: IntGauge,
    /// Messages that were given up.
    pub dead: IntGauge,
    /// The age of the oldest that waits.
    pub oldest_age: Gauge,
}

impl NoticeMetrics {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let attempts = Opts::new("webhook_attempts_total", "Attempts to deliver a message.");
        let notices = Self {
            attempts: IntCounterVec::new(attempts, &["kind", "outcome"])?,
            waiting: IntGauge::new("webhook_messages_waiting", "Messages that are not delivered yet.")?,
            dead: IntGauge::new("webhook_dead_letters", "Messages that were given up.")?,
            oldest_age: Gauge::new(
                "webhook_oldest_age_seconds",
                "Age of the oldest message that waits.",
            )?,
        };
        metrics.register(notices.attempts.clone())?;
        metrics.register(notices.waiting.clone())?;
        metrics.register(notices.dead.clone())?;
        metrics.register(notices.oldest_age.clone())?;
        Ok(notices)
    }

    /// Counts an attempt.
    pub fn ended(&self, kind: &str, outcome: &str) {
        self.attempts.with_label_values(&[kind, outcome]).inc();
    }
}

/// The metrics of automatic grants.
#[derive(Clone)]
pub struct RuleMetrics {
    grants: IntCounterVec,
}

impl RuleMetrics {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let grants = Opts::new("automatic_grants_total", "Grants that rules led to.");
        let rules = Self {
            grants: IntCounterVec::new(grants, &["kind", "outcome"])?,
        };
        metrics.register(rules.grants.clone())?;
        Ok(rules)
    }

    /// Counts a grant.
    pub fn granted(&self, kind: &str, outcome: &str) {
        self.grants.with_label_values(&[kind, outcome]).inc();
    }
}

/// From one command to the largest batch.
const BATCH_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// From a commit to a fast disk to one that waited for somebody's lock.
const COMMIT_BUCKETS: [f64; 11] = [
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.25, 1.0, 5.0,
];

/// The ledger's metrics.
#[derive(Clone)]
pub struct LedgerMetrics {
    commands: IntCounterVec,
    credits: IntCounterVec,
    batch_size: Histogram,
    commit_seconds: Histogram,
    /// Commands waiting for the writer.
    pub queue_length: IntGauge,
    /// Open holds of all accounts.
    pub open_holds: IntGauge,
    /// The age of the oldest of them.
    pub oldest_hold_age: Gauge,
    /// Holds that nobody settled.
    pub holds_expired: IntCounter,
    /// How often the writer had to open a new connection.
    pub reconnects: IntCounter,
    violations: IntGaugeVec,
    verified_at: IntGauge,
}

impl LedgerMetrics {
    /// Registers them.
    pub fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let counters = |name, help, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
        let histogram = |name, help, buckets: &[f64]| {
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
        };
        let ledger = Self {
            commands: counters(
                "ledger_commands_total",
                "Commands answered.",
                &["kind", "outcome"],
            )?,
            credits: counters(
                "ledger_credits_total",
                "Credits moved by committed commands.",
                &["kind"],
            )?,
            batch_size: histogram(
                "ledger_batch_size",
                "Commands committed together.",
                &BATCH_BUCKETS,
            )?,
            commit_seconds: histogram(
                "ledger_commit_seconds",
                "Time from the begin of a transaction to its commit.",
                &COMMIT_BUCKETS,
            )?,
            queue_length: IntGauge::new("ledger_queue_length", "Commands waiting for the writer.")?,
            open_holds: IntGauge::new("holds_open", "Holds that are neither settled nor expired.")?,
            oldest_hold_age: Gauge::new("holds_oldest_age_seconds", "Age of the oldest open hold.")?,
            holds_expired: IntCounter::new(
                "holds_expired_total",
                "Holds given back because nobody settled them.",
            )?,
            reconnects: IntCounter::new(
                "ledger_reconnects_total",
                "Connections of the writer that were replaced.",
            )?,
            violations: IntGaugeVec::new(
                Opts::new(
                    "ledger_invariant_violations",
                    "Rows that break an invariant, when the ledger was last verified.",
                ),
                &["invariant"],
            )?,
            verified_at: IntGauge::new(
                "ledger_verified_timestamp_seconds",
                "When the ledger was last verified; 0 when it was not since the start.",
            )?,
        };
        metrics.register(ledger.commands.clone())?;
        metrics.register(ledger.credits.clone())?;
        metrics.register(ledger.batch_size.clone())?;
        metrics.register(ledger.commit_seconds.clone())?;
        metrics.register(ledger.queue_length.clone())?;
        metrics.register(ledger.open_holds.clone())?;
        metrics.register(ledger.oldest_hold_age.clone())?;
        metrics.register(ledger.holds_expired.clone())?;
        metrics.register(ledger.reconnects.clone())?;
        metrics.register(ledger.violations.clone())?;
        metrics.register(ledger.verified_at.clone())?;
        Ok(ledger)
    }

    /// Counts a command that was answered.
    pub fn answered(&self, kind: Kind, outcome: &str) {
        self.commands.with_label_values(&[kind.as_str(), outcome]).inc();
    }

    /// Counts the credits of a committed entry.
    pub fn moved(&self, entry: &Entry) {
        let moved = self.credits.with_label_values(&[entry.kind.as_str()]);
        moved.inc_by(entry.amount.unsigned_abs());
    }

    /// Notes what a verification found.
    pub fn verified(&self, findings: &[Finding], now: DateTime<Utc>) {
        self.violations.reset();
        for finding in findings {
            let violations = self.violations.with_label_values(&[finding.invariant]);
            violations.add(finding.violations);
        }
        self.verified_at.set(now.timestamp());
    }

    /// Notes a transaction.
    pub fn committed(&self, commands: usize, seconds: f64) {
        self.batch_size
            .observe(f64::from(u32::try_from(commands).unwrap_or(u32::MAX)));
        self.commit_seconds.observe(seconds);
    }
}
