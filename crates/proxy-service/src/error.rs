//! Every way a request to the proxy-service can fail, and the one table of statuses and codes.

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use common_http::{FieldError, Problem};

use crate::{domain::person::Email, upstream::Failure};

/// Every way a request to the proxy-service can fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
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
    /// The chatflow has no settings for a chat window.
    #[error("Chatflow configuration not found")]
    ChatflowConfigNotFound,
    /// auth-service knows nobody with this address.
    #[error("User with email '{}' not found in external system.", .0.as_str())]
    UserNotFound(Email),
    /// Nobody with this address has the chatflow.
    #[error("Active assignment for this user and chatflow not found.")]
    AssignmentNotFound,
    /// Unknown user or wrong password. Clients compare this text.
    #[error("Invalid credentials")]
    InvalidCredentials,
    /// Only after a correct password. Clients compare this text.
    #[error("Email not verified")]
    EmailNotVerified,
    /// Bad, expired, used before, or of a session that has ended.
    #[error("Invalid or expired refresh token")]
    InvalidRefreshToken,
    /// The token to be revoked is not one of the caller's.
    #[error("Token not found or already revoked")]
    TokenNotFound,
    /// Another service of ours refuses the caller's access token, which was still good here.
    #[error("the access token is not valid or has expired")]
    TokenRefused,
    /// Another service of ours does not let the caller do this.
    #[error("your role does not allow this")]
    Forbidden,
    /// auth-service asks for patience.
    #[error("too many attempts; try again later")]
    TooManyAttempts {
        /// When to come back.
        retry_after_secs: u64,
    },
    /// auth-service is away, or answers what we cannot read.
    #[error("auth-service could not be asked")]
    AuthUnavailable(#[source] Failure),
    /// auth-service issued a token that we do not accept: the two do not have the same keys.
    #[error("auth-service issued a token that is not valid here")]
    ForeignToken(#[from] common_jwt::Invalid),
    /// accounting-service is away, or answers what we cannot read.
    #[error("accounting-service could not be asked")]
    BalanceUnavailable(#[source] Failure),
}

/// What a request handler returns.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A problem with one member of the request.
    pub(crate) fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
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
            Self::ChatflowConfigNotFound => (StatusCode::NOT_FOUND, "chatflow_config_not_found"),
            Self::UserNotFound(_) => (StatusCode::NOT_FOUND, "user_not_found"),
            Self::AssignmentNotFound => (StatusCode::NOT_FOUND, "assignment_not_found"),
            Self::InvalidCredentials => (StatusCode::UNAUTHORIZED, "invalid_credentials"),
            Self::EmailNotVerified => (StatusCode::UNAUTHORIZED, "email_not_verified"),
            Self::InvalidRefreshToken => (StatusCode::UNAUTHORIZED, "invalid_refresh_token"),
            Self::TokenNotFound => (StatusCode::NOT_FOUND, "token_not_found"),
            Self::TokenRefused => (StatusCode::UNAUTHORIZED, "invalid_token"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Self::TooManyAttempts { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
            Self::AuthUnavailable(_) | Self::ForeignToken(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "auth_unavailable")
            }
            Self::BalanceUnavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "accounting_unavailable"),
        }
    }

    /// The answer. A failure of ours says nothing about our inside.
    pub(crate) fn problem(&self) -> Problem {
        let (status, code) = self.status_and_code();
        match self {
            Self::Invalid(field) => Problem::invalid(status, vec![field.clone()]),
            Self::Database(_) => {
                Problem::new(status, code, "the service cannot reach its database; try again").retry_after(1)
            }
            Self::AuthUnavailable(_) | Self::ForeignToken(_) => Problem::new(
                status,
                code,
                "signing in is not possible at the moment; try again",
            )
            .retry_after(5),
            Self::BalanceUnavailable(_) => {
                Problem::new(status, code, "credits cannot be read at the moment; try again").retry_after(5)
            }
            Self::TooManyAttempts { retry_after_secs } => {
                Problem::new(status, code, self.to_string()).retry_after(*retry_after_secs)
            }
            Self::ChatflowAccessDenied
            | Self::ChatflowNotFound
            | Self::SessionNotFound
            | Self::ChatflowConfigNotFound
            | Self::UserNotFound(_)
            | Self::AssignmentNotFound
            | Self::InvalidCredentials
            | Self::EmailNotVerified
            | Self::InvalidRefreshToken
            | Self::TokenNotFound
            | Self::TokenRefused
            | Self::Forbidden => Problem::new(status, code, self.to_string()),
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
