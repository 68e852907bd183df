//! Signing in with name or address and password.

use std::sync::Arc;

use common_http::Clock;
use secrecy::SecretString;

use crate::{
    config::Config,
    domain::{
        origin::Origin,
        second_factor::Proof,
        session::AuthMethod,
        user::{User, UserId},
    },
    error::{Error, RegistrationError, Result},
    metrics::AuthMetrics,
    service::{
        passwords::Passwords,
        pending_sign_ins::{Asked, PendingSignIn, PendingSignIns},
        sessions::{EndReason, Sessions, TokenPair},
        settings::RuntimeSettings,
        throttle::{Attempt, LoginThrottle},
    },
    store::{
        audit::{AuditEvent, AuditStore},
        users::UserStore,
    },
};

/// Sign-ins.
#[derive(Clone, Debug)]
pub(crate) struct Logins {
    users: UserStore,
    sessions: Arc<Sessions>,
    passwords: Passwords,
    pending: PendingSignIns,
    throttle: Arc<LoginThrottle>,
    audit: AuditStore,
    metrics: AuthMetrics,
    settings: RuntimeSettings,
    clock: Clock,
}

/// How far a right password gets somebody.
pub(crate) enum SignIn {
    /// All the way.
    Done(Box<TokenPair>),
    /// To the question for the second factor.
    Pending(PendingSignIn),
}

impl Logins {
    /// Sign-ins over these stores.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of its own, named where it is made"
    )]
    pub(crate) fn new(
        config: &Config,
        users: UserStore,
        sessions: Arc<Sessions>,
        passwords: Passwords,
        pending: PendingSignIns,
        throttle: Arc<LoginThrottle>,
        audit: AuditStore,
        metrics: AuthMetrics,
        settings: RuntimeSettings,
    ) -> Self {
        Self {
            users,
            sessions,
            passwords,
            pending,
            throttle,
            audit,
            metrics,
            settings,
            clock: config.clock.clone(),
        }
    }

    /// Opens a session for whoever knows the password of the account `login`, a name or an address, and has its second
    /// factor, where there is one: at once, or in a second step (`finish`).
    pub(crate) async fn log_in(
        &self,
        login: &str,
        password: &SecretString,
        proof: Option<&Proof>,
        origin: &Origin,
    ) -> Result<SignIn> {
        let attempt = self.begin(login, origin).await?;
        let user = self.users.find_by_login(login).await?;
        let hash = user.as_ref().map(|user| user.password_hash.as_str());
        let matches = match self.passwords.matches(password, hash).await {
            Ok(matches) => matches,
            Err(error) => {
                self.throttle.abandoned(attempt).await;
                self.metrics.logins.with_label_values(&["busy"]).inc();
                return Err(error);
            }
        };
        let known = user.as_ref().map(|user| user.id);
        let Some(user) = user.filter(|_| matches) else {
            self.throttle.failed(attempt, self.clock.now()).await;
            self.record("invalid_credentials", known, None, origin).await;
            return Err(Error::InvalidCredentials);
        };
        let attempt = self.refuse_shut_out(&user, attempt, origin).await?;
        self.renew_hash(&user, password).await;
        self.throttle.succeeded(attempt).await;
        let by_password = AuthMethod::PASSWORD;
        let asked = self.pending.ask(&user, &by_password, proof, origin).await;
        let method = match self.counted(asked)? {
            Asked::Nothing => by_password,
            Asked::Answered => AuthMethod::PASSWORD_AND_TOTP,
            Asked::Later(pending) => {
                self.record("second_factor_needed", known, None, origin).await;
                return Ok(SignIn::Pending(pending));
            }
        };
        let pair = self.open(&user, method, origin).await?;
        Ok(SignIn::Done(Box::new(pair)))
    }

    /// Finishes a sign-in with the second factor it lacked.
    pub(crate) async fn finish(&self, token: &str, proof: &Proof, origin: &Origin) -> Result<TokenPair> {
        let (user, method) = self.counted(self.pending.finish(token, proof, origin).await)?;
        self.refuse_while_closed(&user, origin).await?;
        self.open(&user, method.with_second_factor(), origin).await
    }

    /// Opens a session for somebody for whom a provider vouches, if `is_theirs` still holds once the session stands; or
    /// asks for their second factor.
    pub(crate) async fn open_vouched(
        &self,
        user: &User,
        method: AuthMethod,
        is_theirs: impl Fn(&User) -> bool,
        origin: &Origin,
    ) -> Result<SignIn> {
        let known = Some(user.id);
        if user.is_disabled {
            self.record("disabled", known, None, origin).await;
            return Err(Error::InvalidCredentials);
        }
        if !self.settings.sign_in_rule().admits_address_of(user) {
            self.record("not_verified", known, None, origin).await;
            return Err(Error::EmailNotVerified);
        }
        if user.awaits_approval {
            self.record("not_approved", known, None, origin).await;
            return Err(RegistrationError::ApprovalPending.into());
        }
        self.refuse_while_closed(user, origin).await?;
        if let Asked::Later(pending) = self.pending.ask(user, &method, None, origin).await? {
            self.record("second_factor_needed", known, None, origin).await;
            return Ok(SignIn::Pending(pending));
        }
        let pair = self.open(user, method, origin).await?;
        if !is_theirs(&pair.user) {
            let reason = EndReason::Revoked;
            self.sessions
                .end(&pair.session_id, user.id, reason, Some(origin))
                .await?;
            return Err(Error::InvalidCredentials);
        }
        Ok(SignIn::Done(Box::new(pair)))
    }

    /// The audit trail has it by now, from where the code was looked at.
    fn counted<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::SecondFactorRefused) = result {
            self.metrics
                .logins
                .with_label_values(&["second_factor_wrong"])
                .inc();
        }
        result
    }

    /// Opens the session, unless the password that was found right was replaced meanwhile. Whoever replaced it ended the
    /// sessions there were; this one may have come after.
    async fn open(&self, user: &User, method: AuthMethod, origin: &Origin) -> Result<TokenPair> {
        let pair = self.sessions.open(user.id, method, origin).await?;
        if pair.user.password_version != user.password_version {
            self.sessions
                .end(&pair.session_id, user.id, EndReason::PasswordChange, Some(origin))
                .await?;
            return Err(Error::InvalidCredentials);
        }
        self.record("ok", Some(user.id), Some(&pair.session_id), origin)
            .await;
        Ok(pair)
    }

    async fn begin(&self, login: &str, origin: &Origin) -> Result<Attempt> {
        let attempt = self.throttle.begin(login, origin.address, self.clock.now()).await;
        if matches!(attempt, Err(Error::SlowDown { .. } | Error::RateLimited { .. })) {
            self.metrics.logins.with_label_values(&["throttled"]).inc();
        }
        attempt
    }

    /// Whoever is refused here knows the password; only they learn that the address is unproven. A closed account is
    /// a failure like any other, in what is counted too: otherwise the waits would tell.
    async fn refuse_shut_out(&self, user: &User, attempt: Attempt, origin: &Origin) -> Result<Attempt> {
        let (outcome, error) = if user.is_disabled {
            self.throttle.failed(attempt, self.clock.now()).await;
            ("disabled", Error::InvalidCredentials)
        } else if !self.settings.sign_in_rule().admits_address_of(user) {
            self.throttle.succeeded(attempt).await;
            ("not_verified", Error::EmailNotVerified)
        } else if user.awaits_approval {
            self.throttle.succeeded(attempt).await;
            ("not_approved", RegistrationError::ApprovalPending.into())
        } else if let Err(error) = self.settings.admit(user) {
            self.throttle.succeeded(attempt).await;
            ("closed", error)
        } else if let Err(error) = self.settings.admit_password_of(user) {
            self.throttle.succeeded(attempt).await;
            ("password_closed", error)
        } else {
            return Ok(attempt);
        };
        self.record(outcome, Some(user.id), None, origin).await;
        Err(error)
    }

    /// Whoever is refused here has proven who they are.
    async fn refuse_while_closed(&self, user: &User, origin: &Origin) -> Result<()> {
        let admitted = self.settings.admit(user);
        if admitted.is_err() {
            self.record("closed", Some(user.id), None, origin).await;
        }
        admitted
    }

    /// Now is the only time the password is known. If it cannot be done, the next sign-in will.
    async fn renew_hash(&self, user: &User, password: &SecretString) {
        let renew = async {
            if let Some(hash) = self.passwords.renewed(password, &user.password_hash).await? {
                self.users.renew_hash(user.id, &user.password_hash, &hash).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = renew.await {
            tracing::warn!(?error, user.id = %user.id, "a password hash was not renewed");
        }
    }

    async fn record(
        &self,
        outcome: &'static str,
        subject: Option<UserId>,
        session_id: Option<&str>,
        origin: &Origin,
    ) {
        self.metrics.logins.with_label_values(&[outcome]).inc();
        let event = AuditEvent {
            action: "login",
            outcome,
            actor: subject.filter(|_| outcome == "ok"),
            subject,
            session_id,
            origin: Some(origin),
        };
        self.audit.record(event, self.clock.now()).await;
    }
}
