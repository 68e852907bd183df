//! Signing up, and proving that an address is one's own.

use std::sync::Arc;

use common_http::{Clock, RequestContext};
use common_jwt::Role;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::{
    config::Config,
    domain::{
        origin::Origin,
        user::{User, UserId},
        verification::Code,
    },
    error::{Error, Result},
    mailer::{Mail, Mailer},
    metrics::AuthMetrics,
    service::{
        accounts::{Accounts, Beginning, NewAccount, Verification},
        codes::{Codes, Drawn},
        email_changes::EmailChanges,
        guesses::GuessBudget,
        invitations::{Invitations, hash_of_invitation},
        settings::RuntimeSettings,
    },
    store::{
        audit::{AuditEvent, AuditStore},
        users::UserStore,
        verifications::{CodeKind, TriedCode},
    },
};

/// Requests for another code that are worked on at once; more are dropped, as if the mail had been lost.
const RESENDS_AT_ONCE_MAX: usize = 64;

/// Registration.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    accounts: Accounts,
    users: UserStore,
    codes: Codes,
    email_changes: EmailChanges,
    audit: AuditStore,
    mailer: Mailer,
    budget: GuessBudget,
    resends: Arc<Semaphore>,
    tasks: TaskTracker,
    public_url: Url,
    metrics: AuthMetrics,
    settings: RuntimeSettings,
    invitations: Invitations,
    clock: Clock,
}

/// The stores and services that registration works with.
pub(crate) struct Parts {
    /// Makes the accounts.
    pub(crate) accounts: Accounts,
    /// Finds them again.
    pub(crate) users: UserStore,
    /// Draws and keeps the codes.
    pub(crate) codes: Codes,
    /// Completed by the same route as a registration.
    pub(crate) email_changes: EmailChanges,
    /// Remembers what happened.
    pub(crate) audit: AuditStore,
    /// Bounds guesses at codes.
    pub(crate) budget: GuessBudget,
    /// Sends the codes.
    pub(crate) mailer: Mailer,
    /// How passwords have to be.
    pub(crate) settings: RuntimeSettings,
    /// Who may sign up.
    pub(crate) invitations: Invitations,
    /// Counts.
    pub(crate) metrics: AuthMetrics,
    /// Waits for what outlives a request.
    pub(crate) tasks: TaskTracker,
}

impl Registration {
    /// Registration as the configuration wants it.
    pub(crate) fn new(config: &Config, parts: Parts) -> Self {
        Self {
            accounts: parts.accounts,
            users: parts.users,
            codes: parts.codes,
            email_changes: parts.email_changes,
            audit: parts.audit,
            mailer: parts.mailer,
            budget: parts.budget,
            resends: Arc::new(Semaphore::new(RESENDS_AT_ONCE_MAX)),
            tasks: parts.tasks,
            public_url: config.public_url.clone(),
            metrics: parts.metrics,
            settings: parts.settings,
            invitations: parts.invitations,
            clock: config.clock.clone(),
        }
    }

    /// Makes an account for whoever asks, if the settings or an invitation admit them: no rights but those of the
    /// invitation, address unproven unless the invitation was mailed there.
    ///
    /// What was begun is finished when the caller does not wait for it: a form that is sent twice must not use an
    /// invitation up without an account coming of it.
    pub(crate) async fn sign_up(
        &self,
        account: NewAccount,
        invitation: Option<SecretString>,
        origin: &Origin,
    ) -> Result<User> {
        let (registration, origin) = (self.clone(), origin.clone());
        let work = async move {
            registration
                .try_sign_up(account, invitation.as_ref(), &origin)
                .await
        };
        self.tasks.spawn(RequestContext::current().scope(work)).await?
    }

    async fn try_sign_up(
        &self,
        account: NewAccount,
        invitation: Option<&SecretString>,
        origin: &Origin,
    ) -> Result<User> {
        self.settings.admit_passwords()?;
        self.settings.check_password("password", &account.password)?;
        let code_hash = hash_of_invitation(invitation.map(ExposeSecret::expose_secret))?;
        let admitted = self
            .invitations
            .admit(&account.email, code_hash.as_deref())
            .await?;
        let beginning = Beginning {
            role: admitted.role().unwrap_or(Role::EndUser),
            verification: if admitted.proves_address() {
                Verification::Vouched
            } else {
                Verification::Pending
            },
            awaits_approval: admitted.awaits_approval,
        };
        let made = self.accounts.create(account, beginning, None, Some(origin)).await;
        if made.is_err() {
            self.invitations.give_back(&admitted).await;
        }
        let user = made?;
        self.invitations.used(&admitted, &user, origin).await;
        if !user.is_verified {
            self.send_first_code(&user).await;
        }
        Ok(user)
    }

    /// Makes an account for somebody else; without `Vouched` they get a code like everybody.
    pub(crate) async fn create_for(
        &self,
        account: NewAccount,
        role: Role,
        verification: Verification,
        actor: UserId,
        origin: &Origin,
    ) -> Result<User> {
        self.settings.check_password("password", &account.password)?;
        let user = self
            .accounts
            .create(
                account,
                Beginning::with(role, verification),
                Some(actor),
                Some(origin),
            )
            .await?;
        if verification == Verification::Pending {
            self.send_first_code(&user).await;
        }
        Ok(user)
    }

    /// The account stands; without its code the user asks for another, so a failure here is not the caller's.
    async fn send_first_code(&self, user: &User) {
        if let Err(error) = self.send_code(user).await {
            tracing::error!(?error, user.id = %user.id, "the first verification code was not sent");
        }
    }

    /// Proves an address by the code that was sent there. Without `email` the code alone says whose.
    pub(crate) async fn verify(&self, code: &str, email: Option<&str>, origin: &Origin) -> Result<()> {
        let result = self.try_verify(code, email, origin).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(Error::TooManyGuesses { .. }) => "throttled",
            Err(_) => "wrong",
        };
        self.metrics.verifications.with_label_values(&[outcome]).inc();
        let event = AuditEvent {
            action: "email_verified",
            outcome,
            actor: None,
            subject: result.as_ref().ok().copied(),
            session_id: None,
            origin: Some(origin),
        };
        self.audit.record(event, self.clock.now()).await;
        result.map(drop)
    }

    async fn try_verify(&self, code: &str, email: Option<&str>, origin: &Origin) -> Result<UserId> {
        let code = Code::parse(code).ok_or(Error::InvalidCode)?;
        let tried = match email {
            Some(email) => self.try_named(&code, email).await?,
            None => self.try_nameless(&code, origin).await?,
        };
        // First the effect, which may happen twice, then the code: a crash in between leaves nobody without either.
        let verified = match tried.kind {
            CodeKind::Email => {
                let now = self.clock.now();
                self.users.set_verified(tried.user_id, &tried.email, now).await?
            }
            CodeKind::EmailChange => {
                self.email_changes.complete(&tried, origin).await?;
                true
            }
        };
        self.codes.store().consume(&tried).await?;
        verified.then_some(tried.user_id).ok_or(Error::InvalidCode)
    }

    async fn try_named(&self, code: &Code, email: &str) -> Result<TriedCode> {
        let now = self.clock.now();
        let is_right = |tried: &TriedCode| self.codes.is_right(code, tried);
        if let Some(user) = self.users.find_by_email(email).await? {
            let tried = self.codes.store().try_code_of(user.id, now).await?;
            if let Some(tried) = tried.filter(is_right) {
                return Ok(tried);
            }
        }
        let tried = self.codes.store().try_change_to(email, now).await?;
        tried.filter(is_right).ok_or(Error::InvalidCode)
    }

    async fn try_nameless(&self, code: &Code, origin: &Origin) -> Result<TriedCode> {
        let now = self.clock.now();
        self.budget.take(origin.address, now).await?;
        let tried = self.codes.store().try_code(&self.codes.hash(code), now).await;
        if !matches!(tried, Ok(None)) {
            self.budget.give_back(origin.address).await;
        }
        tried?.ok_or(Error::InvalidCode)
    }

    /// Sends another code, if there is an unproven account of this address. The caller is answered before anything is
    /// looked up: neither answer nor time tells whether there is.
    pub(crate) fn resend(&self, email: String) {
        let Ok(permit) = Arc::clone(&self.resends).try_acquire_owned() else {
            tracing::warn!("too many requests for verification codes at once; one was dropped");
            return;
        };
        let registration = self.clone();
        let work = async move {
            if let Err(error) = registration.try_resend(&email).await {
                tracing::error!(?error, "a verification code was not sent again");
            }
            drop(permit);
        };
        self.tasks.spawn(RequestContext::current().scope(work));
    }

    async fn try_resend(&self, email: &str) -> Result<()> {
        match self.users.find_by_email(email).await? {
            Some(user) if !user.is_verified => self.send_code(&user).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Replaces the user's code by a new one and mails it, unless they were sent enough.
    async fn send_code(&self, user: &User) -> Result<()> {
        match self.codes.draw(CodeKind::Email, user.id, &user.email).await? {
            Drawn::Code(code) => {
                let mail = Mail::verification(user, &code, self.codes.life(), &self.public_url);
                self.mailer.send(mail);
            }
            Drawn::TooSoon { .. } => {
                tracing::info!(user.id = %user.id, "no verification code: too many were sent");
            }
        }
        Ok(())
    }
}
