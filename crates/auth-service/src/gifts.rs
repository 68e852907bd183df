//! Gives people credits and chatflows at the services that keep them, with this service's own identity (decision D5).
//!
//! Giving credits carries an idempotency key made of the user's id, so sending it again is safe for as long as
//! accounting-service remembers keys; giving a chatflow twice is giving it once.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use common_http::{RequestContext, ServiceTokens};
use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::domain::user::UserId;

const ACCOUNTING: &str = "accounting-service";
const PROXY: &str = "proxy-service";

/// A connection that takes longer to open will not open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Proxy-service looks up each of many people meanwhile.
const TIMEOUT: Duration = Duration::from_secs(30);

/// actix closes connections that were idle for 5 s; one that is closing must not get a request.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// A service that could not be reached is left alone for so long.
const REST: Duration = Duration::from_secs(5);

/// What one answer may hold: a line for each person.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// People that proxy-service takes in one request.
pub(crate) const PEOPLE_MAX: usize = 500;

/// The two services.
#[derive(Clone, Debug)]
pub(crate) struct Gifts {
    http: reqwest::Client,
    accounting: Neighbour,
    proxy: Neighbour,
    tokens: ServiceTokens,
}

#[derive(Clone, Debug)]
struct Neighbour {
    base: Option<Url>,
    /// Until when it is not asked.
    rests_until: Arc<Mutex<Option<Instant>>>,
}

/// What became of a gift of credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// It was made, now or before.
    Made,
    /// It was certainly not made by this attempt.
    NotMade,
    /// Nobody knows: the answer was lost.
    Unknown,
}

#[derive(Deserialize)]
struct Assigned {
    failed_assignments: Vec<Failed>,
}

#[derive(Deserialize)]
struct Failed {
    email: String,
    message: String,
}

impl Gifts {
    /// Gives at the services at these addresses.
    pub(crate) fn new(
        accounting: Option<Url>,
        proxy: Option<Url>,
        tokens: ServiceTokens,
    ) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            http,
            accounting: Neighbour::new(accounting),
            proxy: Neighbour::new(proxy),
            tokens,
        })
    }

    /// Whether there is somebody to give credits.
    pub(crate) fn knows_accounting(&self) -> bool {
        self.accounting.base.is_some()
    }

    /// Whether there is somebody to give chatflows.
    pub(crate) fn knows_proxy(&self) -> bool {
        self.proxy.base.is_some()
    }

    /// Gives a new user credits, once however often it is called.
    pub(crate) async fn give_credits(&self, user_id: UserId, credits: u64, now: DateTime<Utc>) -> Given {
        let Some(url) = self.accounting.url(&["api", "credits", "allocate"]) else {
            return Given::NotMade;
        };
        let body = json!({ "userId": user_id.to_string(), "credits": credits, "notes": "import" });
        let request = self
            .http
            .post(url)
            .header("idempotency-key", format!("import:{user_id}"));
        let Some(request) = self.signed(request.json(&body), ACCOUNTING, now) else {
            return Given::NotMade;
        };
        match request.send().await {
            Ok(response) => given(response.status()),
            Err(error) => {
                let never_sent = error.is_connect();
                tracing::warn!(error = %error.without_url(), never_sent, "accounting-service gave no answer");
                self.accounting.rest();
                if never_sent {
                    Given::NotMade
                } else {
                    Given::Unknown
                }
            }
        }
    }

    /// Gives a chatflow to people by their addresses; returns those who do not have it yet.
    pub(crate) async fn give_chatflow(
        &self,
        chatflow: &str,
        emails: &[&str],
        now: DateTime<Utc>,
    ) -> HashSet<String> {
        let nobody = || emails.iter().map(|email| (*email).to_owned()).collect();
        let path = ["api", "v1", "admin", "chatflows", chatflow, "users", "bulk-add"];
        let Some(url) = self.proxy.url(&path) else {
            return nobody();
        };
        let request = self.http.post(url).json(&json!({ "emails": emails }));
        let Some(request) = self.signed(request, PROXY, now) else {
            return nobody();
        };
        match failures(request).await {
            Ok(failed) => {
                if let Some(first) = failed.first() {
                    tracing::warn!(
                        chatflow,
                        count = failed.len(),
                        reason = first.message,
                        "not everybody was given the chatflow"
                    );
                }
                failed
                    .into_iter()
                    .map(|failed| failed.email.to_lowercase())
                    .collect()
            }
            Err(reason) => {
                tracing::warn!(%reason, chatflow, "proxy-service did not give the chatflow");
                if matches!(reason, NotGiven::NoAnswer(_)) {
                    self.proxy.rest();
                }
                nobody()
            }
        }
    }

    fn signed(
        &self,
        request: RequestBuilder,
        audience: &'static str,
        now: DateTime<Utc>,
    ) -> Option<RequestBuilder> {
        match self.tokens.token(audience, now) {
            Ok(token) => Some(RequestContext::current().propagate(request.bearer_auth(token))),
            Err(error) => {
                tracing::error!(%error, audience, "a service token could not be signed");
                None
            }
        }
    }
}

/// Why nobody was given a chatflow.
#[derive(Debug, thiserror::Error)]
enum NotGiven {
    #[error("no answer: {0}")]
    NoAnswer(reqwest::Error),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("the answer is not what was documented")]
    Answer,
}

impl From<reqwest::Error> for NotGiven {
    fn from(error: reqwest::Error) -> Self {
        Self::NoAnswer(error.without_url())
    }
}

async fn failures(request: RequestBuilder) -> Result<Vec<Failed>, NotGiven> {
    let mut response = request.send().await?;
    if response.status() != StatusCode::OK {
        return Err(NotGiven::Status(response.status()));
    }
    let mut text = Vec::new();
    while let Some(piece) = response.chunk().await? {
        if text.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(NotGiven::Answer);
        }
        text.extend_from_slice(&piece);
    }
    let assigned: Assigned = serde_json::from_slice(&text).or(Err(NotGiven::Answer))?;
    Ok(assigned.failed_assignments)
}

/// A refusal was not carried out; a failure may have been.
fn given(status: StatusCode) -> Given {
    if status.is_success() {
        return Given::Made;
    }
    tracing::warn!(%status, "accounting-service did not give the credits");
    if status.is_client_error() {
        Given::NotMade
    } else {
        Given::Unknown
    }
}

impl Neighbour {
    fn new(base: Option<Url>) -> Self {
        Self {
            base,
            rests_until: Arc::default(),
        }
    }

    /// The address of `path`; `None` when there is no such service, or it could not be reached a moment ago.
    fn url(&self, path: &[&str]) -> Option<Url> {
        let rests_until = *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner);
        if rests_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let mut url = self.base.clone()?;
        url.path_segments_mut().ok()?.pop_if_empty().extend(path);
        Some(url)
    }

    fn rest(&self) {
        *self.rests_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + REST);
    }
}
