//! Every way a request to the proxy-service can fail, and the one table of statuses and codes.

use std::sync::Arc;

use actix_web::{HttpResponse, ResponseError, http::StatusCode};
use chrono::{DateTime, Utc};
use common_http::{FieldError, Problem, Timestamp};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{
    domain::{ask, embed::InvalidEmbed, failure::Failure as TurnFailure, person::Who, refusal::Refusal},
    store::embeds::EmbedStoreError,
    upstream::Failure,
};

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
    /// The message does not exist, or belongs to somebody else; these are not told apart.
    #[error("Message not found or access denied")]
    MessageNotFound,
    /// The file does not exist, or belongs to somebody else; these are not told apart.
    #[error("File not found or access denied")]
    FileNotFound,
    /// Of the file only its name is left.
    #[error("File data not found")]
    FileDataNotFound,
    /// A thumbnail of something that is no image.
    #[error("File is not an image")]
    NotAnImage,
    /// A file is not taken.
    #[error("{}", .0.sentence())]
    FileRefused(Refusal),
    /// The file does not have the part that was asked for.
    #[error("the file has only {length} bytes")]
    RangeNotSatisfiable {
        /// How many.
        length: u64,
    },
    /// The body is not `multipart/form-data`.
    #[error("the body must be a form with a file (multipart/form-data)")]
    NotMultipart,
    /// The body claims to be `multipart/form-data` and is not, or broke off.
    #[error("the form could not be read")]
    MalformedMultipart,
    /// The upload took longer than any may.
    #[error("the upload took too long")]
    UploadTooSlow,
    /// More pictures wait to be made than is sensible.
    #[error("too many pictures are being made; try again")]
    Busy,
    /// Large requests have all the memory there is for them.
    #[error("too many large messages are being sent at once; try again")]
    Overloaded,
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
    TurnRunning {
        /// Which, where that is known; it can be followed, or stopped.
        turn_id: Option<String>,
    },
    /// The user has as many turns running as anybody may.
    #[error("too many messages are being answered at once; at most {max} may be")]
    TooManyTurns {
        /// How many.
        max: usize,
    },
    /// The turn does not exist, or belongs to somebody else; these are not told apart.
    #[error("Chat turn not found or access denied")]
    TurnNotFound,
    /// The turn's events cannot be read again.
    #[error("the events of this turn are not kept any more; its answer is in the history")]
    TurnEventsGone,
    /// The person reads as many turns again as anybody may.
    #[error("too many connections read answers again; at most {max} may")]
    TooManyReaders {
        /// How many.
        max: usize,
    },
    /// The same request is being worked on.
    #[error("the request with this Idempotency-Key is still being worked on")]
    IdempotencyInProgress {
        /// By this turn, which can be followed.
        turn_id: String,
    },
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
    /// As many turns run at Flowise as may, and as many wait, or one has waited long enough.
    #[error("the assistant is busy; try again in a moment")]
    UpstreamBusy {
        /// When to come back.
        retry_after_secs: u64,
    },
    /// Flowise did not answer several times in a row and is left alone for a while.
    #[error("the assistant cannot be reached at the moment; try again later")]
    UpstreamCircuitOpen {
        /// When to come back.
        retry_after_secs: u64,
    },
    /// A turn has no whole answer, and its caller wanted nothing less.
    #[error("the turn failed ({})", .0.code())]
    TurnFailed(TurnFailure),
    /// The chatflow has no settings for a chat window.
    #[error("Chatflow configuration not found")]
    ChatflowConfigNotFound,
    /// auth-service knows nobody with this address or id.
    #[error("auth-service knows nobody with this address or id")]
    UserNotFound(Who),
    /// Nobody has synchronised people yet.
    #[error("people have not been synchronised yet")]
    NeverSynchronised,
    /// There is no such group.
    #[error("there is no such group")]
    GroupNotFound,
    /// Two groups would have the same name.
    #[error("there is a group of this name already")]
    GroupNameTaken,
    /// The person is not in the group.
    #[error("the person is not in this group")]
    MemberNotFound,
    /// The group does not have the chatflow.
    #[error("the group does not have this chatflow")]
    GrantNotFound,
    /// There is no such embed, or it is switched off.
    #[error("there is no such embed")]
    EmbedNotFound,
    /// Another embed has this id.
    #[error("there is an embed with this id already")]
    EmbedIdTaken,
    /// The environment describes it, and only that changes it.
    #[error("this embed is set by the operator's configuration")]
    EmbedConfigured,
    /// Somebody else changed it at the same moment.
    #[error("the embed was changed by somebody else at this moment; read it again")]
    EmbedChanged,
    /// Embeds cannot be read or written.
    #[error("embeds could not be read")]
    Embeds(#[source] Arc<EmbedStoreError>),
    /// A visitor without a session, or one whose session is over.
    #[error("there is no session, or it is over; begin another one")]
    VisitorUnknown,
    /// A session is to be ended and the request names none.
    #[error("there is no session to end")]
    NoSessionToEnd,
    /// The page, or whoever else asks, may not use this embed or this session.
    #[error("this page may not use the chat")]
    OriginRefused,
    /// The embed wants a page ticket and there is none, or it is forged, too old or used.
    #[error("the page has to be loaded again")]
    TicketRefused,
    /// A signed-in person asks where only visitors of an embed do.
    #[error("this route is for visitors of a chat widget; signed-in people use /api/v1/chat/predict")]
    VisitorsOnly,
    /// A request says in two ways who asks, and they differ.
    #[error("the request carries two different credentials")]
    AmbiguousCredentials,
    /// The embed has cost its owner as much as it may.
    #[error("the chat is not available at the moment")]
    BudgetReached,
    /// As many credits were spent by way of this key as may be.
    #[error("no more credits may be spent with this API key")]
    ApiKeyCapReached,
    /// As many turns were begun today as may be.
    #[error("no more messages are possible today")]
    DailyCapReached {
        /// Whose cap it is: `user`, `chatflow` or `user_chatflow`.
        scope: &'static str,
        /// Turns a day.
        limit: i64,
        /// When the next day begins.
        resets_at: DateTime<Utc>,
        /// The same in seconds from now.
        retry_after_secs: u64,
    },
    /// The caller asks faster than anybody may.
    #[error("too many requests; slow down")]
    RateLimited {
        /// When to come back.
        retry_after_secs: u64,
    },
    /// An address or a session is kept out for a while.
    #[error("too many requests; nothing is accepted from here for a while")]
    Blocked {
        /// When to come back.
        retry_after_secs: u64,
    },
    /// A message looks like a machine's or an advertisement, and the operator wants none of them.
    #[error("this message is not accepted")]
    MessageRefused,
    /// A body is to be a table and is something else.
    #[error("the body must be a table, with Content-Type: text/csv")]
    NotCsv,
    /// A body is longer than it may be.
    #[error("the body may have at most {limit_bytes} bytes")]
    BodyTooLarge {
        /// How long it may be.
        limit_bytes: usize,
    },
    /// A body broke off.
    #[error("the request body could not be read")]
    BodyUnreadable,
    /// Nobody with this address has the chatflow.
    #[error("Active assignment for this user and chatflow not found.")]
    AssignmentNotFound,
    /// Unknown user or wrong password. Clients compare this text.
    #[error("Invalid credentials")]
    InvalidCredentials,
    /// Only after a correct password. Clients compare this text.
    #[error("Email not verified")]
    EmailNotVerified,
    /// Only after a correct password: nobody but admins can sign in at the moment.
    #[error("only administrators can sign in at the moment; try again later")]
    SignInClosed,
    /// Only after a correct password: people sign in by way of a provider here.
    #[error("passwords are not used here; sign in by way of a provider")]
    PasswordSignInClosed,
    /// Only after a correct password: an administrator has to approve the account.
    #[error("your account waits for an administrator's approval; you will get a mail")]
    ApprovalPending,
    /// Only after a correct password: the account has a second factor.
    #[error("a code of the authenticator app is needed")]
    TotpRequired {
        /// Finishes the sign-in at auth-service, and opens nothing else.
        pending_token: SecretString,
        /// How long it is good.
        expires_in_secs: i64,
    },
    /// Only after a correct password.
    #[error("the code of the second factor is wrong or was used before")]
    InvalidSecondFactor,
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
    AccountingFailed(#[source] Failure),
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

    /// The stable code.
    pub(crate) fn code(&self) -> &'static str {
        self.status_and_code().1
    }

    /// The status and the stable code of each error: the whole mapping, in one place.
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::ChatflowAccessDenied => (StatusCode::FORBIDDEN, "chatflow_access_denied"),
            Self::ChatflowNotFound => (StatusCode::NOT_FOUND, "chatflow_not_found"),
            Self::SessionNotFound => (StatusCode::NOT_FOUND, "session_not_found"),
            Self::MessageNotFound => (StatusCode::NOT_FOUND, "message_not_found"),
            Self::FileNotFound => (StatusCode::NOT_FOUND, "file_not_found"),
            Self::FileDataNotFound => (StatusCode::NOT_FOUND, "file_data_not_found"),
            Self::NotAnImage => (StatusCode::BAD_REQUEST, "not_an_image"),
            Self::FileRefused(Refusal::Type) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "file_type_refused"),
            Self::FileRefused(Refusal::TooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, "file_too_large"),
            Self::FileRefused(Refusal::Quota) => (StatusCode::PAYLOAD_TOO_LARGE, "file_quota_exceeded"),
            Self::RangeNotSatisfiable { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable"),
            Self::NotMultipart | Self::NotCsv => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
            }
            Self::MalformedMultipart => (StatusCode::BAD_REQUEST, "malformed_multipart"),
            Self::UploadTooSlow => (StatusCode::REQUEST_TIMEOUT, "upload_too_slow"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "validation_failed"),
            Self::Database(_) => (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable"),
            Self::SessionIdInvalid => (StatusCode::BAD_REQUEST, "invalid_session_id"),
            Self::TurnRunning { .. } => (StatusCode::CONFLICT, "turn_running"),
            Self::TooManyTurns { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_turns"),
            Self::TurnNotFound => (StatusCode::NOT_FOUND, "turn_not_found"),
            Self::TurnEventsGone => (StatusCode::GONE, "turn_events_gone"),
            Self::TooManyReaders { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_readers"),
            Self::IdempotencyInProgress { .. } => (StatusCode::CONFLICT, "idempotency_in_progress"),
            Self::IdempotencyKeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
            Self::InsufficientCredits { .. } => (StatusCode::PAYMENT_REQUIRED, "insufficient_credits"),
            Self::TooManyOpenHolds { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_open_holds"),
            Self::AccountingUnavailable | Self::AccountingFailed(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "accounting_unavailable")
            }
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "service_stopping"),
            Self::UpstreamBusy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "upstream_busy"),
            Self::UpstreamCircuitOpen { .. } => (StatusCode::SERVICE_UNAVAILABLE, "upstream_circuit_open"),
            Self::TurnFailed(failure) => (status_of(*failure), failure.code()),
            Self::ChatflowConfigNotFound => (StatusCode::NOT_FOUND, "chatflow_config_not_found"),
            Self::UserNotFound(_) => (StatusCode::NOT_FOUND, "user_not_found"),
            Self::NeverSynchronised => (StatusCode::NOT_FOUND, "never_synchronised"),
            Self::GroupNotFound => (StatusCode::NOT_FOUND, "group_not_found"),
            Self::GroupNameTaken => (StatusCode::CONFLICT, "group_name_taken"),
            Self::MemberNotFound => (StatusCode::NOT_FOUND, "member_not_found"),
            Self::GrantNotFound => (StatusCode::NOT_FOUND, "grant_not_found"),
            Self::EmbedNotFound => (StatusCode::NOT_FOUND, "embed_not_found"),
            Self::EmbedIdTaken => (StatusCode::CONFLICT, "embed_id_taken"),
            Self::EmbedConfigured => (StatusCode::CONFLICT, "embed_configured"),
            Self::EmbedChanged => (StatusCode::CONFLICT, "embed_changed"),
            Self::Embeds(error) => match **error {
                EmbedStoreError::Database(_) => (StatusCode::SERVICE_UNAVAILABLE, "database_unavailable"),
                EmbedStoreError::Unopened(_) | EmbedStoreError::Sealing(_) | EmbedStoreError::Damaged(_) => {
                    (StatusCode::SERVICE_UNAVAILABLE, "embeds_unavailable")
                }
            },
            Self::VisitorUnknown => (StatusCode::UNAUTHORIZED, "session_invalid"),
            Self::NoSessionToEnd => (StatusCode::BAD_REQUEST, "no_session"),
            Self::OriginRefused => (StatusCode::FORBIDDEN, "invalid_origin"),
            Self::TicketRefused => (StatusCode::FORBIDDEN, "invalid_ticket"),
            Self::VisitorsOnly => (StatusCode::FORBIDDEN, "visitors_only"),
            Self::AmbiguousCredentials => (StatusCode::BAD_REQUEST, "ambiguous_credentials"),
            Self::BudgetReached => (StatusCode::PAYMENT_REQUIRED, "embed_budget_reached"),
            Self::ApiKeyCapReached => (StatusCode::PAYMENT_REQUIRED, "api_key_cap_reached"),
            Self::DailyCapReached { .. } => (StatusCode::TOO_MANY_REQUESTS, "daily_cap_reached"),
            Self::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            Self::Blocked { .. } => (StatusCode::TOO_MANY_REQUESTS, "temporarily_blocked"),
            Self::MessageRefused => (StatusCode::BAD_REQUEST, "message_refused"),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::BodyUnreadable => (StatusCode::BAD_REQUEST, "unreadable_body"),
            Self::AssignmentNotFound => (StatusCode::NOT_FOUND, "assignment_not_found"),
            Self::InvalidCredentials => (StatusCode::UNAUTHORIZED, "invalid_credentials"),
            Self::EmailNotVerified => (StatusCode::UNAUTHORIZED, "email_not_verified"),
            Self::SignInClosed => (StatusCode::FORBIDDEN, "sign_in_closed"),
            Self::PasswordSignInClosed => (StatusCode::FORBIDDEN, "password_sign_in_closed"),
            Self::ApprovalPending => (StatusCode::FORBIDDEN, "approval_pending"),
            Self::TotpRequired { .. } => (StatusCode::UNAUTHORIZED, "totp_required"),
            Self::InvalidSecondFactor => (StatusCode::UNAUTHORIZED, "invalid_second_factor"),
            Self::InvalidRefreshToken => (StatusCode::UNAUTHORIZED, "invalid_refresh_token"),
            Self::TokenNotFound => (StatusCode::NOT_FOUND, "token_not_found"),
            Self::TokenRefused => (StatusCode::UNAUTHORIZED, "invalid_token"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
            Self::TooManyAttempts { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_attempts"),
            Self::AuthUnavailable(_) | Self::ForeignToken(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "auth_unavailable")
            }
        }
    }

    /// The answer. A failure of ours says nothing about our inside.
    pub(crate) fn problem(&self) -> Problem {
        let (status, code) = self.status_and_code();
        if let Self::Invalid(field) = self {
            return Problem::invalid(status, vec![field.clone()]);
        }
        let problem = self.with_members(Problem::new(status, code, self.detail()));
        match self.retry_after_secs() {
            Some(secs) => problem.retry_after(secs),
            None => problem,
        }
    }

    /// What is said to whoever asked.
    fn detail(&self) -> String {
        if let Self::TurnFailed(failure) = self {
            return failure.sentence().to_owned();
        }
        // The address goes to the administrator who sent it, not into logs.
        if let Self::UserNotFound(who) = self {
            let (kind, text) = match who {
                Who::Email(email) => ("email", email.as_str()),
                Who::Id(id) => ("id", id.as_str()),
            };
            return format!("User with {kind} '{text}' not found in external system.");
        }
        let inner = [
            (
                matches!(self, Self::Database(_)),
                "the service cannot reach its database; try again",
            ),
            (
                matches!(self, Self::AuthUnavailable(_) | Self::ForeignToken(_)),
                "signing in is not possible at the moment; try again",
            ),
            (
                matches!(self, Self::AccountingFailed(_)),
                "credits and prices cannot be read; try again",
            ),
            (
                matches!(self, Self::Embeds(_)),
                "the chat is not available at the moment; try again",
            ),
        ];
        let outer = inner.into_iter().find(|(is_it, _)| *is_it);
        outer.map_or_else(|| self.to_string(), |(_, sentence)| sentence.to_owned())
    }

    /// When it is worth another try, where that is known.
    fn retry_after_secs(&self) -> Option<u64> {
        match self {
            Self::TooManyOpenHolds { retry_after_secs }
            | Self::TooManyAttempts { retry_after_secs }
            | Self::UpstreamBusy { retry_after_secs }
            | Self::UpstreamCircuitOpen { retry_after_secs }
            | Self::RateLimited { retry_after_secs }
            | Self::Blocked { retry_after_secs }
            | Self::DailyCapReached { retry_after_secs, .. } => Some(*retry_after_secs),
            Self::Database(_)
            | Self::IdempotencyInProgress { .. }
            | Self::Busy
            | Self::Overloaded
            | Self::TooManyTurns { .. }
            | Self::TooManyReaders { .. }
            | Self::AccountingUnavailable
            | Self::Stopping => Some(1),
            Self::AuthUnavailable(_)
            | Self::ForeignToken(_)
            | Self::AccountingFailed(_)
            | Self::Embeds(_) => Some(5),
            Self::Invalid(_)
            | Self::InsufficientCredits { .. }
            | Self::BodyTooLarge { .. }
            | Self::TotpRequired { .. }
            | Self::TurnRunning { .. }
            | Self::TurnFailed(_)
            | Self::UserNotFound(_)
            | Self::EmbedNotFound
            | Self::EmbedIdTaken
            | Self::EmbedConfigured
            | Self::EmbedChanged
            | Self::VisitorUnknown
            | Self::NoSessionToEnd
            | Self::OriginRefused
            | Self::TicketRefused
            | Self::VisitorsOnly
            | Self::AmbiguousCredentials
            | Self::BudgetReached
            | Self::ApiKeyCapReached
            | Self::ChatflowAccessDenied
            | Self::ChatflowNotFound
            | Self::SessionNotFound
            | Self::MessageNotFound
            | Self::FileNotFound
            | Self::FileDataNotFound
            | Self::NotAnImage
            | Self::FileRefused(_)
            | Self::RangeNotSatisfiable { .. }
            | Self::NotMultipart
            | Self::MalformedMultipart
            | Self::UploadTooSlow
            | Self::ChatflowConfigNotFound
            | Self::NeverSynchronised
            | Self::GroupNotFound
            | Self::GroupNameTaken
            | Self::MemberNotFound
            | Self::GrantNotFound
            | Self::NotCsv
            | Self::MessageRefused
            | Self::BodyUnreadable
            | Self::AssignmentNotFound
            | Self::InvalidCredentials
            | Self::EmailNotVerified
            | Self::SignInClosed
            | Self::PasswordSignInClosed
            | Self::ApprovalPending
            | Self::InvalidSecondFactor
            | Self::InvalidRefreshToken
            | Self::TokenNotFound
            | Self::TokenRefused
            | Self::Forbidden
            | Self::SessionIdInvalid
            | Self::TurnNotFound
            | Self::TurnEventsGone
            | Self::IdempotencyKeyReused => None,
        }
    }

    /// The members that documented clients read beside the common ones.
    fn with_members(&self, problem: Problem) -> Problem {
        if let Self::InsufficientCredits { required, available } = self {
            problem.with("required", *required).with("available", *available)
        } else if let Self::RateLimited { retry_after_secs } | Self::Blocked { retry_after_secs } = self {
            problem.with("retry_after", *retry_after_secs)
        } else if let Self::DailyCapReached {
            scope,
            limit,
            resets_at,
            ..
        } = self
        {
            problem
                .with("scope", *scope)
                .with("limit", *limit)
                .with("resets_at", Timestamp(*resets_at).to_string())
        } else if let Self::BodyTooLarge { limit_bytes } = self {
            problem.with("limit_bytes", *limit_bytes)
        } else if let Self::TotpRequired {
            pending_token,
            expires_in_secs,
        } = self
        {
            problem
                .with("totp_required", true)
                .with("pending_token", pending_token.expose_secret())
                .with("expires_in", *expires_in_secs)
        } else if let Self::IdempotencyInProgress { turn_id }
        | Self::TurnRunning {
            turn_id: Some(turn_id),
        } = self
        {
            problem.with("turn_id", turn_id.as_str())
        } else {
            problem
        }
    }
}

/// What a caller who wanted a whole answer does next: wait (503, 504) or tell somebody (502).
const fn status_of(failure: TurnFailure) -> StatusCode {
    match failure {
        TurnFailure::HeaderTimeout
        | TurnFailure::IdleTimeout
        | TurnFailure::TooLong
        | TurnFailure::Abandoned => StatusCode::GATEWAY_TIMEOUT,
        TurnFailure::Unreachable
        | TurnFailure::Unavailable
        | TurnFailure::RateLimited
        | TurnFailure::Stopping
        | TurnFailure::Storage
        | TurnFailure::NotAsked => StatusCode::SERVICE_UNAVAILABLE,
        TurnFailure::Stopped => StatusCode::CONFLICT,
        TurnFailure::Refused
        | TurnFailure::Failed
        | TurnFailure::NotAnAnswer
        | TurnFailure::Broken
        | TurnFailure::TooLarge
        | TurnFailure::Reported
        | TurnFailure::Empty => StatusCode::BAD_GATEWAY,
    }
}

impl From<EmbedStoreError> for Error {
    fn from(error: EmbedStoreError) -> Self {
        Self::Embeds(Arc::new(error))
    }
}

impl From<InvalidEmbed> for Error {
    fn from(InvalidEmbed { field, message }: InvalidEmbed) -> Self {
        Self::invalid(field, message)
    }
}

impl From<ask::Invalid> for Error {
    fn from(invalid: ask::Invalid) -> Self {
        match invalid {
            ask::Invalid::SessionId => Self::SessionIdInvalid,
            ask::Invalid::Member { field, message } => Self::invalid(field, message),
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
