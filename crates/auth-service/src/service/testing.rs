//! What clients are tested with, where `TESTING_ENDPOINTS` allows it: mailed tokens, and verification by decree.

use common_http::Clock;

use crate::{
    domain::user::{User, UserId},
    error::{Error, Result},
    store::{
        audit::{AuditEvent, AuditStore},
        resets::{ReadableToken, ResetStore},
        users::UserStore,
        verifications::VerificationStore,
    },
};

/// Helps tests of clients.
#[derive(Clone, Debug)]
pub(crate) struct Testing {
    users: UserStore,
    verifications: VerificationStore,
    resets: ResetStore,
    audit: AuditStore,
    clock: Clock,
}

/// Which token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A code that proves an address.
    Email,
    /// The token of a link to choose a password.
    PasswordReset,
}

impl TokenKind {
    /// The kind of this name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Email, Self::PasswordReset]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }

    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::PasswordReset => "password-reset",
        }
    }
}

impl Testing {
    /// Over these stores.
    pub(crate) fn new(
        users: UserStore,
        verifications: VerificationStore,
        resets: ResetStore,
        audit: AuditStore,
        clock: Clock,
    ) -> Self {
        Self {
            users,
            verifications,
            resets,
            audit,
            clock,
        }
    }

    /// The user's newest token of this kind.
    pub(crate) async fn find_token(&self, user_id: UserId, kind: TokenKind) -> Result<ReadableToken> {
        let now = self.clock.now();
        let found = match kind {
            TokenKind::Email => self.verifications.find_readable(user_id, now).await?,
            TokenKind::PasswordReset => self.resets.find_readable(user_id, now).await?,
        };
        found.ok_or(Error::NoToken)
    }

    /// Verifies the user without a code.
    pub(crate) async fn verify(&self, user_id: UserId) -> Result<User> {
        let now = self.clock.now();
        let user = self.users.find(user_id).await?.ok_or(Error::UserNotFound)?;
        if !self.users.set_verified(user_id, &user.email, now).await? {
            return Err(Error::UserNotFound);
        }
        self.verifications.forget(user_id).await?;
        let event = AuditEvent {
            action: "email_verified",
            outcome: "by_testing_endpoint",
            actor: None,
            subject: Some(user_id),
            session_id: None,
            origin: None,
        };
        self.audit.record(event, now).await;
        Ok(user)
    }
}
