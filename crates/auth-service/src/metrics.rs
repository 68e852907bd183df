//! This service's own numbers. Labels are the fixed words below, never a user or an address.

pub(crate) mod bulk;
mod protection;

use common_http::Metrics;
use prometheus::{Histogram, HistogramOpts, IntCounterVec, IntGauge, Opts};

use self::{bulk::BulkMetrics, protection::ProtectionMetrics};

/// From "at once" to the longest queue.
const WAIT_BUCKETS: [f64; 9] = [0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0];

/// How sign-ins end.
const LOGINS: [&str; 9] = [
    "ok",
    "invalid_credentials",
    "not_verified",
    "second_factor_needed",
    "second_factor_wrong",
    "disabled",
    "closed",
    "throttled",
    "busy",
];

/// What becomes of changes of passwords by their owners.
const PASSWORD_CHANGES: [&str; 3] = ["ok", "refused", "throttled"];

/// What becomes of mails.
const MAILS: [&str; 4] = ["sent", "failed", "dropped", "disabled"];

/// What becomes of links to choose a password.
const PASSWORD_RESETS: [&str; 9] = [
    "sent",
    "no_account",
    "too_soon",
    "dropped",
    "invited",
    "done",
    "bad_password",
    "refused",
    "by_admin",
];

/// What becomes of second factors.
const SECOND_FACTORS: [&str; 9] = [
    "ok",
    "recovery_code",
    "wrong",
    "replayed",
    "throttled",
    "enabled",
    "disabled",
    "recovery_codes_renewed",
    "removed_by_admin",
];

/// What the service counts.
#[derive(Clone, Debug)]
pub(crate) struct AuthMetrics {
    /// Sign-ins by outcome.
    pub(crate) logins: IntCounterVec,
    /// Refreshes by outcome.
    pub(crate) refreshes: IntCounterVec,
    /// Tried verification codes by outcome.
    pub(crate) verifications: IntCounterVec,
    /// Changes of passwords by those who know them, by outcome.
    pub(crate) password_changes: IntCounterVec,
    /// Links and gifts of passwords, by outcome.
    pub(crate) password_resets: IntCounterVec,
    /// Second factors tried and changed, by outcome.
    pub(crate) second_factors: IntCounterVec,
    /// Mails by outcome.
    pub(crate) mails: IntCounterVec,
    /// Ended sessions by reason.
    pub(crate) sessions_revoked: IntCounterVec,
    /// About people who are made many at once.
    pub(crate) bulk: BulkMetrics,
    /// Passwords waiting for a hashing thread.
    pub(crate) hash_queue: IntGauge,
    /// How long they waited.
    pub(crate) hash_wait: Histogram,
    /// What is done about attacks.
    pub(crate) protection: ProtectionMetrics,
}

impl AuthMetrics {
    /// Registers all, each label at zero, so that a rate can be asked for before the first event.
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let counter = |name, help, label, values: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), &[label])?;
            for value in values {
                counter.with_label_values(&[value]);
            }
            metrics.register(counter.clone())?;
            Ok(counter)
        };
        let logins = counter("auth_logins_total", "Sign-ins by outcome.", "outcome", &LOGINS)?;
        let refreshes = counter(
            "auth_refreshes_total",
            "Refreshes by outcome.",
            "outcome",
            &["rotated", "replayed_in_grace", "reuse_detected", "refused"],
        )?;
        let verifications = counter(
            "auth_verifications_total",
            "Verification codes tried, by outcome.",
            "outcome",
            &["ok", "wrong", "throttled"],
        )?;
        let password_changes = counter(
            "auth_password_changes_total",
            "Changes of passwords by their owners, by outcome.",
            "outcome",
            &PASSWORD_CHANGES,
        )?;
        let password_resets = counter(
            "auth_password_resets_total",
            "Mailed links to choose a password, and passwords given by admins, by outcome.",
            "outcome",
            &PASSWORD_RESETS,
        )?;
        let second_factors = counter(
            "auth_second_factor_total",
            "Second factors tried and changed, by outcome.",
            "outcome",
            &SECOND_FACTORS,
        )?;
        let mails = counter("auth_mails_total", "Mails by outcome.", "outcome", &MAILS)?;
        let sessions_revoked = counter(
            "auth_sessions_revoked_total",
            "Sessions ended before their time, by reason.",
            "reason",
            &[
                "logout",
                "logout_all",
                "reuse",
                "role_change",
                "password_change",
                "password_reset",
                "second_factor_removed",
                "user_gone",
                "too_old",
                "cap",
                "revoked",
                "revoked_all",
                "admin",
            ],
        )?;
        let hash_queue = IntGauge::new(
            "auth_hash_queue_waiting",
            "Passwords waiting for a hashing thread.",
        )?;
        let hash_wait = Histogram::with_opts(
            HistogramOpts::new(
                "auth_hash_wait_seconds",
                "How long passwords waited for a hashing thread.",
            )
            .buckets(WAIT_BUCKETS.to_vec()),
        )?;
        metrics.register(hash_queue.clone())?;
        metrics.register(hash_wait.clone())?;
        let protection = ProtectionMetrics::new(metrics)?;
        Ok(Self {
            logins,
            refreshes,
            verifications,
            password_changes,
            password_resets,
            second_factors,
            mails,
            sessions_revoked,
            bulk: BulkMetrics::new(metrics)?,
            hash_queue,
            hash_wait,
            protection,
        })
    }
}
