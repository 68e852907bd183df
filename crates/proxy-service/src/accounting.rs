//! A client of accounting-service for the credits of one turn: hold, then capture or void.
//!
//! It speaks with this service's own identity (decision D5), so that nobody settles their own turn, and a turn may
//! outlast the access token it began with. Each call carries an idempotency key made of the turn's id, so that sending
//! it again is always safe.

use std::time::Duration;

use chrono::{DateTime, Utc};
use common_http::{CurrentUser, RequestContext, ServiceTokens};
use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};
use url::Url;

use crate::domain::{payment::Settlement, turn::Due};

const AUDIENCE: &str = "accounting-service";

/// A connection that takes longer to open will not open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long somebody who asks waits for the hold.
const HOLD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the end of a stream waits for the settlement before the outbox takes over.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// actix closes connections that were idle for 5 s; one that is closing must not get a request.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);

const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Holds and settles credits.
#[derive(Clone, Debug)]
pub(crate) struct Accounting {
    http: reqwest::Client,
    sessions: String,
    tokens: ServiceTokens,
}

/// Why there is no hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HoldRefused {
    /// The user cannot pay.
    Insufficient { required: i64, available: i64 },
    /// The user has too many turns open.
    TooMany { retry_after_secs: u64 },
    /// It was certainly not made.
    Unavailable,
    /// It may have been made: the answer was lost.
    Unknown,
}

/// Why a settlement must be tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettleError {
    /// No answer.
    #[error("accounting-service cannot be reached")]
    Unreachable(#[source] reqwest::Error),
    /// An answer that does not settle anything.
    #[error("accounting-service answered {0}")]
    Status(StatusCode),
    /// Our own token could not be made.
    #[error("the service token could not be signed")]
    Token(#[from] common_jwt::SigningError),
}

impl From<reqwest::Error> for SettleError {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(error.without_url())
    }
}

impl Accounting {
    /// A client of the service at `base`.
    pub(crate) fn new(base: &Url, tokens: ServiceTokens) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let base = base.as_str().trim_end_matches('/');
        Ok(Self {
            http,
            sessions: format!("{base}/api/streaming-sessions"),
            tokens,
        })
    }

    /// Holds `credits` for the turn `turn_id` on the chatflow `chatflow_id`.
    pub(crate) async fn hold(
        &self,
        turn_id: &str,
        user: &CurrentUser,
        chatflow_id: &str,
        credits: i64,
        now: DateTime<Utc>,
    ) -> Result<(), HoldRefused> {
        let body = json!({
            "sessionId": turn_id,
            "userId": user.id,
            "username": user.username,
            "email": user.email,
            "role": user.role,
            "modelId": chatflow_id,
            "credits": credits,
        });
        let request = self.request("initialize", &format!("{turn_id}:hold"), &body, now);
        let request = request.map_err(|error| {
            tracing::error!(%error, "no hold");
            HoldRefused::Unavailable
        })?;
        let response = match request.timeout(HOLD_TIMEOUT).send().await {
            Ok(response) => response,
            Err(error) => {
                let never_sent = error.is_connect();
                tracing::warn!(error = %error.without_url(), never_sent, "accounting-service gave no answer");
                return Err(if never_sent {
                    HoldRefused::Unavailable
                } else {
                    HoldRefused::Unknown
                });
            }
        };
        refusal_of(response).await.map_or(Ok(()), Err)
    }

    /// Tells what becomes of a turn's hold. Ok also when that had been told before, or there never was a hold.
    pub(crate) async fn settle(&self, due: &Due, now: DateTime<Utc>) -> Result<(), SettleError> {
        let (path, kind, body) = match due.settlement {
            Settlement::Nothing => return Ok(()),
            Settlement::Void => (
                "abort",
                "void",
                json!({ "sessionId": due.id, "userId": due.user_id, "credits": 0 }),
            ),
            Settlement::Capture(credits) => ("finalize", "capture", capture_body(due, credits)),
        };
        let request = self.request(path, &format!("{}:{kind}", due.id), &body, now)?;
        let response = request.timeout(SETTLE_TIMEOUT).send().await?;
        match (response.status(), due.settlement) {
            (status, _) if status.is_success() => {
                read_body(response).await;
                Ok(())
            }
            // Settled before (by another replica, or the sweep of expired holds), or never made.
            (StatusCode::NOT_FOUND, Settlement::Void) => Ok(()),
            (status @ (StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::GONE), settlement) => {
                let body = read_body(response).await;
                match body["code"].as_str() {
                    Some(code @ ("session_not_found" | "session_settled" | "session_expired")) => {
                        tracing::warn!(
                            turn_id = due.id,
                            code,
                            ?settlement,
                            "the hold was settled otherwise"
                        );
                        Ok(())
                    }
                    _ => Err(SettleError::Status(status)),
                }
            }
            (status, _) => Err(SettleError::Status(status)),
        }
    }

    fn request(
        &self,
        path: &str,
        key: &str,
        body: &Value,
        now: DateTime<Utc>,
    ) -> Result<RequestBuilder, common_jwt::SigningError> {
        let request = self
            .http
            .post(format!("{}/{path}", self.sessions))
            .bearer_auth(self.tokens.token(AUDIENCE, now)?)
            .header("idempotency-key", key)
            .json(body);
        Ok(RequestContext::current().propagate(request))
    }
}

fn capture_body(due: &Due, credits: i64) -> Value {
    json!({
        "sessionId": due.id,
        "userId": due.user_id,
        "actualCredits": credits,
        "success": due.success,
        "usage": {
            "service": "chat",
            "operation": due.chatflow_id,
            "metadata": {
                "success": due.success,
                "user_id_source": due.user_id,
                "original_operation_details": due.chatflow_id,
                "total_tokens": due.total_tokens,
            },
        },
    })
}

async fn refusal_of(response: Response) -> Option<HoldRefused> {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    match status {
        status if status.is_success() => {
            read_body(response).await;
            None
        }
        StatusCode::PAYMENT_REQUIRED => {
            let body = read_body(response).await;
            let credits = |member: &str| body[member].as_i64().unwrap_or_default();
            Some(HoldRefused::Insufficient {
                required: credits("required"),
                available: credits("available"),
            })
        }
        StatusCode::TOO_MANY_REQUESTS => Some(HoldRefused::TooMany {
            retry_after_secs: retry_after.unwrap_or(1),
        }),
        status if status.is_client_error() && status != StatusCode::CONFLICT => {
            tracing::error!(%status, "accounting-service refused to hold credits");
            Some(HoldRefused::Unavailable)
        }
        status => {
            tracing::warn!(%status, "accounting-service failed to hold credits");
            Some(HoldRefused::Unknown)
        }
    }
}

/// The body, or null when it is no JSON of ours. An answer that is not read would cost its connection.
async fn read_body(mut response: Response) -> Value {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Value::Null;
        }
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(&bytes).unwrap_or_default()
}
