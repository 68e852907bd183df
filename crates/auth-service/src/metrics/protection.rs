//! What an operator sees of attacks and of what is done about them. `proto-docs/sign-in-protection.md` explains each.

use common_http::Metrics;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};

use crate::service::limits::Limit;

/// The numbers.
#[derive(Clone, Debug)]
pub(crate) struct ProtectionMetrics {
    /// Requests refused by the limit of their network.
    pub(crate) rate_limited: IntCounterVec,
    /// Different accounts at which sign-ins failed lately, at all replicas.
    pub(crate) failed_accounts: IntGauge,
    /// How often that began to look like spraying; one replica counts each.
    pub(crate) spraying: IntCounter,
    /// Sign-ins from a new device or network.
    pub(crate) new_devices: IntCounterVec,
    /// Audit events that could not be kept.
    pub(crate) audit_lost: IntCounter,
    /// bcrypt's rounds spent on checking passwords.
    pub(crate) hash_rounds: IntCounter,
}

impl ProtectionMetrics {
    /// Registers all, each label at zero.
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let rate_limited = IntCounterVec::new(
            Opts::new(
                "auth_rate_limited_total",
                "Requests refused because their network asked too often, by limit.",
            ),
            &["limit"],
        )?;
        for limit in Limit::ALL {
            rate_limited.with_label_values(&[limit.name()]);
        }
        let new_devices = IntCounterVec::new(
            Opts::new(
                "auth_new_devices_total",
                "Sign-ins from a device or network not seen before, by what was done about them.",
            ),
            &["outcome"],
        )?;
        for outcome in ["mailed", "not_mailed", "failed", "dropped"] {
            new_devices.with_label_values(&[outcome]);
        }
        let failed_accounts = IntGauge::new(
            "auth_failed_accounts",
            "About how many different accounts had a failed sign-in in the last 10 minutes, at all replicas.",
        )?;
        let spraying = IntCounter::new(
            "auth_password_spraying_suspected_total",
            "How often failed sign-ins began to look like password spraying.",
        )?;
        let audit_lost = IntCounter::new(
            "auth_audit_events_lost_total",
            "Audit events that could not be kept.",
        )?;
        let hash_rounds = IntCounter::new(
            "auth_password_check_rounds_total",
            "Rounds of bcrypt spent on checking passwords.",
        )?;
        metrics.register(rate_limited.clone())?;
        metrics.register(new_devices.clone())?;
        metrics.register(failed_accounts.clone())?;
        metrics.register(spraying.clone())?;
        metrics.register(audit_lost.clone())?;
        metrics.register(hash_rounds.clone())?;
        Ok(Self {
            rate_limited,
            failed_accounts,
            spraying,
            new_devices,
            audit_lost,
            hash_rounds,
        })
    }
}
