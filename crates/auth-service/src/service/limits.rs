//! How often one network may ask for what costs us something: accounts, mails, look-ups.
//!
//! A limit is a bucket for each network, in the database: all replicas share it and a restart does not fill it. A class
//! behind one address has to get through, so buckets are deep; they stop programs, not people.

use std::net::IpAddr;

use common_http::Clock;

use crate::{
    config::{Config, LimitsConfig},
    domain::{
        network::customer,
        throttle::{BucketRate, Quota},
    },
    error::{Error, Result},
    metrics::AuthMetrics,
    quota,
    service::{keyed_hash::KeyedHash, tokens::seconds},
    store::throttles::ThrottleStore,
};

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Failed sign-ins.
    LoginFailures,
    /// Accounts people make for themselves.
    SignUp,
    /// Mails with a code or a link that anybody can ask for.
    Mails,
    /// Codes that are tried.
    Codes,
    /// Sign-ins that are begun at a provider.
    ProviderSignIns,
    /// Looking up somebody without being signed in.
    UserLookup,
}

impl Limit {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self::LoginFailures,
        Self::SignUp,
        Self::Mails,
        Self::Codes,
        Self::ProviderSignIns,
        Self::UserLookup,
    ];

    /// Its name in headers, metrics and keys.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::LoginFailures => "login-failures",
            Self::SignUp => "sign-up",
            Self::Mails => "mails",
            Self::Codes => "codes",
            Self::ProviderSignIns => "provider-sign-ins",
            Self::UserLookup => "user-lookup",
        }
    }
}

/// The limits.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    store: ThrottleStore,
    hash: KeyedHash,
    config: LimitsConfig,
    window: chrono::Duration,
    metrics: AuthMetrics,
    clock: Clock,
}

/// A token that was taken, to be given back.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    key: String,
    rate: BucketRate,
}

impl Limits {
    /// Limits as the configuration wants them.
    pub(crate) fn new(config: &Config, store: ThrottleStore, metrics: AuthMetrics) -> Self {
        Self {
            store,
            hash: KeyedHash::new(config, "limits"),
            window: seconds(config.limits.window),
            config: config.limits.clone(),
            metrics,
            clock: config.clock.clone(),
        }
    }

    /// Lets a caller at `address` pass, or says when to come back. What is left to them goes into the answer's headers.
    pub(crate) async fn admit(&self, limit: Limit, address: IpAddr) -> Result<()> {
        self.take(limit, address).await.map(drop)
    }

    /// The same, for what may turn out to cost nothing.
    pub(crate) async fn take(&self, limit: Limit, address: IpAddr) -> Result<Taken> {
        let rate = BucketRate {
            quota: self.quota(limit),
            window: self.window,
        };
        let key = self.hash.name(&[limit.name(), &customer(address).to_string()]);
        let bucket = self.store.take_token(&key, rate, self.clock.now()).await?;
        let quota = Quota::of(limit.name(), rate, bucket);
        quota::note(quota);
        if bucket.admitted {
            return Ok(Taken { key, rate });
        }
        self.metrics
            .protection
            .rate_limited
            .with_label_values(&[limit.name()])
            .inc();
        Err(Error::RateLimited {
            retry_after_secs: quota.retry_after_secs.into(),
        })
    }

    /// Gives a token back. A failure to do so costs the network one token, no more.
    pub(crate) async fn give_back(&self, taken: &Taken) {
        if let Err(error) = self.store.give_token_back(&taken.key, taken.rate).await {
            tracing::warn!(?error, "a token was not given back");
        }
    }

    fn quota(&self, limit: Limit) -> u32 {
        match limit {
            Limit::LoginFailures => self.config.login_failures,
            Limit::SignUp => self.config.sign_ups,
            Limit::Mails => self.config.mails,
            Limit::Codes => self.config.codes,
            Limit::ProviderSignIns => self.config.provider_sign_ins,
            Limit::UserLookup => self.config.user_lookups,
        }
    }
}
