//! Another e-mail address: the password first, then a code that is sent there. The old address is told of both.

use std::sync::Arc;

use common_http::Clock;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::{
    config::Config,
    domain::{
        email::{self, EmailAddress},
        origin::Origin,
        user::{User, UserId},
    },
    error::{Error, Result},
    mailer::{Mail, Mailer},
    service::{
        codes::{Codes, Drawn},
        credentials::Credentials,
    },
    store::{
        audit::{AuditEvent, AuditStore},
        resets::ResetStore,
        users::UserStore,
        verifications::{CodeKind, TriedCode},
    },
};

/// Changes of addresses.
#[derive(Clone, Debug)]
pub(crate) struct EmailChanges {
    users: UserStore,
    codes: Codes,
    resets: ResetStore,
    credentials: Arc<Credentials>,
    audit: AuditStore,
    mailer: Mailer,
    public_url: Url,
    clock: Clock,
}

/// The stores and services that changes of addresses work with.
pub(crate) struct Parts {
    /// Whose addresses.
    pub(crate) users: UserStore,
    /// The codes sent to new ones.
    pub(crate) codes: Codes,
    /// The links sent to old ones.
    pub(crate) resets: ResetStore,
    /// Asks for the password.
    pub(crate) credentials: Arc<Credentials>,
    /// Remembers what happened.
    pub(crate) audit: AuditStore,
    /// Sends the codes, and tells the old address.
    pub(crate) mailer: Mailer,
}

/// A change that may go on: password and address were found right.
#[derive(Debug)]
pub(crate) struct Prepared {
    user: User,
    email: EmailAddress,
}

impl EmailChanges {
    /// Changes as the configuration wants them.
    pub(crate) fn new(config: &Config, parts: Parts) -> Self {
        Self {
            users: parts.users,
            codes: parts.codes,
            resets: parts.resets,
            credentials: parts.credentials,
            audit: parts.audit,
            mailer: parts.mailer,
            public_url: config.public_url.clone(),
            clock: config.clock.clone(),
        }
    }

    /// Checks whether the user may ask for this address, and changes nothing yet. `None` when it is the one they have.
    pub(crate) async fn prepare(
        &self,
        user_id: UserId,
        email: &str,
        password: Option<&SecretString>,
        origin: &Origin,
    ) -> Result<Option<Prepared>> {
        let user = self.users.find(user_id).await?.ok_or(Error::UserNotFound)?;
        if email::normalise(email) == user.email {
            return Ok(None);
        }
        let email = EmailAddress::parse(email).map_err(|message| Error::invalid("email", message))?;
        let Some(password) = password.filter(|password| !password.expose_secret().is_empty()) else {
            return Err(Error::invalid(
                "currentPassword",
                "is required to change the e-mail address",
            ));
        };
        let user = self.credentials.prove(user.id, password, origin).await?;
        if self.users.find_by_email(email.as_str()).await?.is_some() {
            return Err(Error::EmailTaken);
        }
        let wait = self
            .codes
            .wait_secs(CodeKind::EmailChange, user.id, email.as_str());
        if let Some(retry_after_secs) = wait.await? {
            return Err(Error::TooManyCodes { retry_after_secs });
        }
        Ok(Some(Prepared { user, email }))
    }

    /// Sends the code to the new address and a warning to the old one. Returns the new address.
    pub(crate) async fn ask(&self, prepared: Prepared, origin: &Origin) -> Result<String> {
        let Prepared { user, email } = prepared;
        let email = email.as_str();
        self.codes
            .store()
            .void_other_email_changes(user.id, email)
            .await?;
        match self.codes.draw(CodeKind::EmailChange, user.id, email).await? {
            Drawn::Code(code) => {
                let life = self.codes.life();
                self.mailer.send(Mail::confirm_new_address(
                    &user,
                    email,
                    &code,
                    life,
                    &self.public_url,
                ));
                self.mailer
                    .send(Mail::address_change_asked(&user, email, origin, &self.public_url));
                self.record("email_change_asked", user.id, origin).await;
                Ok(email.to_owned())
            }
            Drawn::TooSoon { retry_after_secs } => Err(Error::TooManyCodes { retry_after_secs }),
        }
    }

    /// Gives the user the address that a right code has just proven.
    pub(crate) async fn complete(&self, code: &TriedCode, origin: &Origin) -> Result<()> {
        let before = self
            .users
            .set_email(code.user_id, &code.email, self.clock.now())
            .await?
            .ok_or(Error::InvalidCode)?;
        self.resets.void(code.user_id).await?;
        if before.email != code.email {
            self.record("email_changed", before.id, origin).await;
            self.mailer.send(Mail::address_changed(
                &before,
                &code.email,
                origin,
                &self.public_url,
            ));
        }
        Ok(())
    }

    async fn record(&self, action: &'static str, user_id: UserId, origin: &Origin) {
        let event = AuditEvent {
            action,
            outcome: "ok",
            actor: Some(user_id),
            subject: Some(user_id),
            session_id: None,
            origin: Some(origin),
        };
        self.audit.record(event, self.clock.now()).await;
    }
}
