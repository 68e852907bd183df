//! Every way a request to this service can fail, and the one table that says how each is answered.

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{HeaderName, HeaderValue},
    },
};
use common_http::{FieldError, Problem};
use diesel::{ConnectionError, result::DatabaseErrorKind};
use diesel_async::pooled_connection::deadpool::PoolError;

use crate::domain::{credits::Credits, ledger::Refusal, pace};

/// A result of this service.
pub type Result<T> = std::result::Result<T, Error>;

/// When a request that found the service overloaded or without its database may try again.
const RETRY_AFTER_SECS: u64 = 1;

/// Every way a request can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request was read but its content is not valid.
    #[error("the request is not valid")]
    Invalid(Vec<FieldError>),
    /// The ledger says no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A deduction exceeds the balance. The documented answer is 400 here, where opening a session answers 402.
    #[error("Insufficient credits: {required} needed, {available} available")]
    Overdrawn {
        /// What was asked for.
        required: Credits,
        /// What can be spent.
        available: Credits,
    },
    /// Nobody is known by this id, name or address.
    #[error("there is no account of this user")]
    UserNotFound,
    /// The id has an account.
    #[error("an account of this user exists already")]
    AccountExists,
    /// The address is another account's.
    #[error("this e-mail address belongs to another account")]
    EmailTaken,
    /// Several accounts have this name.
    #[error("several accounts have this name; use the user id")]
    AmbiguousUsername,
    /// The model has no price of its own.
    #[error("this model has no price of its own")]
    PriceNotFound,
    /// The model has a price already.
    #[error("this model has a price; change it instead")]
    PriceExists,
    /// The default price can be changed, but there must be one.
    #[error("the default price cannot be removed, only changed")]
    DefaultPrice,
    /// No such rule, or not any more.
    #[error("there is no such rule")]
    RuleNotFound,
    /// Another rule has the name.
    #[error("another rule has this name")]
    RuleExists,
    /// There are as many rules as there may be.
    #[error("there are as many rules as there may be")]
    TooManyRules,
    /// No such message has been given up.
    #[error("there is no such dead letter")]
    DeadLetterNotFound,
    /// The idempotency key was used for something else.
    #[error("this Idempotency-Key was used for another request")]
    IdempotencyKeyReused,
    /// A request with this idempotency key is being worked on.
    #[error("a request with this Idempotency-Key is still being worked on; ask again")]
    IdempotencyInProgress,
    /// The caller may not see or do this for somebody else.
    #[error("your role does not allow this")]
    Forbidden,
    /// A supervisor has granted as much as they may.
    #[error("supervisors may grant {limit} credits {per}; ask an admin")]
    AllocationCap {
        /// The most.
        limit: i64,
        /// `at once` or `a day`.
        per: &'static str,
    },
    /// No allocation has this id.
    #[error("there is no such allocation")]
    AllocationNotFound,
    /// No hold has this id.
    #[error("there is no such hold")]
    HoldNotFound,
    /// The caller asks faster than they may.
    #[error("too many requests; wait a moment")]
    TooFast(pace::TooFast),
    /// More commands wait than the service is willing to keep.
    #[error("too many changes are waiting; try again")]
    QueueFull,
    /// The database cannot be reached, or not in time. Nothing has changed.
    #[error("the service cannot reach its database; nothing was changed")]
    Unavailable,
    /// The database went away during the commit.
    #[error("the database went away; repeat with the same Idempotency-Key to learn what became of it")]
    OutcomeUnknown,
    /// A row holds what no row should.
    #[error("{0} cannot be read")]
    Unreadable(&'static str),
    /// An answer could not be written as JSON.
    #[error("an answer could not be written")]
    Serialization(#[from] serde_json::Error),
    /// A query failed.
    #[error("the database query failed")]
    Query(#[from] diesel::result::Error),
    /// A connection could not be made.
    #[error("the database cannot be reached")]
    Connection(#[from] ConnectionError),
    /// No connection was free.
    #[error("no database connection was free")]
    Pool(#[from] PoolError),
}

impl Error {
    /// One member is not valid.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError {
            field: field.to_owned(),
            message: message.into(),
        }])
    }

    /// The status and the stable code of each error: the whole mapping, in one place.
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "validation_failed"),
            Self::Overdrawn { .. } => (StatusCode::BAD_REQUEST, "insufficient_credits"),
            Self::Refused(refusal) => match refusal {
                Refusal::InsufficientCredits { .. } => (StatusCode::PAYMENT_REQUIRED, "insufficient_credits"),
                Refusal::SessionExists => (StatusCode::CONFLICT, "session_exists"),
                Refusal::SessionNotFound => (StatusCode::NOT_FOUND, "session_not_found"),
                Refusal::SessionSettled { .. } => (StatusCode::CONFLICT, "session_settled"),
                Refusal::HoldNotDue => (StatusCode::CONFLICT, "hold_not_due"),
                Refusal::CaptureExceedsHold { .. } => (StatusCode::CONFLICT, "capture_exceeds_hold"),
                Refusal::AllocationHasLess { .. } => (StatusCode::CONFLICT, "allocation_has_less"),
                Refusal::AccountClosed => (StatusCode::CONFLICT, "account_closed"),
                Refusal::TooManyOpenHolds { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_open_holds"),
                Refusal::BalanceTooLarge => (StatusCode::BAD_REQUEST, "balance_too_large"),
            },
            Self::UserNotFound => (StatusCode::NOT_FOUND, "user_not_found"),
            Self::AccountExists => (StatusCode::CONFLICT, "account_exists"),
            Self::EmailTaken => (StatusCode::CONFLICT, "email_taken"),
            Self::AmbiguousUsername => (StatusCode::CONFLICT, "ambiguous_username"),
            Self::PriceNotFound => (StatusCode::NOT_FOUND, "price_not_found"),
            Self::PriceExists => (StatusCode::CONFLICT, "price_exists"),
            Self::DefaultPrice => (StatusCode::CONFLICT, "default_price"),
            Self::RuleNotFound => (StatusCode::NOT_FOUND, "rule_not_found"),
            Self::RuleExists => (StatusCode::CONFLICT, "rule_exists"),
            Self::TooManyRules => (StatusCode::CONFLICT, "too_many_rules"),
            Self::DeadLetterNotFound => (StatusCode::NOT_FOUND, "dead_letter_not_found"),
            Self::IdempotencyKeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
            Self::IdempotencyInProgress => (StatusCode::CONFLICT, "idempotency_in_progress"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Self::AllocationCap { .. } => (StatusCode::FORBIDDEN, "allocation_cap_exceeded"),
            Self::AllocationNotFound => (StatusCode::NOT_FOUND, "allocation_not_found"),
            Self::HoldNotFound => (StatusCode::NOT_FOUND, "hold_not_found"),
            Self::TooFast(_) => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Self::QueueFull => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            Self::Unavailable | Self::OutcomeUnknown | Self::Connection(_) | Self::Pool(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
            Self::Query(error) if is_connection_lost(error) => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
            Self::Query(_) | Self::Unreadable(_) | Self::Serialization(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        }
    }

    /// What the caller is told. Failures of our own all read alike; the log has the cause.
    fn detail(&self) -> String {
        let status = self.status_and_code().0;
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            "something went wrong on our side".to_owned()
        } else if matches!(self, Self::Query(_) | Self::Connection(_) | Self::Pool(_)) {
            Self::Unavailable.to_string()
        } else {
            self.to_string()
        }
    }

    /// The answer.
    fn problem(&self) -> Problem {
        let (status, code) = self.status_and_code();
        if let Self::Invalid(errors) = self {
            return Problem::invalid(status, errors.clone());
        }
        let mut problem = Problem::new(status, code, self.detail());
        if let Self::Refused(Refusal::InsufficientCredits { required, available })
        | Self::Overdrawn { required, available } = self
        {
            problem = problem
                .with("required", required.get())
                .with("available", available.get());
        }
        if let Self::Refused(Refusal::TooManyOpenHolds { limit }) = self {
            problem = problem.with("limit", *limit);
        }
        if let Self::Refused(Refusal::CaptureExceedsHold { requested, held }) = self {
            problem = problem
                .with("requested", requested.get())
                .with("held", held.get());
        }
        if let Self::Refused(Refusal::SessionSettled { captured, .. }) = self {
            problem = problem.with("actualCredits", captured.get());
        }
        if let Self::Refused(Refusal::AllocationHasLess { remaining }) = self {
            problem = problem.with("remaining", remaining.get());
        }
        if let Self::AllocationCap { limit, .. } = self {
            problem = problem.with("limit", *limit);
        }
        if matches!(self, Self::IdempotencyInProgress)
            || matches!(
                status,
                StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
            )
        {
            problem = problem.retry_after(RETRY_AFTER_SECS);
        }
        if let Self::TooFast(too_fast) = self {
            problem = problem.retry_after(too_fast.retry_after_secs());
        }
        problem
    }
}

/// Whether the query failed with its connection, or because the server is being restarted: the next try may succeed.
/// The driver has no kind of its own for the server's "shutting down" and its like.
fn is_connection_lost(error: &diesel::result::Error) -> bool {
    if let diesel::result::Error::DatabaseError(kind, _) = error {
        return matches!(
            kind,
            DatabaseErrorKind::UnableToSendCommand
                | DatabaseErrorKind::ClosedConnection
                | DatabaseErrorKind::Unknown
        );
    }
    matches!(error, diesel::result::Error::BrokenTransactionManager)
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        self.status_and_code().0
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = self.problem().error_response();
        if let Self::TooFast(too_fast) = self {
            for (name, value) in too_fast.headers() {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    response
                        .headers_mut()
                        .insert(HeaderName::from_static(name), value);
                }
            }
        }
        response
    }
}
