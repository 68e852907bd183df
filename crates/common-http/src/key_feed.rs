//! The public keys that auth-service signs people's tokens with (decision D2), as the other services follow them.
//!
//! auth-service publishes them at `/.well-known/jwks.json`, each a while before it signs with it; a follower fetches
//! them again before that while is over. Should a token name a key that is not known nevertheless, its request waits
//! for one look, of which there is at most one a minute, so that nobody can make us call auth-service at will. When
//! auth-service is away the known keys stay good.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use common_config::{Env, Invalid};
use common_jwt::{JwkSet, KeyRing, SharedKeyRing};
use prometheus::IntGauge;
use reqwest::{header, redirect};
use secrecy::SecretString;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, metrics::Metrics};

/// How long keys are taken to be fresh where `Cache-Control` says nothing.
const FRESH_DEFAULT_SECS: u64 = 30;

/// What `Cache-Control` may ask for. A new key signs two minutes after it is published, so it is known by then.
const FRESH_SECS: std::ops::RangeInclusive<u64> = 10..=60;

/// How soon a failed fetch is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// How long a fetch may take, and so how long a request with an unknown key may wait.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// How often requests can cause a fetch.
const LOOK_EVERY: TimeDelta = TimeDelta::seconds(60);

/// More than a rotation ever needs; a set that is larger is not ours.
const KEYS_MAX: usize = 16;
const SET_BYTES_MAX: usize = 64 * 1024;

/// Follows the published keys into a key ring. Clones share everything.
#[derive(Clone, Debug)]
pub struct KeyFeed {
    url: String,
    client: reqwest::Client,
    ring: SharedKeyRing,
    /// Keys that were in the ring from the beginning; they stay.
    configured: Arc<KeyRing>,
    looks: Arc<Looks>,
    clock: Clock,
    up: IntGauge,
    known: IntGauge,
}

/// The looks that requests ask for.
#[derive(Debug)]
struct Looks {
    state: Mutex<LookState>,
    asked: Notify,
    /// Counts those that are done, to wake whoever waits.
    done: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct LookState {
    last_asked: Option<DateTime<Utc>>,
    is_under_way: bool,
    has_fetched: bool,
}

impl KeyFeed {
    /// `AUTH_JWKS_URL`; one is needed where `secret`, the shared one as it was read, is not set.
    pub fn url_from_env(
        env: &Env,
        secret: &Result<Option<SecretString>, Invalid>,
    ) -> Result<Option<String>, Invalid> {
        let url = env.var("AUTH_JWKS_URL").optional::<reqwest::Url>()?;
        match url {
            Some(url) if matches!(url.scheme(), "http" | "https") => Ok(Some(url.into())),
            Some(_) => Err(env.mistake("AUTH_JWKS_URL must begin with http:// or https://")),
            None if matches!(secret, Ok(None)) => Err(env.mistake(
                "JWT_ACCESS_SECRET (or a file named by JWT_ACCESS_SECRET_FILE) is not set, and there is no \
                 AUTH_JWKS_URL either",
            )),
            None => Ok(None),
        }
    }

    /// A follower of the key set at `url` that adds what it finds to the keys in `ring`.
    pub fn new(url: &str, ring: SharedKeyRing, clock: Clock, metrics: &Metrics) -> anyhow::Result<Self> {
        let up = IntGauge::new(
            "key_feed_up",
            "Whether the last fetch of auth-service's public keys succeeded.",
        )?;
        let known = IntGauge::new("keys_known", "Public keys of auth-service held in memory.")?;
        metrics.register(up.clone())?;
        metrics.register(known.clone())?;
        let client = reqwest::Client::builder()
            .timeout(FETCH_TIMEOUT)
            .redirect(redirect::Policy::none())
            .build()?;
        Ok(Self {
            url: url.to_owned(),
            client,
            configured: ring.current(),
            ring,
            looks: Arc::new(Looks {
                state: Mutex::default(),
                asked: Notify::new(),
                done: watch::Sender::new(0),
            }),
            clock,
            up,
            known,
        })
    }

    /// Follows until `stop`.
    pub async fn follow(self, stop: CancellationToken) {
        let follow = async {
            let mut kids = Vec::new();
            // An outage is told once, however long it lasts and however early it begins.
            let mut told = false;
            let mut is_asked = false;
            loop {
                let next = match self.fetch(&mut kids).await {
                    Ok(fresh) => {
                        told = false;
                        self.up.set(1);
                        fresh
                    }
                    Err(error) => {
                        if !told {
                            tracing::warn!(
                                ?error,
                                "auth-service's keys are away; going on with what is known"
                            );
                        }
                        told = true;
                        self.up.set(0);
                        RETRY
                    }
                };
                if is_asked {
                    self.looks.end();
                }
                is_asked = tokio::select! {
                    biased;
                    () = self.looks.asked.notified() => true,
                    () = tokio::time::sleep(next) => false,
                };
            }
        };
        tokio::select! {
            () = follow => {}
            () = stop.cancelled() => {}
        }
    }

    /// Looks for a key that a token names and we do not have, unless that was done within the last minute; together
    /// with everybody who asks meanwhile. Says whether any keys have been fetched so far: before that a token can be
    /// neither trusted nor refused.
    pub async fn look(&self) -> bool {
        let mut done = self.looks.done.subscribe();
        if self.looks.begin(self.clock.now()) {
            // The one before it may still be under way. In vain only while the service stops.
            let _ = tokio::time::timeout(FETCH_TIMEOUT * 2, done.changed()).await;
        }
        self.looks.state().has_fetched
    }

    /// Fetches the set and says for how long it is fresh.
    async fn fetch(&self, kids: &mut Vec<String>) -> anyhow::Result<Duration> {
        let response = self.client.get(&self.url).send().await?.error_for_status()?;
        let fresh = freshness(response.headers());
        let set = read(response).await?;
        ensure!(set.keys.len() <= KEYS_MAX, "the set has too many keys");
        let fetched = KeyRing::from_jwk_set(&set)?;
        self.ring.replace(self.configured.with(&fetched));
        self.known.set(i64::try_from(fetched.len()).unwrap_or(i64::MAX));
        self.looks.state().has_fetched = true;
        let named = set.keys.into_iter().filter_map(|key| key.common.key_id).collect();
        if *kids != named {
            *kids = named;
            tracing::info!(?kids, "auth-service has new keys");
        }
        Ok(fresh)
    }
}

impl Looks {
    fn state(&self) -> MutexGuard<'_, LookState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a look is under way now, one's own or another's.
    fn begin(&self, now: DateTime<Utc>) -> bool {
        let mut state = self.state();
        // A clock that was set back must not shut the door for good.
        let is_due = state
            .last_asked
            .is_none_or(|last| (now - last).abs() >= LOOK_EVERY);
        if !state.is_under_way && is_due {
            state.last_asked = Some(now);
            state.is_under_way = true;
            self.asked.notify_one();
        }
        state.is_under_way
    }

    fn end(&self) {
        self.state().is_under_way = false;
        self.done.send_modify(|done| *done += 1);
    }
}

/// How long an answer may be kept (RFC 9111 section 5.2.2.1), within our own bounds.
fn freshness(headers: &header::HeaderMap) -> Duration {
    let directives = headers
        .get(header::CACHE_CONTROL)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let max_age = directives
        .split(',')
        .find_map(|directive| directive.trim().strip_prefix("max-age=")?.parse().ok());
    let secs: u64 = max_age.unwrap_or(FRESH_DEFAULT_SECS);
    Duration::from_secs(secs.clamp(*FRESH_SECS.start(), *FRESH_SECS.end()))
}

async fn read(mut response: reqwest::Response) -> anyhow::Result<JwkSet> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        ensure!(bytes.len() + chunk.len() <= SET_BYTES_MAX, "the set is too large");
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&bytes).context("the set is not one of keys (RFC 7517)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_is_what_the_issuer_says_within_bounds() {
        for (value, secs) in [
            ("", 30),
            ("no-store", 30),
            ("public, max-age=45", 45),
            ("max-age=0", 10),
            ("max-age=86400", 60),
            ("max-age=soon", 30),
        ] {
            let mut headers = header::HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static(value));
            assert_eq!(freshness(&headers), Duration::from_secs(secs), "{value}");
        }
    }
}
