//! Proves, changes and replaces passwords of people who exist.
//!
//! Whichever way a password changes, everything that rests on the old one ends with it: all sessions, open links and
//! codes, and half-finished sign-ins. The owner is told by mail.

use std::sync::Arc;

use common_http::Clock;
use rand::RngExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::{
    config::Config,
    domain::{
        origin::Origin,
        password::NewPassword,
        readable,
        session::AuthMethod,
        user::{User, UserId},
    },
    error::{ApiKeyError, Error, FederationError, Result},
    mailer::{Mail, Mailer},
    metrics::AuthMetrics,
    service::{
        passwords::Passwords,
        sessions::{EndReason, Sessions, TokenPair},
        settings::RuntimeSettings,
        throttle::LoginThrottle,
    },
    store::{
        audit::{AuditEvent, AuditStore},
        resets::ResetStore,
        users::{PasswordChange, UserStore, identities::Removal},
        verifications::VerificationStore,
    },
};

/// Symbols of a password that we choose: 80 bits.
const GENERATED_SYMBOLS: usize = 16;

/// Draws of a password until one obeys the rules; nearly every one does.
const DRAWS_MAX: usize = 32;

/// Passwords of people who exist.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    users: UserStore,
    sessions: Arc<Sessions>,
    passwords: Passwords,
    resets: ResetStore,
    verifications: VerificationStore,
    throttle: Arc<LoginThrottle>,
    audit: AuditStore,
    mailer: Mailer,
    metrics: AuthMetrics,
    settings: RuntimeSettings,
    public_url: Url,
    clock: Clock,
}

/// The stores and services that credentials work with.
pub(crate) struct Parts {
    /// Whose passwords.
    pub(crate) users: UserStore,
    /// Ends sessions, and opens one after a change.
    pub(crate) sessions: Arc<Sessions>,
    /// Hashes.
    pub(crate) passwords: Passwords,
    /// Slows whoever guesses.
    pub(crate) throttle: Arc<LoginThrottle>,
    /// The links that die with a password.
    pub(crate) resets: ResetStore,
    /// The codes that die with a password.
    pub(crate) verifications: VerificationStore,
    /// Remembers what happened.
    pub(crate) audit: AuditStore,
    /// Tells the owner.
    pub(crate) mailer: Mailer,
    /// How long passwords have to be.
    pub(crate) settings: RuntimeSettings,
    /// Counts.
    pub(crate) metrics: AuthMetrics,
}

/// The password an admin gives to somebody.
#[derive(Debug)]
pub(crate) enum GivenPassword {
    /// This one.
    Chosen(SecretString),
    /// A random one.
    Random,
}

impl Credentials {
    /// Credentials as the configuration wants them.
    pub(crate) fn new(config: &Config, parts: Parts) -> Self {
        Self {
            users: parts.users,
            sessions: parts.sessions,
            passwords: parts.passwords,
            resets: parts.resets,
            verifications: parts.verifications,
            throttle: parts.throttle,
            audit: parts.audit,
            mailer: parts.mailer,
            metrics: parts.metrics,
            settings: parts.settings,
            public_url: config.public_url.clone(),
            clock: config.clock.clone(),
        }
    }

    /// The user, once `password` has been found to be theirs. Guessing is slowed as for a sign-in.
    pub(crate) async fn prove(
        &self,
        user_id: UserId,
        password: &SecretString,
        origin: &Origin,
    ) -> Result<User> {
        let user = self.users.find(user_id).await?.ok_or(Error::UserNotFound)?;
        // Not the counter of sign-ins: whoever asks here is signed in, and strangers must not slow them.
        let whose = format!("signed in: {user_id}");
        let attempt = self
            .throttle
            .begin(&whose, origin.address, self.clock.now())
            .await?;
        match self.passwords.matches(password, Some(&user.password_hash)).await {
            Ok(true) => self.throttle.succeeded(attempt).await,
            Ok(false) => {
                self.throttle.failed(attempt, self.clock.now()).await;
                self.record("password_asked", "wrong", Some(user_id), user_id, Some(origin))
                    .await;
                return Err(Error::WrongPassword);
            }
            Err(error) => {
                self.throttle.abandoned(attempt).await;
                return Err(error);
            }
        }
        Ok(user)
    }

    /// Exchanges the password of somebody who knows it, and opens the one session they have then.
    pub(crate) async fn change(
        &self,
        user_id: UserId,
        current: &SecretString,
        new: SecretString,
        origin: &Origin,
    ) -> Result<TokenPair> {
        let result = self.try_change(user_id, current, new, origin).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(Error::SlowDown { .. } | Error::RateLimited { .. }) => "throttled",
            Err(_) => "refused",
        };
        self.metrics.password_changes.with_label_values(&[outcome]).inc();
        result
    }

    async fn try_change(
        &self,
        user_id: UserId,
        current: &SecretString,
        new: SecretString,
        origin: &Origin,
    ) -> Result<TokenPair> {
        let user = self.prove(user_id, current, origin).await?;
        if current.expose_secret() == new.expose_secret() {
            return Err(Error::invalid("newPassword", "must differ from the current one"));
        }
        let new = self.parse_new(new, &user)?;
        let hash = self.passwords.hash(&new).await?;
        let change = PasswordChange {
            hash: &hash,
            must_change: false,
            version: Some(user.password_version),
            proves_email: None,
        };
        if !self
            .users
            .set_password(user_id, &change, self.clock.now())
            .await?
        {
            // Another request changed it meanwhile: what was given as the current one is not any more.
            return Err(Error::WrongPassword);
        }
        self.end_what_rests_on_the_old(user_id, EndReason::PasswordChange, Some(origin))
            .await?;
        self.record("password_changed", "ok", Some(user_id), user_id, Some(origin))
            .await;
        self.mailer
            .send(Mail::password_changed(&user, origin, &self.public_url));
        self.sessions.open(user_id, AuthMethod::PASSWORD, origin).await
    }

    /// Takes the password away from somebody who knows it and can sign in by an open provider. All sessions end.
    pub(crate) async fn remove(
        &self,
        user_id: UserId,
        current: &SecretString,
        open_providers: &[String],
        origin: &Origin,
    ) -> Result<()> {
        let user = self.prove(user_id, current, origin).await?;
        let now = self.clock.now();
        let removal = self
            .users
            .remove_password(user_id, user.password_version, open_providers, now)
            .await?;
        if removal != Removal::Removed {
            return Err(FederationError::LastSignInMethod.into());
        }
        self.end_what_rests_on_the_old(user_id, EndReason::PasswordChange, Some(origin))
            .await?;
        self.record("password_removed", "ok", Some(user_id), user_id, Some(origin))
            .await;
        self.mailer
            .send(Mail::password_removed(&user, origin, &self.public_url));
        Ok(())
    }

    /// Gives somebody a password that they have to change when they sign in. Returns them, and the password when we
    /// chose it.
    pub(crate) async fn give(
        &self,
        user_id: UserId,
        given: GivenPassword,
        actor: UserId,
        origin: &Origin,
    ) -> Result<(User, Option<SecretString>)> {
        let user = self.users.find(user_id).await?.ok_or(Error::UserNotFound)?;
        if user.is_service_account {
            return Err(ApiKeyError::ServiceAccount.into());
        }
        let (password, shown) = match given {
            GivenPassword::Chosen(password) => (self.parse_new(password, &user)?, None),
            GivenPassword::Random => {
                let password = generate(&user.username)?;
                let shown = password.secret().clone();
                (password, Some(shown))
            }
        };
        let hash = self.passwords.hash(&password).await?;
        let change = PasswordChange {
            hash: &hash,
            must_change: true,
            version: None,
            proves_email: None,
        };
        if !self
            .users
            .set_password(user_id, &change, self.clock.now())
            .await?
        {
            return Err(Error::UserNotFound);
        }
        self.end_what_rests_on_the_old(user_id, EndReason::PasswordReset, Some(origin))
            .await?;
        self.metrics
            .password_resets
            .with_label_values(&["by_admin"])
            .inc();
        self.record(
            "password_reset_by_admin",
            "ok",
            Some(actor),
            user_id,
            Some(origin),
        )
        .await;
        self.mailer
            .send(Mail::password_set_by_admin(&user, &self.public_url));
        Ok((user, shown))
    }

    /// Sets the password of somebody who has proven that the address is theirs. Says whether it did: not when the
    /// password or the address was changed since `user` was read.
    pub(crate) async fn replace_by_mail(
        &self,
        user: &User,
        new: &NewPassword,
        origin: &Origin,
    ) -> Result<bool> {
        let hash = self.passwords.hash(new).await?;
        let change = PasswordChange {
            hash: &hash,
            must_change: false,
            version: Some(user.password_version),
            proves_email: Some(&user.email),
        };
        if !self
            .users
            .set_password(user.id, &change, self.clock.now())
            .await?
        {
            return Ok(false);
        }
        self.end_what_rests_on_the_old(user.id, EndReason::PasswordReset, Some(origin))
            .await?;
        self.mailer
            .send(Mail::password_changed(user, origin, &self.public_url));
        Ok(true)
    }

    /// Reads the member `newPassword` of a body.
    pub(crate) fn parse_new(&self, password: SecretString, user: &User) -> Result<NewPassword> {
        let parsed = NewPassword::parse(password, &user.username);
        let new = parsed.map_err(|message| Error::invalid("newPassword", message))?;
        self.settings.check_password("newPassword", &new)?;
        Ok(new)
    }

    /// Ends what rests on the password that a user had.
    ///
    /// The new password is stored by now: a session that is opened with the old one meanwhile notices it by itself
    /// (`Logins`), and any other is found here.
    pub(crate) async fn end_what_rests_on_the_old(
        &self,
        user_id: UserId,
        reason: EndReason,
        origin: Option<&Origin>,
    ) -> Result<()> {
        self.sessions.end_all(user_id, reason, origin).await?;
        self.resets.void(user_id).await?;
        self.verifications.void_email_changes(user_id).await
    }

    async fn record(
        &self,
        action: &'static str,
        outcome: &'static str,
        actor: Option<UserId>,
        subject: UserId,
        origin: Option<&Origin>,
    ) {
        let event = AuditEvent {
            action,
            outcome,
            actor,
            subject: Some(subject),
            session_id: None,
            origin,
        };
        self.audit.record(event, self.clock.now()).await;
    }
}

/// A password that people can read out and type, out of the operating system's randomness.
fn generate(username: &str) -> Result<NewPassword> {
    for _ in 0..DRAWS_MAX {
        let text = readable::text(|| rand::rng().random(), GENERATED_SYMBOLS);
        if let Ok(password) = NewPassword::parse(text.into(), username) {
            return Ok(password);
        }
    }
    Err(Error::CodesExhausted)
}
