//! How fast visitors of widgets may ask, and what follows where something looks wrong.

use std::str::FromStr;

use common_config::{Env, Invalid};

/// Limits and protection of widgets. Zero is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtectionConfig {
    /// Requests from one address in a minute. A school is one address.
    pub address_per_minute: u32,
    /// The same in an hour.
    pub address_per_hour: u32,
    /// Messages of one session in a minute.
    pub session_per_minute: u32,
    /// Requests from one site in a minute.
    pub domain_per_minute: u32,
    /// What follows when a message or a session looks wrong.
    pub response: ThreatResponse,
}

/// What follows when something looks wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreatResponse {
    /// Operators see it.
    Log,
    /// It also takes longer.
    Slow,
    /// It is refused.
    Block,
}

impl FromStr for ThreatResponse {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "log" => Ok(Self::Log),
            "slow" => Ok(Self::Slow),
            "block" => Ok(Self::Block),
            _ => Err("must be log, slow or block"),
        }
    }
}

impl Default for ProtectionConfig {
    fn default() -> Self {
        Self {
            address_per_minute: 60,
            address_per_hour: 1_000,
            session_per_minute: 30,
            domain_per_minute: 1_000,
            response: ThreatResponse::Log,
        }
    }
}

impl ProtectionConfig {
    /// Reads every variable before failing.
    pub(super) fn from_env(env: &Env) -> Result<Self, Invalid> {
        let usual = Self::default();
        let limit = |name, default| env.var(name).within(0..=1_000_000, default);
        let address_per_minute = limit("RATE_LIMIT_PER_MINUTE", usual.address_per_minute);
        let address_per_hour = limit("RATE_LIMIT_PER_HOUR", usual.address_per_hour);
        let session_per_minute = limit("WIDGET_SESSION_MESSAGES_PER_MINUTE", usual.session_per_minute);
        let domain_per_minute = limit("WIDGET_DOMAIN_REQUESTS_PER_MINUTE", usual.domain_per_minute);
        let response = env.var("WIDGET_PROTECTION").or(usual.response);
        Ok(Self {
            address_per_minute: address_per_minute?,
            address_per_hour: address_per_hour?,
            session_per_minute: session_per_minute?,
            domain_per_minute: domain_per_minute?,
            response: response?,
        })
    }
}
