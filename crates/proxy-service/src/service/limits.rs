//! How fast people may ask (decision D11): a token bucket for each address and one for each person.
//!
//! With a Redis all replicas draw from the same buckets. While it is away each counts for itself, so that nobody is kept
//! out and nobody let in without bounds; `/metrics` and `/readyz?verbose` say which of the two it is.

mod local;
mod shared;

use std::net::IpAddr;

use common_http::{ApiKeyGrant, CurrentUser, Metrics};
use common_jwt::Role;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts};

use self::{local::LocalBuckets, shared::SharedBuckets};
use crate::{
    config::LimitsConfig,
    domain::pace::{Bucket, Pace, Quota, Rate, whole_secs},
};

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Everything from one address.
    Address,
    /// Everything one person asks.
    User,
    /// What comes with one API key.
    ApiKey,
    /// What visitors of widgets ask from one address, in a minute.
    WidgetAddressMinute,
    /// The same in an hour.
    WidgetAddressHour,
    /// What visitors ask from one site, in a minute.
    WidgetDomain,
    /// Messages of one visitor's session, in a minute.
    WidgetSession,
    /// Messages of all visitors of an embed, in a minute.
    EmbedMinute,
    /// The same in an hour.
    EmbedHour,
    /// The same in a day.
    EmbedDay,
    /// An address or a session that is kept out for a while.
    Block,
}

/// Those that metrics count; blocks are counted where they are made.
const LIMITS: [Limit; 10] = [
    Limit::Address,
    Limit::User,
    Limit::ApiKey,
    Limit::WidgetAddressMinute,
    Limit::WidgetAddressHour,
    Limit::WidgetDomain,
    Limit::WidgetSession,
    Limit::EmbedMinute,
    Limit::EmbedHour,
    Limit::EmbedDay,
];

impl Limit {
    /// Its name in headers, metrics and keys.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::User => "user",
            Self::ApiKey => "api-key",
            Self::WidgetAddressMinute => "widget-address-minute",
            Self::WidgetAddressHour => "widget-address-hour",
            Self::WidgetDomain => "widget-domain",
            Self::WidgetSession => "widget-session",
            Self::EmbedMinute => "embed-minute",
            Self::EmbedHour => "embed-hour",
            Self::EmbedDay => "embed-day",
            Self::Block => "block",
        }
    }
}

/// One bucket that a request needs a token of.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    /// What it limits.
    pub(crate) limit: Limit,
    /// Whose it is.
    pub(crate) key: String,
    /// How fast it fills.
    pub(crate) rate: Rate,
    /// Whether the bucket stays as it is: a token has to be there, and is left.
    pub(crate) only_looks: bool,
}

impl Draw {
    /// A token out of the bucket of `whose`.
    pub(crate) fn new(limit: Limit, whose: &str, rate: Rate) -> Self {
        Self {
            limit,
            key: format!("flowgate:limit:{}:{whose}", limit.name()),
            rate,
            only_looks: false,
        }
    }
}

/// The window of an API key's own rate.
const MINUTE_SECS: u32 = 60;

/// The longest window there is.
const DAY_SECS: u32 = 86_400;

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
    /// Of visitors, so that however many come nobody who is signed in is forgotten.
    visitors: LocalBuckets,
    keys: LocalBuckets,
    shared: Option<SharedBuckets>,
    refused: IntCounterVec,
    fallbacks: IntCounter,
    up: IntGauge,
}

impl Limits {
    /// Limits as the configuration wants them. Nothing is connected yet.
    pub(crate) fn new(config: &LimitsConfig, metrics: &Metrics) -> anyhow::Result<Self> {
        let rates = [config.address.rate(), config.user.rate()];
        let [address, user] = rates;
        let slowest = if address.capacity() > user.capacity() {
            address
        } else {
            user
        };
        let shared = config.redis_url.as_ref().map(SharedBuckets::new).transpose()?;
        let limits = Self {
            address: config.address,
            user: config.user,
            local: LocalBuckets::new(slowest),
            visitors: LocalBuckets::new(Rate::within(1, DAY_SECS)),
            keys: LocalBuckets::new(Rate::within(1, MINUTE_SECS)),
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
        for limit in LIMITS {
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
        self.take(Limit::Address, self.address, &customer(address).to_string())
            .await
    }

    /// Counts a request of a person. Admins may ask as fast as they can: scripts that set up a school are theirs.
    pub(crate) async fn of_user(&self, user: &CurrentUser) -> Option<Told> {
        if user.role == Role::Admin {
            return None;
        }
        self.take(Limit::User, self.user, &user.id).await
    }

    /// Counts a request with an API key that has a rate of its own.
    pub(crate) async fn of_key(&self, key: &ApiKeyGrant) -> Option<Told> {
        let rate = Rate::within(key.rate?, MINUTE_SECS);
        let draw = [Draw::new(Limit::ApiKey, &key.id, rate)];
        let told = self.take_all(&self.keys, &draw).await;
        told.into_iter().next()
    }

    async fn take(&self, limit: Limit, pace: Pace, whose: &str) -> Option<Told> {
        if !pace.is_limit() {
            return None;
        }
        let draw = [Draw::new(limit, whose, pace.rate())];
        let told = self.take_all(&self.local, &draw).await;
        told.into_iter().next()
    }

    /// Takes a token out of each of a visitor's buckets, or none. Those behind the first that was empty may be left out.
    pub(crate) async fn of_visitor(&self, draws: &[Draw]) -> Vec<Told> {
        self.take_all(&self.visitors, draws).await
    }

    async fn take_all(&self, local: &LocalBuckets, draws: &[Draw]) -> Vec<Told> {
        let buckets = match self.take_shared(draws).await {
            Some(buckets) => buckets,
            None => local.take_all(draws).await,
        };
        let told = draws.iter().zip(buckets).map(|(draw, bucket)| {
            let retry_after_secs = (bucket.wait > 0).then(|| whole_secs(bucket.wait).max(1));
            if retry_after_secs.is_some() && draw.limit != Limit::Block {
                self.refused.with_label_values(&[draw.limit.name()]).inc();
            }
            Told {
                limit: draw.limit,
                quota: draw.rate.quota(bucket),
                retry_after_secs,
            }
        });
        told.collect()
    }

    async fn take_shared(&self, draws: &[Draw]) -> Option<Vec<Bucket>> {
        let shared = self.shared.as_ref()?;
        let buckets = shared.take_all(draws).await;
        self.up.set(i64::from(!shared.is_away()));
        if buckets.is_none() {
            self.fallbacks.inc();
        }
        buckets
    }
}

/// What one customer of a provider has: an IPv4 address, or 2^64 IPv6 addresses.
pub(crate) fn customer(address: IpAddr) -> IpAddr {
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
