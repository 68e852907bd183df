//! Every way a request to the proxy-service can fail, and the one table of statuses and codes.

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use common_http::{FieldError, Problem};

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
            Self::ChatflowAccessDenied | Self::ChatflowNotFound | Self::SessionNotFound => {
                Problem::new(status, code, self.to_string())
            }
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
