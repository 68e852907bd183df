//! What can go wrong when somebody signs in by way of a provider.

use actix_web::http::StatusCode;
use common_http::Problem;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::domain::id_token::Refused;

/// Every way in which signing in by way of a provider, linking or configuring one can fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FederationError {
    /// None of this name or id, or it is not active.
    #[error("there is no such provider")]
    ProviderNotFound,
    /// Names stand in paths.
    #[error("there is a provider of this name already")]
    ProviderNameTaken,
    /// More would be a menu nobody reads.
    #[error("there are as many providers as there may be")]
    TooManyProviders,
    /// Deactivating it is always possible.
    #[error("people are connected with this provider; deactivate it instead")]
    ProviderInUse,
    /// Another admin changed it since it was read.
    #[error("the provider was changed meanwhile; look at it again")]
    ProviderChanged,
    /// Unknown, used, expired, of another provider, or of another browser: one answer.
    #[error("this sign-in was not begun here, was finished already, or took too long; begin again")]
    InvalidState,
    /// The answer came from another provider than the one that was asked (RFC 9207).
    #[error("the answer is not of the provider that was asked; begin again")]
    IssuerMismatch,
    /// It said no, or would not exchange the code.
    #[error("the provider did not confirm the sign-in; begin again")]
    ProviderRefused,
    /// What it says is not proven by what it sent.
    #[error("what the provider says about you could not be verified")]
    IdentityRefused(Refused),
    /// It says who somebody is in two ways that differ, or not at all.
    #[error("what the provider says about you does not fit together")]
    IdentityUnclear,
    /// It was not reached, or its answer was none.
    #[error("the provider cannot be reached at the moment; try again")]
    ProviderUnreachable,
    /// Unknown, used or expired, or presented by somebody else: one answer.
    #[error("the code is not valid any more; begin again")]
    InvalidSignInCode,
    /// No account has the identity, and no account could be made with a proven address.
    #[error(
        "the provider has not proven your e-mail address; sign in in another way and link it to your account"
    )]
    VerifiedEmailNeeded,
    /// The provider is for people only who have an account.
    #[error("there is no account for this identity, and none is made for people of this provider")]
    NotProvisioned,
    /// There is an account of the same address; whoever has both has to prove it.
    #[error("there is an account with your e-mail address; prove that it is yours to link the two")]
    LinkNeeded {
        /// To be sent back with the proof.
        token: SecretString,
        /// How long it is good.
        expires_in_secs: i64,
        /// The ways in which it can be proven.
        proofs: &'static [&'static str],
    },
    /// The same where an administrator wants people to link from their account page only.
    #[error("there is an account with your e-mail address; sign in to it and link the provider there")]
    AccountExists,
    /// Unknown, used or expired, or out of tries: one answer.
    #[error("this link cannot be made any more; begin again")]
    InvalidLinkToken,
    /// The proof is of somebody else, or of nobody.
    #[error("this does not prove that the account is yours")]
    WrongProof,
    /// An identity has one account.
    #[error("this identity is linked to another account")]
    IdentityTaken,
    /// An unproven address could be anybody's.
    #[error("an identity cannot be linked to this account; prove its e-mail address first")]
    NotLinkable,
    /// None of this id at this account.
    #[error("there is no such linked identity")]
    IdentityNotFound,
    /// Without it nobody could sign in to the account again.
    #[error("this is the last way to sign in to this account; add another one first")]
    LastSignInMethod,
}

impl FederationError {
    /// Status and stable code, as in the table of [`super::Error`].
    pub(super) fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::ProviderNotFound => (StatusCode::NOT_FOUND, "provider_not_found"),
            Self::ProviderNameTaken => (StatusCode::BAD_REQUEST, "provider_name_taken"),
            Self::TooManyProviders => (StatusCode::CONFLICT, "too_many_providers"),
            Self::ProviderInUse => (StatusCode::CONFLICT, "provider_in_use"),
            Self::ProviderChanged => (StatusCode::CONFLICT, "provider_changed"),
            Self::InvalidState => (StatusCode::BAD_REQUEST, "invalid_state"),
            Self::IssuerMismatch => (StatusCode::BAD_REQUEST, "issuer_mismatch"),
            Self::ProviderRefused => (StatusCode::BAD_REQUEST, "provider_refused"),
            Self::IdentityRefused(_) | Self::IdentityUnclear => {
                (StatusCode::UNAUTHORIZED, "identity_refused")
            }
            Self::ProviderUnreachable => (StatusCode::BAD_GATEWAY, "provider_unreachable"),
            Self::InvalidSignInCode => (StatusCode::BAD_REQUEST, "invalid_sign_in_code"),
            Self::VerifiedEmailNeeded => (StatusCode::FORBIDDEN, "verified_email_needed"),
            Self::NotProvisioned => (StatusCode::FORBIDDEN, "not_provisioned"),
            Self::LinkNeeded { .. } => (StatusCode::CONFLICT, "link_required"),
            Self::AccountExists => (StatusCode::CONFLICT, "account_exists"),
            Self::InvalidLinkToken => (StatusCode::BAD_REQUEST, "invalid_link_token"),
            Self::WrongProof => (StatusCode::BAD_REQUEST, "wrong_proof"),
            Self::IdentityTaken => (StatusCode::CONFLICT, "identity_taken"),
            Self::NotLinkable => (StatusCode::CONFLICT, "not_linkable"),
            Self::IdentityNotFound => (StatusCode::NOT_FOUND, "identity_not_found"),
            Self::LastSignInMethod => (StatusCode::CONFLICT, "last_sign_in_method"),
        }
    }

    /// What callers are told besides.
    pub(super) fn with_members(&self, problem: Problem) -> Problem {
        if let Self::LinkNeeded {
            token,
            expires_in_secs,
            proofs,
        } = self
        {
            return problem
                .with("link_token", token.expose_secret())
                .with("expires_in", *expires_in_secs)
                .with("proofs", json!(proofs));
        }
        if matches!(self, Self::ProviderUnreachable) {
            return problem.retry_after(5);
        }
        problem
    }
}
