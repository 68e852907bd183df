//! How fast people may ask (decision D11): a token bucket for each address and one for each person.
//!
//! With a Redis all replicas draw from the same buckets. While it is away each counts for itself, so that nobody is kept
//! out and nobody let in without bounds; `/metrics` and `/readyz?verbose` say which of the two it is.

mod local;
mod shared;

use std::net::IpAddr;

use common_http::{CurrentUser, Metrics};
use common_jwt::Role;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};

use self::{local::LocalBuckets, shared::SharedBuckets};
use crate::{
    config::LimitsConfig,
    domain::pace::{Bucket, Pace, Quota, whole_secs},
};

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Everything from one address.
    Address,
    /// Everything one person asks.
    User,
}

impl Limit {
    /// Its name in headers, metrics and keys.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::User => "user",
        }
    }
}

/// What somebody is told of a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(crate) limit: Limit,
    pub(crate) quota: Quota,
    /// When to come back, where they were refused.
    pub(crate) retry_after_secs: Option<u64>,
}

/// Where requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counting {
    /// Here: there is no Redis.
    Local,
    /// In Redis, for all replicas.
    Shared,
    /// Here, because Redis is away.
    Fallback,
}

impl Counting {
    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Shared => "shared",
            Self::Fallback => "local: redis is away",
        }
    }
}

/// The limits.
#[derive(Clone)]
pub(crate) struct Limits {
    address: Pace,
    user: Pace,
    local: LocalBuckets,
    shared: Option<SharedBuckets>,
    refused: IntCounterVec,
    fallbacks: IntCounter,
    up: IntGauge,
}

impl Limits {
    /// Limits as the configuration wants them. Nothing is connected yet.
    pub(crate) fn new(config: &LimitsConfig, metrics: &Metrics) -> anyhow::Result<Self> {
        let shared = config.redis_url.as_ref().map(SharedBuckets::new).transpose()?;
        let limits = Self {
            address: config.address,
            user: config.user,
            local: LocalBuckets::new(&[config.address, config.user]),
            shared,
            refused: IntCounterVec::new(
                Opts::new(
                    "rate_limited_total",
                    "Requests refused because they came too fast.",
                ),
                &["limit"],
            )?,
            fallbacks: IntCounter::new(
                "rate_limit_fallbacks_total",
                "Requests counted by this replica alone because Redis did not answer.",
            )?,
            up: IntGauge::new(
                "rate_limit_shared_up",
                "Whether all replicas count together: 1 when Redis answered last.",
            )?,
        };
        for limit in [Limit::Address, Limit::User] {
            limits.refused.with_label_values(&[limit.name()]).inc_by(0);
        }
        metrics.register(limits.refused.clone())?;
        metrics.register(limits.fallbacks.clone())?;
        metrics.register(limits.up.clone())?;
        Ok(limits)
    }

    /// Where requests are counted at this moment.
    pub(crate) fn counting(&self) -> Counting {
        match &self.shared {
            None => Counting::Local,
            Some(shared) if shared.is_away() => Counting::Fallback,
            Some(_) => Counting::Shared,
        }
    }

    /// Counts a request from an address. An IPv6 customer has 2^64 of them; they count as one.
    pub(crate) async fn of_address(&self, address: IpAddr) -> Option<Told> {
        self.take(Limit::Address, &customer(address).to_string()).await
    }

    /// Counts a request of a person. Admins may ask as fast as they can: scripts that set up a school are theirs.
    pub(crate) async fn of_user(&self, user: &CurrentUser) -> Option<Told> {
        if user.role == Role::Admin {
            return None;
        }
        self.take(Limit::User, &user.id).await
    }

    async fn take(&self, limit: Limit, whose: &str) -> Option<Told> {
        let pace = match limit {
            Limit::Address => self.address,
            Limit::User => self.user,
        };
        if !pace.is_limit() {
            return None;
        }
        let key = format!("flowgate:limit:{}:{whose}", limit.name());
        let bucket = match self.take_shared(&key, pace).await {
            Some(bucket) => bucket,
            None => self.local.take(&key, pace).await,
        };
        let retry_after_secs = (bucket.wait > 0).then(|| whole_secs(bucket.wait).max(1));
        if retry_after_secs.is_some() {
            self.refused.with_label_values(&[limit.name()]).inc();
        }
        Some(Told {
            limit,
            quota: pace.quota(bucket),
            retry_after_secs,
        })
    }

    async fn take_shared(&self, key: &str, pace: Pace) -> Option<Bucket> {
        let shared = self.shared.as_ref()?;
        let bucket = shared.take(key, pace).await;
        self.up.set(i64::from(!shared.is_away()));
        if bucket.is_none() {
            self.fallbacks.inc();
        }
        bucket
    }
}

/// What one customer of a provider has: an IPv4 address, or 2^64 IPv6 addresses.
fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => std::net::Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_customer_are_one() {
        let of = |text: &str| customer(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:203.0.113.5"), "203.0.113.5");
        assert_ne!(of("203.0.113.5"), of("203.0.113.6"));
    }
}
