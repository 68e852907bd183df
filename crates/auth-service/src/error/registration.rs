//! What can go wrong when somebody makes an account for themselves, or wants to use one that is not open to them yet.

use actix_web::http::StatusCode;

/// Every way in which the settings keep somebody out, and what becomes of invitations and of those who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegistrationError {
    /// By the settings.
    #[error("accounts are not made in this way, or not for this address; ask an administrator")]
    Closed,
    /// By the settings, and none was given.
    #[error("an invitation is needed to make an account; ask an administrator")]
    InvitationNeeded,
    /// Unknown, revoked, used, expired, or for another address: one answer.
    #[error("this invitation is not good any more, or not for this address; ask for another")]
    InvalidInvitation,
    /// None of this id.
    #[error("there is no such invitation")]
    InvitationNotFound,
    /// Nobody of this id waits: approved, refused, or never did.
    #[error("nobody of this id waits to be approved")]
    NotWaiting,
    /// Only for who has proven who they are.
    #[error("your account waits for an administrator's approval; you will get a mail")]
    ApprovalPending,
    /// Somebody who is no admin, while sign-in is for admins only.
    #[error("only administrators can sign in at the moment; try again later")]
    SignInClosed,
    /// Somebody who is no admin, where people sign in by way of providers only.
    #[error("passwords are not used here; sign in by way of a provider")]
    PasswordSignInClosed,
}

impl RegistrationError {
    /// Status and stable code, as in the table of [`super::Error`].
    pub(super) fn status_and_code(self) -> (StatusCode, &'static str) {
        match self {
            Self::Closed => (StatusCode::FORBIDDEN, "registration_closed"),
            Self::InvitationNeeded => (StatusCode::FORBIDDEN, "invitation_needed"),
            Self::InvalidInvitation => (StatusCode::BAD_REQUEST, "invalid_invitation"),
            Self::InvitationNotFound => (StatusCode::NOT_FOUND, "invitation_not_found"),
            Self::NotWaiting => (StatusCode::NOT_FOUND, "registration_not_found"),
            Self::ApprovalPending => (StatusCode::FORBIDDEN, "approval_pending"),
            Self::SignInClosed => (StatusCode::FORBIDDEN, "sign_in_closed"),
            Self::PasswordSignInClosed => (StatusCode::FORBIDDEN, "password_sign_in_closed"),
        }
    }
}
