//! Sessions that have ended before their tokens did, and the feed that tells of them (decision D4).
//!
//! auth-service publishes `GET /internal/revocations?since=<cursor>&wait=<seconds>`; the others follow it by long poll
//! into memory. If auth-service is away they go on with what they know, and say so in a metric.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use prometheus::IntGauge;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, metrics::Metrics, service_tokens::ServiceTokens};

/// How long auth-service may hold a poll open when there is nothing to tell.
const WAIT_SECS: u64 = 20;

/// How soon a failed poll is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// One ended session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevocationBody {
    /// The session.
    pub sid: String,
    /// When the last access token of the session expires, in seconds since 1970; it need not be remembered longer.
    pub expires_at: i64,
}

/// An answer of the feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevocationsBody {
    /// Where the next poll begins.
    pub cursor: String,
    /// What has been revoked since the cursor that was asked for; repeats are harmless.
    pub revocations: Vec<RevocationBody>,
}

/// The ended sessions this service knows of.
#[derive(Clone, Debug, Default)]
pub struct RevocationSet {
    sessions: Arc<RwLock<HashMap<String, i64>>>,
}

impl RevocationSet {
    /// Whether the session has ended.
    pub fn contains(&self, session_id: &str) -> bool {
        self.sessions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(session_id)
    }

    /// Adds ended sessions and forgets those whose tokens have all expired.
    pub fn extend(&self, revocations: impl IntoIterator<Item = RevocationBody>, now_secs: i64) {
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        sessions.extend(
            revocations
                .into_iter()
                .map(|revocation| (revocation.sid, revocation.expires_at)),
        );
        sessions.retain(|_, expires_at| *expires_at + common_jwt::LEEWAY_SECS >= now_secs);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Follows auth-service's feed.
#[derive(Clone, Debug)]
pub struct RevocationFeed {
    url: String,
    client: reqwest::Client,
    tokens: ServiceTokens,
    set: RevocationSet,
    clock: Clock,
    up: IntGauge,
    known: IntGauge,
}

impl RevocationFeed {
    /// A follower of the feed at `auth_url` (the service's base address) that fills `set`.
    pub fn new(
        auth_url: &str,
        tokens: ServiceTokens,
        set: RevocationSet,
        clock: Clock,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let up = IntGauge::new(
            "revocation_feed_up",
            "Whether the last poll of the revocation feed succeeded.",
        )?;
        let known = IntGauge::new("revocations_known", "Ended sessions held in memory.")?;
        metrics.register(up.clone())?;
        metrics.register(known.clone())?;
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(WAIT_SECS + 5))
            .build()?;
        let url = format!("{}/internal/revocations", auth_url.trim_end_matches('/'));
        Ok(Self {
            url,
            client,
            tokens,
            set,
            clock,
            up,
            known,
        })
    }

    /// Follows until `stop`.
    pub async fn follow(self, stop: CancellationToken) {
        let follow = async {
            let mut cursor = String::new();
            // An outage is told once, however long it lasts and however early it begins.
            let mut told = false;
            loop {
                match self.poll(&cursor).await {
                    Ok(next) => {
                        if self.up.get() == 0 {
                            tracing::info!("revocation feed is being followed");
                        }
                        told = false;
                        self.up.set(1);
                        cursor = next;
                    }
                    Err(error) => {
                        if !told {
                            tracing::warn!(%error, "revocation feed is away; going on with what is known");
                        }
                        told = true;
                        self.up.set(0);
                        tokio::time::sleep(RETRY).await;
                    }
                }
            }
        };
        tokio::select! {
            () = follow => {}
            () = stop.cancelled() => {}
        }
    }

    async fn poll(&self, cursor: &str) -> anyhow::Result<String> {
        let now = self.clock.now();
        let token = self.tokens.token("auth-service", now)?;
        let response = self
            .client
            .get(&self.url)
            .query(&[("since", cursor), ("wait", &WAIT_SECS.to_string())])
            .bearer_auth(token)
            .send()
            .await?
            .error_for_status()?;
        let body: RevocationsBody = response.json().await?;
        self.set.extend(body.revocations, self.clock.now().timestamp());
        self.known.set(i64::try_from(self.set.len()).unwrap_or(i64::MAX));
        Ok(body.cursor)
    }
}
