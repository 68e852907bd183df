//! Mailed links to choose a password: for who forgot theirs, and for who never had one.

use std::sync::Arc;

use chrono::Duration;
use common_http::{Clock, RequestContext};
use rand::RngExt as _;
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::{
    config::Config,
    domain::{
        origin::Origin,
        reset::{ResetToken, with_one_more},
        user::{User, UserId},
        verification::SentCodes,
    },
    error::{ApiKeyError, Error, Result},
    mailer::{Mail, Mailer},
    metrics::AuthMetrics,
    service::{credentials::Credentials, tokens::seconds},
    store::{
        audit::{AuditEvent, AuditStore},
        resets::{NewReset, ResetStore},
        users::UserStore,
    },
};

/// Requests for a link that are worked on at once; more are dropped, as if the mail had been lost.
const REQUESTS_AT_ONCE_MAX: usize = 64;

/// Links to choose a password.
#[derive(Clone, Debug)]
pub(crate) struct Resets {
    users: UserStore,
    store: ResetStore,
    credentials: Arc<Credentials>,
    audit: AuditStore,
    mailer: Mailer,
    metrics: AuthMetrics,
    tasks: TaskTracker,
    requests: Arc<Semaphore>,
    reset_life: Duration,
    invitation_life: Duration,
    public_url: Url,
    is_readable: bool,
    clock: Clock,
}

/// The stores and services that resets work with.
pub(crate) struct Parts {
    /// Whose passwords.
    pub(crate) users: UserStore,
    /// Keeps the links.
    pub(crate) store: ResetStore,
    /// Sets the passwords.
    pub(crate) credentials: Arc<Credentials>,
    /// Remembers what happened.
    pub(crate) audit: AuditStore,
    /// Sends the links.
    pub(crate) mailer: Mailer,
    /// Counts.
    pub(crate) metrics: AuthMetrics,
    /// Waits for what outlives a request.
    pub(crate) tasks: TaskTracker,
}

impl Resets {
    /// Resets as the configuration wants them.
    pub(crate) fn new(config: &Config, parts: Parts) -> Self {
        Self {
            users: parts.users,
            store: parts.store,
            credentials: parts.credentials,
            audit: parts.audit,
            mailer: parts.mailer,
            metrics: parts.metrics,
            tasks: parts.tasks,
            requests: Arc::new(Semaphore::new(REQUESTS_AT_ONCE_MAX)),
            reset_life: seconds(config.password_reset_life),
            invitation_life: seconds(config.invitation_life),
            public_url: config.public_url.clone(),
            is_readable: config.testing_endpoints,
            clock: config.clock.clone(),
        }
    }

    /// Mails a link, if there is an open account of this address. The caller is answered before anything is looked up:
    /// neither answer nor time tells whether there is.
    pub(crate) fn request(&self, email: String, origin: Origin) {
        let Ok(permit) = Arc::clone(&self.requests).try_acquire_owned() else {
            self.count("dropped");
            tracing::warn!("too many requests for password links at once; one was dropped");
            return;
        };
        let resets = self.clone();
        let work = async move {
            if let Err(error) = resets.try_request(&email, &origin).await {
                tracing::error!(?error, "a password link was not sent");
            }
            drop(permit);
        };
        self.tasks.spawn(RequestContext::current().scope(work));
    }

    async fn try_request(&self, email: &str, origin: &Origin) -> Result<()> {
        let user = self.users.find_by_email(email).await?;
        let Some(user) = user.filter(|user| !user.is_disabled && !user.is_service_account) else {
            self.count("no_account");
            return Ok(());
        };
        let now = self.clock.now();
        let before = self.store.find_sent(user.id).await?;
        let Some(sent) = with_one_more(before, now) else {
            self.count("too_soon");
            return Ok(());
        };
        let token = new_token();
        let reset = NewReset {
            user_id: user.id,
            email: &user.email,
            token: &token,
            is_readable: self.is_readable,
            expires_at: now + self.reset_life,
            sent,
        };
        if !self.store.issue_after(before, &reset).await? {
            // Another request has just sent one.
            self.count("too_soon");
            return Ok(());
        }
        self.count("sent");
        self.record("password_reset_asked", "ok", None, Some(user.id), Some(origin))
            .await;
        let mail = Mail::password_reset(&user, &token, self.reset_life, &self.public_url);
        self.mailer.send(mail);
        Ok(())
    }

    /// Mails somebody whose account was made by an administrator the link to choose their password. It also proves
    /// their address. An earlier link of theirs dies.
    pub(crate) async fn invite(
        &self,
        user: &User,
        actor: Option<UserId>,
        origin: Option<&Origin>,
    ) -> Result<()> {
        let now = self.clock.now();
        let token = new_token();
        let reset = NewReset {
            user_id: user.id,
            email: &user.email,
            token: &token,
            is_readable: self.is_readable,
            expires_at: now + self.invitation_life,
            sent: SentCodes::first(now),
        };
        self.store.issue(&reset).await?;
        self.count("invited");
        self.record("user_invited", "ok", actor, Some(user.id), origin)
            .await;
        let mail = Mail::invitation(user, &token, self.invitation_life, &self.public_url);
        self.mailer.send(mail);
        Ok(())
    }

    /// The same for a user who exists already: the first mail went astray, or its link has expired.
    pub(crate) async fn invite_by_id(&self, user_id: UserId, actor: UserId, origin: &Origin) -> Result<()> {
        let user = self.users.find(user_id).await?.ok_or(Error::UserNotFound)?;
        if user.is_service_account {
            return Err(ApiKeyError::ServiceAccount.into());
        }
        self.invite(&user, Some(actor), Some(origin)).await
    }

    /// Sets the password of whoever the token was mailed to. All their sessions end.
    pub(crate) async fn redeem(&self, token: &str, password: SecretString, origin: &Origin) -> Result<()> {
        let result = self.try_redeem(token, password, origin).await;
        let outcome = match &result {
            Ok(_) => "done",
            Err(Error::Invalid(_)) => "bad_password",
            Err(_) => "refused",
        };
        self.count(outcome);
        let subject = result.as_ref().ok().copied();
        self.record("password_reset", outcome, subject, subject, Some(origin))
            .await;
        result.map(drop)
    }

    async fn try_redeem(&self, token: &str, password: SecretString, origin: &Origin) -> Result<UserId> {
        let token = ResetToken::parse(token).ok_or(Error::InvalidResetToken)?;
        let now = self.clock.now();
        let reset = self
            .store
            .find(&token, now)
            .await?
            .ok_or(Error::InvalidResetToken)?;
        let user = self.users.find(reset.user_id).await?;
        let user = user
            .filter(|user| user.email == reset.email && !user.is_disabled)
            .ok_or(Error::InvalidResetToken)?;
        let password = self.credentials.parse_new(password, &user)?;
        // First the token, of which there is one, then the effect: two requests with it must not both set a password.
        // A crash in between costs the user another mail.
        if !self.store.consume(&reset, now).await? {
            return Err(Error::InvalidResetToken);
        }
        if !self.credentials.replace_by_mail(&user, &password, origin).await? {
            return Err(Error::InvalidResetToken);
        }
        Ok(user.id)
    }

    fn count(&self, outcome: &str) {
        self.metrics.password_resets.with_label_values(&[outcome]).inc();
    }

    async fn record(
        &self,
        action: &'static str,
        outcome: &'static str,
        actor: Option<UserId>,
        subject: Option<UserId>,
        origin: Option<&Origin>,
    ) {
        let event = AuditEvent {
            action,
            outcome,
            actor,
            subject,
            session_id: None,
            origin,
        };
        self.audit.record(event, self.clock.now()).await;
    }
}

fn new_token() -> ResetToken {
    ResetToken::new(rand::rng().random())
}
