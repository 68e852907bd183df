//! Bounds how many verification codes are guessed by callers who name no account.
//!
//! A code without an address could be anybody's, so a wrong one can be counted against nobody. It is counted against
//! the network it came from and against everybody together, at all replicas. With [`TOTAL`] guesses in a window,
//! somebody who keeps one account's code open all day (ten codes of 15 minutes) finds it with a chance of 1 in 500 a
//! day, and by naming the account 1 in 20,000. What is proven that way is an address, not a password.

use std::net::IpAddr;

use chrono::{DateTime, Duration, Utc};
use futures_util::future::join;

use crate::{
    config::Config,
    domain::{
        network::customer,
        throttle::{Bucket, BucketRate, Quota},
    },
    error::{Error, Result},
    service::keyed_hash::KeyedHash,
    store::throttles::ThrottleStore,
};

/// The time in which a budget that was used up comes back.
const WINDOW: Duration = Duration::minutes(15);

/// Wrong guesses of one network: a class that types badly stays below.
const OF_NETWORK: BucketRate = BucketRate {
    quota: 30,
    window: WINDOW,
};

/// Wrong guesses of all networks together.
const TOTAL: BucketRate = BucketRate {
    quota: 200,
    window: WINDOW,
};

/// Its name in keys.
const NAME: &str = "nameless-codes";

/// Wrong guesses without an address.
#[derive(Clone, Debug)]
pub(crate) struct GuessBudget {
    store: ThrottleStore,
    hash: KeyedHash,
}

impl GuessBudget {
    /// The budget in this store.
    pub(crate) fn new(config: &Config, store: ThrottleStore) -> Self {
        Self {
            store,
            hash: KeyedHash::new(config, "code guesses"),
        }
    }

    /// Takes one guess before it is looked at, so that guesses made at once are all counted. When there is none left,
    /// says when there is.
    pub(crate) async fn take(&self, address: IpAddr, now: DateTime<Utc>) -> Result<()> {
        let (network, total) = self.keys(address);
        let (of_network, of_all) = join(
            self.store.take_token(&network, OF_NETWORK, now),
            self.store.take_token(&total, TOTAL, now),
        )
        .await;
        let (of_network, of_all) = (of_network?, of_all?);
        if of_network.admitted && of_all.admitted {
            return Ok(());
        }
        // What is refused is no guess: one network that goes on must not use up what all share.
        if of_all.admitted {
            self.store.give_token_back(&total, TOTAL).await?;
        }
        if of_network.admitted {
            self.store.give_token_back(&network, OF_NETWORK).await?;
        }
        let wait = |rate, bucket: Bucket| {
            let quota = Quota::of(NAME, rate, bucket);
            if bucket.admitted {
                0
            } else {
                quota.retry_after_secs
            }
        };
        let wait = wait(OF_NETWORK, of_network).max(wait(TOTAL, of_all));
        Err(Error::TooManyGuesses {
            retry_after_secs: wait.into(),
        })
    }

    /// Gives a guess back: it was right.
    pub(crate) async fn give_back(&self, address: IpAddr) {
        let (network, total) = self.keys(address);
        let (of_network, of_all) = join(
            self.store.give_token_back(&network, OF_NETWORK),
            self.store.give_token_back(&total, TOTAL),
        )
        .await;
        if let Err(error) = of_network.and(of_all) {
            tracing::warn!(?error, "a guess was not given back");
        }
    }

    fn keys(&self, address: IpAddr) -> (String, String) {
        let network = customer(address).to_string();
        (self.hash.name(&[NAME, &network]), self.hash.name(&[NAME]))
    }
}
