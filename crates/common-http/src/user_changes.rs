//! What happens to accounts, and the feed that tells of it.
//!
//! auth-service publishes `GET /internal/user-changes?since=<cursor>&wait=<seconds>`: everything that happened, in
//! one order, kept for months. The others follow it by long poll and keep their cursor in their own database, so that
//! an outage of days loses nothing. A change may be told twice; whoever takes it in must not mind.

use std::time::Duration;

use anyhow::Context as _;
use prometheus::{IntCounterVec, IntGauge, Opts};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, metrics::Metrics, service_tokens::ServiceTokens};

/// How long auth-service may hold a poll open when there is nothing to tell.
const WAIT_SECS: u64 = 20;

/// How soon a failed poll, or one whose changes could not be taken in, is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// What happened to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserChangeKind {
    /// It is gone; nothing personal may stay.
    Deleted,
    /// Its owner may use nothing until it is enabled.
    Disabled,
    /// Its owner may use what they may use again.
    Enabled,
    /// Name, address or role are others now.
    Updated,
    /// Something that this version does not know.
    #[serde(other)]
    Unknown,
}

impl UserChangeKind {
    /// The word for it in the feed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::Updated => "updated",
            Self::Unknown => "unknown",
        }
    }
}

/// One change. The account is described as it is afterwards; of a deleted one nothing is told but its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserChangeBody {
    /// Whose account.
    pub id: String,
    /// What happened.
    pub kind: UserChangeKind,
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// When, as RFC 3339.
    pub at: String,
}

/// An answer of the feed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserChangesBody {
    /// Where the next poll begins.
    pub cursor: String,
    /// What happened since the cursor that was asked for, in order.
    pub changes: Vec<UserChangeBody>,
}

/// Follows auth-service's feed.
#[derive(Clone, Debug)]
pub struct UserChangeFeed {
    url: String,
    client: reqwest::Client,
    tokens: ServiceTokens,
    clock: Clock,
    up: IntGauge,
    taken_in: IntCounterVec,
}

impl UserChangeFeed {
    /// A follower of the feed at `auth_url`, the service's base address.
    pub fn new(
        auth_url: &str,
        tokens: ServiceTokens,
        clock: Clock,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let up = IntGauge::new(
            "user_change_feed_up",
            "Whether the last poll of the feed of user changes succeeded and was taken in.",
        )?;
        let taken_in = IntCounterVec::new(
            Opts::new("user_changes_total", "Changes of accounts taken in, by kind."),
            &["kind"],
        )?;
        metrics.register(up.clone())?;
        metrics.register(taken_in.clone())?;
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .timeout(Duration::from_secs(WAIT_SECS + 5))
            .build()?;
        let url = format!("{}/internal/user-changes", auth_url.trim_end_matches('/'));
        Ok(Self {
            url,
            client,
            tokens,
            clock,
            up,
            taken_in,
        })
    }

    /// Follows from `cursor` until `stop`. `take_in` does what the changes ask for and keeps the new cursor; as long as
    /// it fails it is given the same changes again.
    pub async fn follow<F, Taken>(self, mut cursor: String, take_in: F, stop: CancellationToken)
    where
        F: Fn(UserChangesBody) -> Taken,
        Taken: Future<Output = anyhow::Result<()>>,
    {
        let follow = async {
            // An outage is told once, however long it lasts and however early it begins.
            let mut told = false;
            loop {
                match self.step(&cursor, &take_in).await {
                    Ok(next) => {
                        if self.up.get() == 0 {
                            tracing::info!("feed of user changes is being followed");
                        }
                        told = false;
                        self.up.set(1);
                        cursor = next;
                    }
                    Err(error) => {
                        if !told {
                            tracing::warn!(
                                error = format!("{error:#}"),
                                "feed of user changes cannot be followed; trying on"
                            );
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

    async fn step<F, Taken>(&self, cursor: &str, take_in: &F) -> anyhow::Result<String>
    where
        F: Fn(UserChangesBody) -> Taken,
        Taken: Future<Output = anyhow::Result<()>>,
    {
        let token = self.tokens.token("auth-service", self.clock.now())?;
        let response = self
            .client
            .get(&self.url)
            .query(&[("since", cursor), ("wait", &WAIT_SECS.to_string())])
            .bearer_auth(token)
            .send()
            .await?
            .error_for_status()?;
        let body: UserChangesBody = response.json().await?;
        if body.changes.is_empty() && body.cursor == cursor {
            return Ok(body.cursor);
        }
        let next = body.cursor.clone();
        let kinds: Vec<_> = body.changes.iter().map(|change| change.kind).collect();
        take_in(body).await.context("changes could not be taken in")?;
        for kind in kinds {
            self.taken_in.with_label_values(&[kind.as_str()]).inc();
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_a_later_version_is_no_reason_to_stop() {
        let text = r#"{"id":"a","kind":"renounced","at":"2026-01-01T00:00:00.000Z"}"#;
        let change: UserChangeBody = serde_json::from_str(text).unwrap();
        assert_eq!(change.kind, UserChangeKind::Unknown);
        assert_eq!(change.username, None);
    }
}
