//! Everything that can go wrong, and the one table of what callers are told.

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use common_http::{FieldError, Problem};
use common_jwt::SigningError;
use mongodb::error::{ErrorKind, WriteFailure};

mod api_keys;
mod federation;
mod registration;

pub(crate) use self::{api_keys::ApiKeyError, federation::FederationError, registration::RegistrationError};
use crate::sealing::Unopened;

/// What this service's functions return.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// MongoDB's code for a second document with a unique value.
pub(crate) const DUPLICATE_KEY: i32 = 11_000;

/// Every way a request to this service can fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Members of the body that cannot be accepted.
    #[error("the request is not valid")]
    Invalid(Vec<FieldError>),
    /// Clients look for `already exists`.
    #[error("a user with this name already exists")]
    UsernameTaken,
    /// Clients look for `already exists`.
    #[error("a user with this e-mail address already exists")]
    EmailTaken,
    /// Unknown user, wrong password, shut account: one answer. Clients compare this text.
    #[error("Invalid credentials")]
    InvalidCredentials,
    /// Only after a correct password. Clients compare this text.
    #[error("Email not verified")]
    EmailNotVerified,
    /// Wrong, used, void or expired.
    #[error("the code is wrong or has expired; ask for a new one")]
    InvalidCode,
    /// Too many wrong codes came without an address.
    #[error("too many wrong codes; send the e-mail address together with the code")]
    TooManyGuesses {
        /// When guessing without an address is open again.
        retry_after_secs: u64,
    },
    /// Too many wrong passwords for this account from this address.
    #[error("too many failed sign-ins; wait a little")]
    SlowDown {
        /// When the next try is looked at.
        retry_after_secs: u64,
    },
    /// This network asked for this too often.
    #[error("too many requests from this network; wait a little")]
    RateLimited {
        /// When there is room for one more.
        retry_after_secs: u64,
    },
    /// Not a session of the caller, or none at all: not told apart.
    #[error("there is no such session")]
    SessionNotFound,
    /// Neither cookie nor body holds one.
    #[error("a refresh token is needed, in the cookie or in the body")]
    RefreshTokenMissing,
    /// Bad, expired, used before, or of a session that has ended: one answer.
    #[error("the refresh token is not valid; sign in again")]
    RefreshRefused,
    /// The access token is good, its session is not.
    #[error("this session has ended; sign in again")]
    SessionEnded,
    /// Not 24 hex digits.
    #[error("this is not a user id: 24 hex digits are needed")]
    InvalidUserId,
    /// Not one that this list gave.
    #[error("the cursor is not one of this list; begin again without it")]
    InvalidCursor,
    /// The table cannot be read as one of people.
    #[error("{0}")]
    UnusableTable(String),
    /// One table at a time.
    #[error("another import is running; wait until it is done")]
    ImportRunning,
    /// A row of a batch that spoils the whole.
    #[error("{message}")]
    InvalidRow {
        /// What is wrong with it.
        message: &'static str,
        /// The row, without its password.
        row: serde_json::Value,
        /// Whether it asks for an admin.
        wants_admin: bool,
    },
    /// The table is larger than we take.
    #[error("the table may have at most {limit_bytes} bytes")]
    TableTooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The body is no table.
    #[error("the body must be a table, with Content-Type: text/csv")]
    NotCsv,
    /// The body broke off, or came too slowly.
    #[error("the request body could not be read")]
    UnreadableBody,
    /// The machine's disk.
    #[error("a temporary file could not be used")]
    Spool(#[from] std::io::Error),
    /// Nobody has this id or address.
    #[error("there is no such user")]
    UserNotFound,
    /// Admins are made by changing a role, which is audited as such.
    #[error("an admin cannot be created here; create the user, then change the role")]
    AdminNotCreatable,
    /// Without an admin nobody could ever make one.
    #[error("the last admin can be neither demoted, disabled nor deleted")]
    LastAdmin,
    /// Somebody else is changing admins and does not finish.
    #[error("another change of admins is under way; try again")]
    AdminsBusy,
    /// Nobody shuts themselves out by mistake.
    #[error("this is your own account; another admin has to do this")]
    OwnAccount,
    /// Taking the role first is a step that is audited as such.
    #[error("an admin cannot be deleted; change the role first")]
    AdminNotDeletable,
    /// Everybody is deleted by those only who say so in words.
    #[error("to delete all users, send confirmDelete with the text DELETE_ALL_USERS")]
    ConfirmationMissing,
    /// As many documents are being written as may be at once.
    #[error("too many downloads at once; try again in a moment")]
    TooManyExports,
    /// The caller is known by a token, and the password given beside it is not theirs.
    #[error("the current password is wrong")]
    WrongPassword,
    /// Malformed, unknown, used, expired or void: one answer.
    #[error("the link is not valid any more; ask for a new one")]
    InvalidResetToken,
    /// The password was right; the code is wrong, was used before, or is void.
    #[error("the code of the second factor is wrong or was used before")]
    SecondFactorRefused,
    /// Malformed, expired, used, out of tries, or of another password: one answer.
    #[error("this sign-in cannot be finished any more; sign in again")]
    InvalidPendingToken,
    /// The caller is signed in, and the code beside the request is wrong or was used before.
    #[error("the code is wrong or was used before")]
    WrongCode,
    /// There is one; it has to be disabled before another is set up.
    #[error("the second factor is enabled already")]
    SecondFactorOn,
    /// There is none.
    #[error("the second factor is not enabled")]
    SecondFactorOff,
    /// No secret waits for its first code, or it waited too long.
    #[error("the second factor has to be set up first")]
    SecondFactorNotSetUp,
    /// Nothing that could be shown to a test.
    #[error("there is no such token")]
    NoToken,
    /// This address was sent enough codes for now.
    #[error("enough codes were sent to this address; wait a little")]
    TooManyCodes {
        /// When another may be sent.
        retry_after_secs: u64,
    },
    /// More passwords wait to be hashed than the queue may hold.
    #[error("too many sign-ins at once; try again in a moment")]
    HashQueueFull,
    /// A password could not be hashed.
    #[error("a password could not be hashed")]
    Hashing(#[from] bcrypt::BcryptError),
    /// What a request had done in the background ended early.
    #[error("a task was lost")]
    TaskLost(#[from] tokio::task::JoinError),
    /// A stored secret could not be opened.
    #[error("a stored secret cannot be opened")]
    Unopened(#[from] Unopened),
    /// A secret could not be sealed.
    #[error("a secret could not be sealed")]
    Unsealed(#[from] aws_lc_rs::error::Unspecified),
    /// The address for an authenticator app could not be written.
    #[error("the address for an authenticator app could not be written")]
    Totp(#[from] totp_rs::TotpError),
    /// The picture for an authenticator app could not be drawn.
    #[error("a QR code could not be drawn")]
    QrCode(#[from] qrcode::types::QrError),
    /// A token could not be written.
    #[error("a token could not be signed")]
    Signing(#[from] SigningError),
    /// More changes at once than the feed can put into an order.
    #[error("the feed of changes could not be written")]
    FeedBusy,
    /// The database refused or was away.
    #[error("the database query failed")]
    Database(#[from] mongodb::error::Error),
    /// Making an account for oneself, or using one that is not open yet.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// Something about API keys.
    #[error(transparent)]
    ApiKey(#[from] ApiKeyError),
    /// There is a later version.
    #[error("the settings were changed meanwhile; look at them again")]
    SettingsChanged,
    /// None of this number.
    #[error("there is no such version of the settings")]
    SettingsNotFound,
    /// Something about signing in by way of a provider.
    #[error(transparent)]
    Federation(#[from] FederationError),
    /// A free code was not found in many tries: practically all are in use.
    #[error("no verification code is free")]
    CodesExhausted,
}

impl Error {
    /// One member that cannot be accepted.
    pub(crate) fn invalid(field: &str, message: &str) -> Self {
        Self::Invalid(vec![field_error(field, message)])
    }

    /// The status and the stable code of each error: the whole mapping, in one place.
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Invalid(_) => (StatusCode::BAD_REQUEST, "validation_failed"),
            Self::UsernameTaken => (StatusCode::BAD_REQUEST, "username_taken"),
            Self::EmailTaken => (StatusCode::BAD_REQUEST, "email_taken"),
            Self::InvalidCredentials => (StatusCode::UNAUTHORIZED, "invalid_credentials"),
            Self::EmailNotVerified => (StatusCode::UNAUTHORIZED, "email_not_verified"),
            Self::InvalidCode => (StatusCode::BAD_REQUEST, "invalid_code"),
            Self::TooManyGuesses { .. } | Self::SlowDown { .. } | Self::TooManyCodes { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts")
            }
            Self::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Self::SessionNotFound => (StatusCode::NOT_FOUND, "session_not_found"),
            Self::RefreshTokenMissing => (StatusCode::BAD_REQUEST, "refresh_token_missing"),
            Self::RefreshRefused => (StatusCode::UNAUTHORIZED, "invalid_refresh_token"),
            Self::SessionEnded => (StatusCode::UNAUTHORIZED, "session_revoked"),
            Self::InvalidUserId => (StatusCode::BAD_REQUEST, "invalid_user_id"),
            Self::UnusableTable(_) => (StatusCode::BAD_REQUEST, "unusable_table"),
            Self::ImportRunning => (StatusCode::CONFLICT, "import_running"),
            Self::InvalidRow {
                wants_admin: false, ..
            } => (StatusCode::BAD_REQUEST, "invalid_user"),
            Self::TableTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::NotCsv => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type"),
            Self::UnreadableBody => (StatusCode::BAD_REQUEST, "unreadable_body"),
            Self::InvalidCursor => (StatusCode::BAD_REQUEST, "invalid_cursor"),
            Self::UserNotFound => (StatusCode::NOT_FOUND, "user_not_found"),
            Self::AdminNotCreatable
            | Self::InvalidRow {
                wants_admin: true, ..
            } => (StatusCode::FORBIDDEN, "admin_not_creatable"),
            Self::LastAdmin => (StatusCode::CONFLICT, "last_admin"),
            Self::OwnAccount => (StatusCode::BAD_REQUEST, "own_account"),
            Self::AdminNotDeletable => (StatusCode::FORBIDDEN, "admin_not_deletable"),
            Self::ConfirmationMissing => (StatusCode::BAD_REQUEST, "confirmation_missing"),
            Self::WrongPassword => (StatusCode::BAD_REQUEST, "wrong_password"),
            Self::InvalidResetToken => (StatusCode::BAD_REQUEST, "invalid_reset_token"),
            Self::SecondFactorRefused => (StatusCode::UNAUTHORIZED, "invalid_second_factor"),
            Self::InvalidPendingToken => (StatusCode::UNAUTHORIZED, "invalid_pending_token"),
            Self::WrongCode => (StatusCode::BAD_REQUEST, "wrong_code"),
            Self::SecondFactorOn => (StatusCode::CONFLICT, "second_factor_enabled"),
            Self::SecondFactorOff => (StatusCode::CONFLICT, "second_factor_not_enabled"),
            Self::SecondFactorNotSetUp => (StatusCode::CONFLICT, "second_factor_not_set_up"),
            Self::NoToken => (StatusCode::NOT_FOUND, "token_not_found"),
            Self::Registration(error) => error.status_and_code(),
            Self::ApiKey(error) => error.status_and_code(),
            Self::SettingsChanged => (StatusCode::CONFLICT, "settings_changed"),
            Self::SettingsNotFound => (StatusCode::NOT_FOUND, "settings_not_found"),
            Self::Federation(error) => error.status_and_code(),
            Self::HashQueueFull | Self::AdminsBusy | Self::TooManyExports => {
                (StatusCode::SERVICE_UNAVAILABLE, "busy")
            }
            Self::Database(error) if is_away(error) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::CodesExhausted | Self::FeedBusy => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Spool(_)
            | Self::Hashing(_)
            | Self::TaskLost(_)
            | Self::Unopened(_)
            | Self::Unsealed(_)
            | Self::Totp(_)
            | Self::QrCode(_)
            | Self::Signing(_)
            | Self::Database(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// What the caller is told. A 5xx says nothing of the inside.
    pub(crate) fn problem(&self) -> Problem {
        let (status, code) = self.status_and_code();
        if let Self::Invalid(errors) = self {
            return Problem::invalid(status, errors.clone());
        }
        let detail = match code {
            "unavailable" => "the service cannot do this at the moment; try again".to_owned(),
            "internal" => "something went wrong on our side".to_owned(),
            _ => self.to_string(),
        };
        let problem = Problem::new(status, code, detail);
        if let Self::TooManyGuesses { retry_after_secs }
        | Self::SlowDown { retry_after_secs }
        | Self::TooManyCodes { retry_after_secs }
        | Self::RateLimited { retry_after_secs } = self
        {
            return problem.retry_after(*retry_after_secs);
        }
        if let Self::Federation(error) = self {
            return error.with_members(problem);
        }
        if let Self::InvalidRow { row, .. } = self {
            return problem.with("invalidUser", row.clone());
        }
        if let Self::TableTooLarge { limit_bytes } = self {
            return problem.with("limit_bytes", *limit_bytes);
        }
        if matches!(self, Self::ImportRunning) {
            return problem.retry_after(10);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return problem.retry_after(1);
        }
        problem
    }

    /// Which unique index a write ran into, if that is what failed.
    pub(crate) fn duplicate_key(error: &mongodb::error::Error) -> Option<&str> {
        let (code, message) = if let ErrorKind::Write(WriteFailure::WriteError(error)) = &*error.kind {
            (error.code, &error.message)
        } else if let ErrorKind::Command(error) = &*error.kind {
            (error.code, &error.message)
        } else {
            return None;
        };
        (code == DUPLICATE_KEY).then_some(message.as_str())
    }
}

/// One member of a body and what is wrong with it.
pub(crate) fn field_error(field: &str, message: &str) -> FieldError {
    FieldError {
        field: field.to_owned(),
        message: message.to_owned(),
    }
}

/// Whether the database could not be reached, so that the same request may succeed later.
fn is_away(error: &mongodb::error::Error) -> bool {
    let unreachable = matches!(
        &*error.kind,
        ErrorKind::Io(_) | ErrorKind::ServerSelection { .. } | ErrorKind::ConnectionPoolCleared { .. }
    );
    unreachable || error.contains_label("RetryableWriteError")
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        self.status_and_code().0
    }

    fn error_response(&self) -> HttpResponse {
        self.problem().error_response()
    }
}
