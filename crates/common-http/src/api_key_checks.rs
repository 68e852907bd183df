//! What a service knows of API keys: what auth-service said a moment ago, and is asked again otherwise.
//!
//! A key that is revoked, or whose owner's rights have changed, is named in the feed of revocations by its `sid`; what was
//! remembered under that name counts no more. So a revoked key is dead as soon as a session that has ended, and one that
//! nobody revoked is asked about once in half a minute.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use moka::{Expiry, future::Cache};
use prometheus::{IntCounterVec, Opts};
use serde_json::json;
use tokio::{sync::Semaphore, time::timeout};

use crate::{
    api_keys::{API_KEY_BEGINNING, ApiKeyGrant, ApiKeyVerification},
    clock::Clock,
    context::RequestContext,
    metrics::Metrics,
    problem::Problem,
    revocations::RevocationSet,
    service_tokens::ServiceTokens,
};

/// How long a yes is remembered when nobody revokes it. Far shorter than the feed remembers a revocation.
const GRANT_TTL: Duration = Duration::from_secs(30);

/// How long a no is remembered.
const REFUSAL_TTL: Duration = Duration::from_secs(5);

/// How long nobody asks again about a key that could not be asked about.
const OUTAGE_TTL: Duration = Duration::from_secs(1);

/// Keys that are remembered, the good and the bad each: however many are made up, the good ones stay.
const REMEMBERED_MAX: u64 = 10_000;

/// Questions under way at once, and how long one waits for its turn.
const ASKED_AT_ONCE_MAX: usize = 32;
const TURN_WAIT: Duration = Duration::from_secs(1);

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Random bytes of a key.
const SECRET_BYTES: usize = 32;

/// Why a key is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// It is good for nothing.
    Invalid,
    /// Nobody can say.
    Unknown,
}

/// How long each kind of refusal is remembered.
struct Lifetimes;

impl Expiry<String, Refusal> for Lifetimes {
    fn expire_after_create(&self, _: &String, refusal: &Refusal, _: Instant) -> Option<Duration> {
        Some(match refusal {
            Refusal::Invalid => REFUSAL_TTL,
            Refusal::Unknown => OUTAGE_TTL,
        })
    }
}

/// Checks API keys.
#[derive(Clone)]
pub struct ApiKeyChecks {
    url: String,
    client: reqwest::Client,
    tokens: ServiceTokens,
    revocations: RevocationSet,
    clock: Clock,
    /// By the hash of the key, as auth-service knows it.
    granted: Cache<String, Arc<ApiKeyGrant>>,
    refused: Cache<String, Refusal>,
    turns: Arc<Semaphore>,
    asked: IntCounterVec,
}

impl ApiKeyChecks {
    /// Checks that ask auth-service at `auth_url` (its base address) and forget what `revocations` names.
    pub fn new(
        auth_url: &str,
        tokens: ServiceTokens,
        revocations: RevocationSet,
        clock: Clock,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let asked = IntCounterVec::new(
            Opts::new(
                "api_key_questions_total",
                "Questions to auth-service about API keys, by outcome.",
            ),
            &["outcome"],
        )?;
        for outcome in ["granted", "refused", "failed"] {
            asked.with_label_values(&[outcome]);
        }
        metrics.register(asked.clone())?;
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .timeout(ANSWER_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            url: format!("{}/internal/api-keys/verify", auth_url.trim_end_matches('/')),
            client,
            tokens,
            revocations,
            clock,
            granted: Cache::builder()
                .max_capacity(REMEMBERED_MAX)
                .time_to_live(GRANT_TTL)
                .build(),
            refused: Cache::builder()
                .max_capacity(REMEMBERED_MAX)
                .expire_after(Lifetimes)
                .build(),
            turns: Arc::new(Semaphore::new(ASKED_AT_ONCE_MAX)),
            asked,
        })
    }

    /// What the key is good for now.
    pub(crate) async fn check(&self, key: &str) -> Result<Arc<ApiKeyGrant>, Problem> {
        let grant = self.find(key).await;
        let grant = grant.and_then(|grant| {
            let end = grant.expires_at.unwrap_or(i64::MAX);
            let has_ended = end <= self.clock.now().timestamp();
            if has_ended {
                Err(Refusal::Invalid)
            } else {
                Ok(grant)
            }
        });
        grant.map_err(|refusal| match refusal {
            Refusal::Invalid => Problem::unauthorized(
                "invalid_api_key",
                "the API key is not valid: unknown, revoked or expired",
            ),
            Refusal::Unknown => Problem::new(
                actix_web::http::StatusCode::SERVICE_UNAVAILABLE,
                "auth_unavailable",
                "API keys cannot be checked at the moment; try again",
            )
            .retry_after(1),
        })
    }

    async fn find(&self, key: &str) -> Result<Arc<ApiKeyGrant>, Refusal> {
        if !is_well_formed(key) {
            return Err(Refusal::Invalid);
        }
        let hash = hash_of(key);
        if let Some(grant) = self.granted.get(&hash).await {
            if !self.revocations.contains(&grant.sid) {
                return Ok(grant);
            }
            // Whoever asks at the same moment may have put a later answer in its place.
            let later = self.granted.get(&hash).await;
            if later.is_none_or(|later| later.sid == grant.sid) {
                self.granted.invalidate(&hash).await;
            }
        }
        if let Some(refusal) = self.refused.get(&hash).await {
            return Err(refusal);
        }
        // However many send the same key at once: one question.
        let asked = self.granted.try_get_with_by_ref(&hash, self.ask(&hash)).await;
        let grant = asked.map_err(|refusal| *refusal)?;
        // What is true of the key by now may be on its way through the feed, and here before the answer.
        if self.revocations.contains(&grant.sid) {
            return Err(Refusal::Invalid);
        }
        Ok(grant)
    }

    async fn ask(&self, hash: &str) -> Result<Arc<ApiKeyGrant>, Refusal> {
        let answer = self.try_ask(hash).await;
        let (outcome, result) = match answer {
            Ok(Some(grant)) => ("granted", Ok(Arc::new(grant))),
            Ok(None) => ("refused", Err(Refusal::Invalid)),
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "auth-service could not be asked about an API key"
                );
                ("failed", Err(Refusal::Unknown))
            }
        };
        self.asked.with_label_values(&[outcome]).inc();
        if let Err(refusal) = &result {
            self.refused.insert(hash.to_owned(), *refusal).await;
        }
        result
    }

    async fn try_ask(&self, hash: &str) -> anyhow::Result<Option<ApiKeyGrant>> {
        let turn = timeout(TURN_WAIT, self.turns.acquire()).await;
        let _turn = turn.context("too many questions at once")??;
        let token = self.tokens.token("auth-service", self.clock.now())?;
        let request = self.client.post(&self.url).bearer_auth(token);
        let request = RequestContext::current().propagate(request.json(&json!({ "hash": hash })));
        let response = request.send().await.map_err(reqwest::Error::without_url)?;
        let status = response.status();
        anyhow::ensure!(status.as_u16() == 200, "it answered {status}");
        let answer: ApiKeyVerification = response.json().await.map_err(reqwest::Error::without_url)?;
        Ok(answer.key)
    }
}

/// Whether this can be a key at all; about anything else nobody is asked.
fn is_well_formed(key: &str) -> bool {
    let Some(secret) = key.strip_prefix(API_KEY_BEGINNING) else {
        return false;
    };
    // Longer ones are not even read.
    secret.len() == 43
        && URL_SAFE_NO_PAD
            .decode(secret)
            .is_ok_and(|bytes| bytes.len() == SECRET_BYTES)
}

fn hash_of(key: &str) -> String {
    use std::fmt::Write as _;
    let hash = digest(&SHA256, key.as_bytes());
    hash.as_ref()
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_key_is_asked_about() {
        let key = format!("fg-{}", URL_SAFE_NO_PAD.encode([7; SECRET_BYTES]));
        assert!(is_well_formed(&key));
        for bad in [
            "",
            "fg-",
            "fg-abc",
            &key[1..],
            &format!("{key}A"),
            &key.replace("fg-", "fg_"),
        ] {
            assert!(!is_well_formed(bad), "{bad}");
        }
        assert!(!is_well_formed(&format!("fg-{}", "!".repeat(43))));
    }

    #[test]
    fn hashes_are_those_of_the_standard() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash_of("abc"), known);
    }
}
