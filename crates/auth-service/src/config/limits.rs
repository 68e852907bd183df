//! How guessing and flooding are slowed.

use std::time::Duration;

use common_config::{Env, Invalid};

/// How guessing and flooding are slowed. All numbers but the first two count what comes from one network.
#[derive(Clone, Debug)]
pub struct LimitsConfig {
    /// Wrong passwords for one account from one network that cost nothing.
    pub free_failures: u32,
    /// The longest wait between two tries after that.
    pub wait_max: Duration,
    /// The window that the following numbers are for.
    pub window: Duration,
    /// Failed sign-ins, at whatever accounts.
    pub login_failures: u32,
    /// Accounts that people make for themselves.
    pub sign_ups: u32,
    /// Mails that anybody can ask for.
    pub mails: u32,
    /// Codes that are tried.
    pub codes: u32,
    /// Users that are looked up by callers who are not signed in.
    pub user_lookups: u32,
    /// Sign-ins that are begun at providers.
    pub provider_sign_ins: u32,
    /// Accounts with failed sign-ins, of all networks together, that look like password spraying.
    pub spraying_accounts: u32,
}

impl LimitsConfig {
    /// Reads every variable before failing.
    pub(super) fn from_env(env: &Env) -> Result<Self, Invalid> {
        let default = Self::default();
        let per_network = |name, default| env.var(name).within(1..=1_000_000, default);
        let free_failures = env
            .var("MAX_LOGIN_ATTEMPTS")
            .within(1..=1_000, default.free_failures);
        let wait_max = short(env, "LOCK_TIME", default.wait_max);
        let window = short(env, "RATE_LIMIT_WINDOW", default.window);
        let login_failures = per_network("RATE_LIMIT_LOGIN_FAILURES", default.login_failures);
        let sign_ups = per_network("RATE_LIMIT_SIGN_UPS", default.sign_ups);
        let mails = per_network("RATE_LIMIT_MAILS", default.mails);
        let codes = per_network("RATE_LIMIT_CODES", default.codes);
        let user_lookups = per_network("RATE_LIMIT_USER_LOOKUPS", default.user_lookups);
        let provider_sign_ins = per_network("RATE_LIMIT_PROVIDER_SIGN_INS", default.provider_sign_ins);
        let spraying_accounts = env
            .var("SPRAYING_ACCOUNTS")
            .within(10..=1_000_000, default.spraying_accounts);
        Ok(Self {
            free_failures: free_failures?,
            wait_max: wait_max?,
            window: window?,
            login_failures: login_failures?,
            sign_ups: sign_ups?,
            mails: mails?,
            codes: codes?,
            user_lookups: user_lookups?,
            provider_sign_ins: provider_sign_ins?,
            spraying_accounts: spraying_accounts?,
        })
    }
}

impl Default for LimitsConfig {
    /// What holds when nothing is set.
    fn default() -> Self {
        Self {
            free_failures: 5,
            wait_max: Duration::from_mins(1),
            window: Duration::from_mins(15),
            login_failures: 500,
            sign_ups: 600,
            mails: 500,
            codes: 1_000,
            user_lookups: 3_000,
            provider_sign_ins: 1_000,
            spraying_accounts: 300,
        }
    }
}

/// A length of time from a second to a day.
fn short(env: &Env, name: &'static str, default: Duration) -> Result<Duration, Invalid> {
    let length = env.var(name).duration(default)?;
    if (Duration::from_secs(1)..=Duration::from_hours(24)).contains(&length) {
        return Ok(length);
    }
    Err(env.mistake(format!("{name} must be from 1s to 24h")))
}
