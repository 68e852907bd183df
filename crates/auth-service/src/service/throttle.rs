//! Slows guessing of passwords: of one account from one network, and of many accounts from one network. Never a lock:
//! from elsewhere the owner signs in as always.
//!
//! A try is counted before its password is looked at, so that guesses made at once are all counted, and given back when
//! it was right. Both counters are asked at the same time: a sign-in waits for one answer of the database.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use futures_util::future::join;

use crate::{
    config::Config,
    domain::{network::customer, throttle::TrialRule},
    error::{Error, Result},
    service::{
        keyed_hash::KeyedHash,
        limits::{Limit, Limits, Taken},
        spraying::Spraying,
    },
    store::throttles::ThrottleStore,
};

/// Tries to sign in.
#[derive(Clone, Debug)]
pub(crate) struct LoginThrottle {
    store: ThrottleStore,
    limits: Limits,
    spraying: Spraying,
    hash: KeyedHash,
    rule: TrialRule,
}

/// A try that may be looked at. Whoever drops it without a word leaves it pending; it counts as lost after a while.
#[derive(Debug)]
pub(crate) struct Attempt {
    key: String,
    account: String,
    taken: Taken,
}

impl LoginThrottle {
    /// A throttle as the configuration wants it.
    pub(crate) fn new(config: &Config, store: ThrottleStore, limits: Limits, spraying: Spraying) -> Self {
        Self {
            store,
            limits,
            spraying,
            hash: KeyedHash::new(config, "sign-in tries"),
            rule: TrialRule {
                free_failures: config.limits.free_failures,
                wait_secs_max: u32::try_from(config.limits.wait_max.as_secs()).unwrap_or(u32::MAX),
            },
        }
    }

    /// Lets a try at the account `login` pass, or says when to come back.
    pub(crate) async fn begin(&self, login: &str, address: IpAddr, now: DateTime<Utc>) -> Result<Attempt> {
        let account = login.trim().to_lowercase();
        let key = self.hash.name(&[&account, &customer(address).to_string()]);
        let (trial, taken) = join(
            self.store.begin_try(&key, self.rule, now),
            self.limits.take(Limit::LoginFailures, address),
        )
        .await;
        match (trial?.wait_secs(now), taken) {
            (None, Ok(taken)) => Ok(Attempt { key, account, taken }),
            (None, Err(error)) => {
                self.withdraw(&key).await;
                Err(error)
            }
            // A try that is not looked at costs the network nothing: the waits of one do not use up what all share.
            (Some(retry_after_secs), taken) => {
                if let Ok(taken) = taken {
                    self.limits.give_back(&taken).await;
                }
                Err(Error::SlowDown { retry_after_secs })
            }
        }
    }

    /// The try failed. What cannot be counted now must not tell the caller anything.
    pub(crate) async fn failed(&self, attempt: Attempt, now: DateTime<Utc>) {
        self.spraying.failed(&attempt.account);
        if let Err(error) = self.store.fail_try(&attempt.key, self.rule, now).await {
            tracing::warn!(?error, "a failed sign-in was not counted");
        }
    }

    /// The try was right.
    pub(crate) async fn succeeded(&self, attempt: Attempt) {
        let forget = async {
            if let Err(error) = self.store.forget(&attempt.key).await {
                tracing::warn!(?error, "failed sign-ins were not forgotten");
            }
        };
        join(forget, self.limits.give_back(&attempt.taken)).await;
    }

    /// The try was not looked at after all.
    pub(crate) async fn abandoned(&self, attempt: Attempt) {
        join(self.withdraw(&attempt.key), self.limits.give_back(&attempt.taken)).await;
    }

    async fn withdraw(&self, key: &str) {
        if let Err(error) = self.store.withdraw_try(key).await {
            tracing::warn!(?error, "a sign-in that was not looked at was not withdrawn");
        }
    }
}
