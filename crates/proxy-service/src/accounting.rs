//! A client of accounting-service for the credits of one turn: hold, then capture or void.
//!
//! It speaks with this service's own identity (decision D5), so that nobody settles their own turn, and a turn may
//! outlast the access token it began with. Each call carries an idempotency key made of the turn's id, so that sending
//! it again is always safe.

use std::time::Duration;

use chrono::{DateTime, Utc};
use common_http::{CurrentUser, RequestContext, ServiceTokens};
use common_jwt::Role;
use reqwest::{RequestBuilder, Response, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use crate::domain::{
    chatflow::{Chatflow, Price},
    embed::is_operation,
    payment::Settlement,
    turn::Due,
};

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

/// Whose credits are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payer {
    pub(crate) id: String,
    pub(crate) username: String,
    pub(crate) email: String,
    pub(crate) role: Role,
}

impl From<CurrentUser> for Payer {
    fn from(user: CurrentUser) -> Self {
        Self {
            id: user.id,
            username: user.username,
            email: user.email,
            role: user.role,
        }
    }
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
    /// It is settled, but the answer does not say what was paid. Asked again, it will.
    #[error("accounting-service did not say what was paid")]
    Unreadable,
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

    /// Holds what the turn `turn_id` on `chatflow` may cost, and says how much that is.
    pub(crate) async fn hold(
        &self,
        turn_id: &str,
        payer: &Payer,
        chatflow: &Chatflow,
        now: DateTime<Utc>,
    ) -> Result<i64, HoldRefused> {
        let mut body = json!({
            "sessionId": turn_id,
            "userId": payer.id,
            "username": payer.username,
            "email": payer.email,
            "role": payer.role,
        });
        match &chatflow.price {
            Price::Flat(credits) => {
                body["modelId"] = json!(chatflow.flowise_id);
                body["credits"] = json!(credits);
            }
            Price::ByUsage(usage) => {
                body["modelId"] = json!(usage.model_id);
                body["estimatedTokens"] = json!(usage.estimated_tokens);
            }
        }
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
        let answer = hold_or_refusal(response).await?;
        match (answer["allocatedCredits"].as_i64(), &chatflow.price) {
            (Some(held), _) => Ok(held),
            (None, Price::Flat(credits)) => Ok(*credits),
            (None, Price::ByUsage(_)) => Err(HoldRefused::Unknown),
        }
    }

    /// Tells what becomes of a turn's hold, and says what was paid. Ok also when that had been told before, or there never
    /// was a hold.
    pub(crate) async fn settle(&self, due: &Due, now: DateTime<Utc>) -> Result<i64, SettleError> {
        let (path, kind, body) = match due.settlement {
            Settlement::Nothing => return Ok(0),
            Settlement::Void => (
                "abort",
                "void",
                json!({ "sessionId": due.id, "userId": due.user_id, "credits": 0 }),
            ),
            Settlement::Capture(credits) => ("finalize", "capture", {
                capture_body(due, "actualCredits", credits)
            }),
            Settlement::CaptureTokens(tokens) => ("finalize", "capture", {
                capture_body(due, "actualTokens", tokens)
            }),
        };
        let request = self.request(path, &settlement_key(due, kind, &body), &body, now)?;
        let response = request.timeout(SETTLE_TIMEOUT).send().await?;
        let status = response.status();
        let answer = read_body(response).await;
        let paid = answer["actualCredits"].as_i64();
        if status.is_success() {
            let paid = paid.filter(|_| due.settlement.is_capture());
            return paid.or(due.settlement.cost()).ok_or(SettleError::Unreadable);
        }
        match (status, answer["code"].as_str()) {
            // Voided before by the sweep of expired holds, or never made.
            (StatusCode::NOT_FOUND, _) if due.settlement == Settlement::Void => Ok(0),
            (
                StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::GONE,
                Some(code @ ("session_not_found" | "session_settled" | "session_expired")),
            ) => {
                let paid = if code == "session_settled" { paid } else { Some(0) };
                let settlement = due.settlement;
                tracing::warn!(
                    turn_id = due.id,
                    code,
                    ?settlement,
                    paid,
                    "the hold was settled otherwise"
                );
                Ok(paid.or(settlement.cost()).unwrap_or(due.held))
            }
            _ => Err(SettleError::Status(status)),
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

/// The idempotency key of a settlement: of this turn, this end, and what is said of it. Whoever takes a turn over may know
/// less of it than a process that told accounting-service and died before it could write that down; then it says
/// something else, which is another request. The hold ends once all the same.
fn settlement_key(due: &Due, kind: &str, body: &Value) -> String {
    let digest = Sha256::digest(body.to_string());
    let start = digest.iter().take(8);
    let start = start.fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    format!("{}:{kind}:{start:016x}", due.id)
}

fn capture_body(due: &Due, member: &str, actual: i64) -> Value {
    json!({
        "sessionId": due.id,
        "userId": due.user_id,
        member: actual,
        "success": due.success,
        "usage": {
            "service": if is_operation(&due.chatflow_id) { "widget" } else { "chat" },
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

/// What accounting-service says of the hold it made.
async fn hold_or_refusal(response: Response) -> Result<Value, HoldRefused> {
    let status = response.status();
    let retry_after = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    match status {
        status if status.is_success() => Ok(read_body(response).await),
        StatusCode::PAYMENT_REQUIRED => {
            let body = read_body(response).await;
            let credits = |member: &str| body[member].as_i64().unwrap_or_default();
            Err(HoldRefused::Insufficient {
                required: credits("required"),
                available: credits("available"),
            })
        }
        StatusCode::TOO_MANY_REQUESTS => Err(HoldRefused::TooMany {
            retry_after_secs: retry_after.unwrap_or(1),
        }),
        status if status.is_client_error() && status != StatusCode::CONFLICT => {
            tracing::error!(%status, "accounting-service refused to hold credits");
            Err(HoldRefused::Unavailable)
        }
        status => {
            tracing::warn!(%status, "accounting-service failed to hold credits");
            Err(HoldRefused::Unknown)
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
