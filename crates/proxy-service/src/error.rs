//! Every way a request to the proxy-service can fail, and the one table of statuses and codes.

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use common_http::{FieldError, Problem};

use crate::domain::{ask::Invalid, failure::Failure};

/// Every way a request to the proxy-service can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No active assignment to an existing chatflow; the two are not told apart.
    #[error("Access denied to this chatflow")]
    ChatflowAccessDenied,
    /// An admin named a chatflow that does not exist.
    #[error("Chatflow not found")]
    ChatflowNotFound,
    /// The session does not exist, or belongs to somebody else or another chatflow; these are not told apart.
    #[error("Chat session not found or access denied")]
    SessionNotFound,
    /// A member of the request is not valid.
    #[error("{}: {}", .0.field, .0.message)]
    Invalid(FieldError),
    /// A database call failed.
    #[error("the database call failed")]
    Database(#[from] mongodb::error::Error),
    /// A session is not named by a UUID.
    #[error("Invalid sessionId format. Must be a valid UUID.")]
    SessionIdInvalid,
    /// A turn of this session is running, or of one of the sessions to be deleted.
    #[error("a message of this conversation is still being answered")]
    TurnRunning,
    /// The user has as many turns running as anybody may.
    #[error("too many messages are being answered at once; at most {max} may be")]
    TooManyTurns {
        /// How many.
        max: usize,
    },
    /// The same request is being worked on.
    #[error("the request with this Idempotency-Key is still being worked on")]
    IdempotencyInProgress,
    /// Another request had this key.
    #[error("this Idempotency-Key was used for another request")]
    IdempotencyKeyReused,
    /// The user cannot pay the turn.
    #[error("Insufficient credits")]
    InsufficientCredits {
        /// What it costs.
        required: i64,
        /// What is left.
        available: i64,
    },
    /// The user holds credits for as many turns as anybody may.
    #[error("too many turns are waiting to be paid")]
    TooManyOpenHolds {
        /// When to come back.
        retry_after_secs: u64,
    },
    /// Credits could not be held. There is no free chat.
    #[error("credits cannot be checked at the moment; try again")]
    AccountingUnavailable,
    /// The service takes no new turns.
    #[error("the service is being restarted; try again")]
    Stopping,
    /// A turn has no whole answer, and its caller wanted nothing less.
    #[error("the turn failed ({})", .0.code())]
    TurnFailed(Failure),
}

/// What a request handler returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A problem with one member of the request.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(FieldError {
            field: field.into(),
            message: message.into(),
        })
    }

    /// The status and the stable code of each error: the whole mapping, in one place.
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::ChatflowAccessDenied => (StatusCode::FORBIDDEN, "chatflow_access_denied"),
            Self::ChatflowNotFound => (StatusCode::NOT_FOUND, "chatflow_not_found"),
            Self::SessionNotFound => (StatusCode::NOT_FOUND, "session_not_found"),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "validation_failed"),
            Self::Database(_) => (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable"),
            Self::SessionIdInvalid => (StatusCode::BAD_REQUEST, "invalid_session_id"),
            Self::TurnRunning => (StatusCode::CONFLICT, "turn_running"),
            Self::TooManyTurns { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_turns"),
            Self::IdempotencyInProgress => (StatusCode::CONFLICT, "idempotency_in_progress"),
            Self::IdempotencyKeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
            Self::InsufficientCredits { .. } => (StatusCode::PAYMENT_REQUIRED, "insufficient_credits"),
            Self::TooManyOpenHolds { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_open_holds"),
            Self::AccountingUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "accounting_unavailable"),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "service_stopping"),
            Self::TurnFailed(failure) => (status_of(*failure), failure.code()),
        }
    }

    /// The answer. A failure of ours says nothing about our inside.
    fn problem(&self) -> Problem {
        let (status, code) = self.status_and_code();
        match self {
            Self::Invalid(field) => Problem::invalid(status, vec![field.clone()]),
            Self::Database(_) => {
                Problem::new(status, code, "the service cannot reach its database; try again").retry_after(1)
            }
            Self::InsufficientCredits { required, available } => Problem::new(status, code, self.to_string())
                .with("required", *required)
                .with("available", *available),
            Self::TooManyOpenHolds { retry_after_secs } => {
                Problem::new(status, code, self.to_string()).retry_after(*retry_after_secs)
            }
            Self::TooManyTurns { .. }
            | Self::IdempotencyInProgress
            | Self::AccountingUnavailable
            | Self::Stopping => Problem::new(status, code, self.to_string()).retry_after(1),
            Self::TurnFailed(failure) => Problem::new(status, code, failure.sentence()),
            Self::ChatflowAccessDenied
            | Self::ChatflowNotFound
            | Self::SessionNotFound
            | Self::SessionIdInvalid
            | Self::TurnRunning
            | Self::IdempotencyKeyReused => Problem::new(status, code, self.to_string()),
        }
    }
}

/// What a caller who wanted a whole answer does next: wait (503, 504) or tell somebody (502).
const fn status_of(failure: Failure) -> StatusCode {
    match failure {
        Failure::HeaderTimeout | Failure::IdleTimeout | Failure::TooLong | Failure::Abandoned => {
            StatusCode::GATEWAY_TIMEOUT
        }
        Failure::Unreachable
        | Failure::RateLimited
        | Failure::Stopping
        | Failure::Storage
        | Failure::NotAsked => StatusCode::SERVICE_UNAVAILABLE,
        Failure::Refused
        | Failure::Failed
        | Failure::NotAnAnswer
        | Failure::Broken
        | Failure::TooLarge
        | Failure::Reported
        | Failure::Empty => StatusCode::BAD_GATEWAY,
    }
}

impl From<Invalid> for Error {
    fn from(invalid: Invalid) -> Self {
        match invalid {
            Invalid::SessionId => Self::SessionIdInvalid,
            Invalid::Member { field, message } => Self::invalid(field, message),
        }
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        self.status_and_code().0
    }

    fn error_response(&self) -> HttpResponse {
        self.problem().error_response()
    }
}
