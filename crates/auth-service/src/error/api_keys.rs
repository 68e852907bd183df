//! What can go wrong with API keys and the accounts that only hold such.

use actix_web::http::StatusCode;

/// Every way in which a key cannot be made or revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApiKeyError {
    /// Not one of this person's, or none at all: not told apart.
    #[error("there is no such API key")]
    NotFound,
    /// Names tell one's keys apart.
    #[error("there is an API key of this name already")]
    NameTaken,
    /// As many as one may have.
    #[error("there are too many API keys; revoke one first")]
    TooMany,
    /// So many are being made for one person that no place could be had.
    #[error("too many API keys are being made at once; try again")]
    Busy,
    /// A service account has no way in but its keys.
    #[error("this is a service account: it cannot sign in, it only holds API keys")]
    ServiceAccount,
}

impl ApiKeyError {
    /// Status and stable code, as in the table of [`super::Error`].
    pub(super) fn status_and_code(self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "api_key_not_found"),
            Self::NameTaken => (StatusCode::CONFLICT, "api_key_name_taken"),
            Self::TooMany => (StatusCode::CONFLICT, "too_many_api_keys"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::ServiceAccount => (StatusCode::CONFLICT, "service_account"),
        }
    }
}
