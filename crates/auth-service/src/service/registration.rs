//! Signing up, and proving that an address is one's own.

use std::sync::Arc;

use aws_lc_rs::hmac;
use chrono::Duration;
use common_http::{Clock, RequestContext};
use common_jwt::Role;
use rand::RngExt as _;
use secrecy::ExposeSecret as _;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::{
    config::Config,
    domain::{
        origin::Origin,
        user::{User, UserId},
        verification::{CODES, Code, SentCodes},
    },
    error::{Error, Result},
    mailer::{Mail, Mailer},
    metrics::AuthMetrics,
    service::{
        accounts::{Accounts, NewAccount, Verification},
        guesses::GuessBudget,
        tokens::seconds,
    },
    store::{
        audit::{AuditEvent, AuditStore},
        users::UserStore,
        verifications::{Issued, TriedCode, VerificationStore},
    },
};

/// Digits that somebody else has at the moment are drawn again. With half of all codes in use, one draw in 2^32 fails.
const DRAWS_MAX: usize = 32;

/// Requests for another code that are worked on at once; more are dropped, as if the mail had been lost.
const RESENDS_AT_ONCE_MAX: usize = 64;

/// Registration.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    accounts: Accounts,
    users: UserStore,
    verifications: VerificationStore,
    audit: AuditStore,
    mailer: Mailer,
    budget: GuessBudget,
    resends: Arc<Semaphore>,
    tasks: TaskTracker,
    /// Codes are few: a plain hash of one is no secret.
    key: Arc<hmac::Key>,
    code_life: Duration,
    public_url: Url,
    metrics: AuthMetrics,
    clock: Clock,
}

/// The stores and services that registration works with.
pub(crate) struct Parts {
    /// Makes the accounts.
    pub(crate) accounts: Accounts,
    /// Finds them again.
    pub(crate) users: UserStore,
    /// Keeps the codes.
    pub(crate) verifications: VerificationStore,
    /// Remembers what happened.
    pub(crate) audit: AuditStore,
    /// Bounds guesses at codes.
    pub(crate) budget: GuessBudget,
    /// Sends the codes.
    pub(crate) mailer: Mailer,
    /// Counts.
    pub(crate) metrics: AuthMetrics,
    /// Waits for what outlives a request.
    pub(crate) tasks: TaskTracker,
}

impl Registration {
    /// Registration as the configuration wants it.
    pub(crate) fn new(config: &Config, parts: Parts) -> Self {
        let secret = hmac::Key::new(
            hmac::HMAC_SHA256,
            config.jwt_refresh_secret.expose_secret().as_bytes(),
        );
        let derived = hmac::sign(&secret, b"flowgate verification codes v1");
        Self {
            accounts: parts.accounts,
            users: parts.users,
            verifications: parts.verifications,
            audit: parts.audit,
            mailer: parts.mailer,
            budget: parts.budget,
            resends: Arc::new(Semaphore::new(RESENDS_AT_ONCE_MAX)),
            tasks: parts.tasks,
            key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())),
            code_life: seconds(config.verification_code_life),
            public_url: config.public_url.clone(),
            metrics: parts.metrics,
            clock: config.clock.clone(),
        }
    }

    /// Makes an account for whoever asks: no rights, address unproven.
    pub(crate) async fn sign_up(&self, account: NewAccount, origin: &Origin) -> Result<User> {
        let user = self
            .accounts
            .create(account, Role::EndUser, Verification::Pending, None, Some(origin))
            .await?;
        self.send_first_code(&user).await;
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
        let user = self
            .accounts
            .create(account, role, verification, Some(actor), Some(origin))
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
        let verified = self
            .users
            .set_verified(tried.user_id, &tried.email, self.clock.now())
            .await?;
        self.verifications.consume(&tried).await?;
        verified.then_some(tried.user_id).ok_or(Error::InvalidCode)
    }

    async fn try_named(&self, code: &Code, email: &str) -> Result<TriedCode> {
        let user = self.users.find_by_email(email).await?.ok_or(Error::InvalidCode)?;
        let tried = self.verifications.try_code_of(user.id, self.clock.now()).await?;
        let is_right = |tried: &TriedCode| {
            hex::decode(&tried.code_hash)
                .is_ok_and(|hash| hmac::verify(&self.key, code.digits().as_bytes(), &hash).is_ok())
        };
        tried.filter(is_right).ok_or(Error::InvalidCode)
    }

    async fn try_nameless(&self, code: &Code, origin: &Origin) -> Result<TriedCode> {
        let now = self.clock.now();
        self.budget.take(origin.address, now).await?;
        let tried = self.verifications.try_code(&self.hash(code), now).await;
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
        let now = self.clock.now();
        let before = self.verifications.find_sent(user.id).await?;
        let Some(sent) = before.map_or(Some(SentCodes::first(now)), |before| before.next(now)) else {
            tracing::info!(user.id = %user.id, "no verification code: too many were sent");
            return Ok(());
        };
        for _ in 0..DRAWS_MAX {
            let code = Code::new(rand::rng().random_range(0..CODES));
            let stored = TriedCode {
                user_id: user.id,
                email: user.email.clone(),
                code_hash: self.hash(&code),
            };
            match self
                .verifications
                .issue(&stored, now + self.code_life, before, sent)
                .await?
            {
                Issued::Stored => {
                    let mail = Mail::verification(user, &code, self.code_life, &self.public_url);
                    self.mailer.send(mail);
                    return Ok(());
                }
                Issued::Superseded => return Ok(()),
                Issued::DigitsInUse => {}
            }
        }
        Err(Error::CodesExhausted)
    }

    fn hash(&self, code: &Code) -> String {
        hex::encode(hmac::sign(&self.key, code.digits().as_bytes()))
    }
}
