//! Where the operator wants to be told of things, and of which.

use std::time::Duration;

use common_config::{Env, Invalid};
use url::Url;

use crate::domain::{credits::Credits, webhook::WebhookSigner};

/// What Standard Webhooks advises.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Soon enough for people to act on, and nothing for the database.
const POLL: Duration = Duration::from_secs(2);

/// The webhook; there is none until its address and its secret are set.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// Where messages go (`WEBHOOK_URL`).
    pub url: Url,
    /// What they are signed with (`WEBHOOK_SECRET`).
    pub signer: WebhookSigner,
    /// How often one is tried before it is a dead letter (`WEBHOOK_ATTEMPTS_MAX`).
    pub attempts_max: u32,
    /// Below this an account runs low (`CREDIT_LOW_THRESHOLD`); 0 never.
    pub low_threshold: Credits,
    /// How many days before its end an allocation is told of (`EXPIRY_NOTICE_DAYS`); 0 never.
    pub expiry_notice_days: u32,
    /// How long the receiver may think about a message. One that needs longer should put it aside and answer first.
    pub timeout: Duration,
    /// How often messages are looked for.
    pub poll: Duration,
}

impl WebhookConfig {
    /// Reads every variable before failing.
    pub(super) fn from_env(env: &Env) -> Result<Option<Self>, Invalid> {
        let url: Result<Option<Url>, _> = env.var("WEBHOOK_URL").optional();
        let secret = env.var("WEBHOOK_SECRET").optional_secret(1);
        let attempts_max = env.var("WEBHOOK_ATTEMPTS_MAX").within(1..=20, 8);
        let low_threshold = env
            .var("CREDIT_LOW_THRESHOLD")
            .alias("MINIMUM_CREDIT_THRESHOLD")
            .within(0..=1_000_000_000_000_i64, 10);
        let expiry_notice_days = env.var("EXPIRY_NOTICE_DAYS").within(0..=60, 7);

        let (url, secret) = (url?, secret?);
        let (attempts_max, low_threshold) = (attempts_max?, low_threshold?);
        let expiry_notice_days = expiry_notice_days?;
        let (url, secret) = match (url, secret) {
            (None, None) => return Ok(None),
            (Some(url), Some(secret)) => (url, secret),
            _ => return Err(env.mistake("WEBHOOK_URL and WEBHOOK_SECRET must both be set, or neither")),
        };
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(env.mistake("WEBHOOK_URL must begin with https:// or http://"));
        }
        let signer = WebhookSigner::parse(&secret);
        Ok(Some(Self {
            url,
            signer: signer.map_err(|bad| env.mistake(format!("WEBHOOK_SECRET {bad}")))?,
            attempts_max,
            low_threshold: Credits::new(low_threshold).unwrap_or_default(),
            expiry_notice_days,
            timeout: TIMEOUT,
            poll: POLL,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: (&str, &str) = ("WEBHOOK_URL", "https://school.example/hooks/credits");
    const SECRET: (&str, &str) = ("WEBHOOK_SECRET", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");

    #[test]
    fn there_is_none_until_both_are_set() {
        let read = |pairs: &[(&str, &str)]| WebhookConfig::from_env(&Env::from_pairs(pairs.iter().copied()));
        assert!(read(&[]).unwrap().is_none());
        let config = read(&[URL, SECRET]).unwrap().unwrap();
        assert_eq!((config.attempts_max, config.expiry_notice_days), (8, 7));
        assert_eq!(config.low_threshold.get(), 10);
        assert!(!format!("{config:?}").contains("MfKQ9r8G"));
        for wrong in [
            &[("WEBHOOK_ATTEMPTS_MAX", "0")][..],
            &[URL],
            &[SECRET],
            &[URL, ("WEBHOOK_SECRET", "short")],
            &[("WEBHOOK_URL", "file:///etc/passwd"), SECRET],
            &[("WEBHOOK_URL", "school.example"), SECRET],
            &[URL, SECRET, ("CREDIT_LOW_THRESHOLD", "-1")],
            &[URL, SECRET, ("EXPIRY_NOTICE_DAYS", "61")],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
