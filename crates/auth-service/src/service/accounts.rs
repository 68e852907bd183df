//! Makes accounts and changes them.

use common_http::Clock;
use common_jwt::Role;
use secrecy::SecretString;

use crate::{
    domain::{
        email::EmailAddress,
        origin::Origin,
        password::NewPassword,
        user::{NO_MAILBOX, NO_PASSWORD, User, UserId},
        username::Username,
    },
    error::{Error, Result, field_error},
    service::passwords::Passwords,
    store::{
        audit::{AuditEvent, AuditStore, Details},
        users::UserStore,
    },
};

/// Accounts.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    users: UserStore,
    passwords: Passwords,
    audit: AuditStore,
    clock: Clock,
}

/// What an account is made of, found acceptable.
#[derive(Clone, Debug)]
pub(crate) struct NewAccount {
    username: Username,
    pub(super) email: EmailAddress,
    pub(super) password: NewPassword,
}

impl NewAccount {
    /// Reads the three as typed and reports everything wrong with them at once.
    pub(crate) fn parse(username: &str, email: &str, password: SecretString) -> Result<Self> {
        let password = NewPassword::parse(password, username);
        match (Username::parse(username), EmailAddress::parse(email), password) {
            (Ok(username), Ok(email), Ok(password)) => Ok(Self {
                username,
                email,
                password,
            }),
            (username, email, password) => {
                let mistakes = [
                    ("username", username.err()),
                    ("email", email.err()),
                    ("password", password.err()),
                ];
                let errors = mistakes
                    .into_iter()
                    .filter_map(|(field, message)| Some(field_error(field, message?)));
                Err(Error::Invalid(errors.collect()))
            }
        }
    }
}

/// What a service account is made of, found acceptable.
#[derive(Clone, Debug)]
pub(crate) struct NewServiceAccount {
    username: Username,
    email: Option<EmailAddress>,
}

impl NewServiceAccount {
    /// Reads the name and the address of whoever looks after it, if there is one, and reports everything wrong at once.
    pub(crate) fn parse(username: &str, email: Option<&str>) -> Result<Self> {
        match (
            Username::parse(username),
            email.map(EmailAddress::parse).transpose(),
        ) {
            (Ok(username), Ok(email)) => Ok(Self { username, email }),
            (username, email) => {
                let mistakes = [("username", username.err()), ("email", email.err())];
                let errors = mistakes
                    .into_iter()
                    .filter_map(|(field, message)| Some(field_error(field, message?)));
                Err(Error::Invalid(errors.collect()))
            }
        }
    }
}

/// How an account begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beginning {
    /// What its owner may administer.
    pub(crate) role: Role,
    /// Whether the address counts as proven.
    pub(crate) verification: Verification,
    /// Whether an administrator has to approve it before its owner may sign in.
    pub(crate) awaits_approval: bool,
}

impl Beginning {
    /// An account that somebody makes who may: nothing has to be approved.
    pub(crate) const fn with(role: Role, verification: Verification) -> Self {
        Self {
            role,
            verification,
            awaits_approval: false,
        }
    }
}

/// Whether somebody's address counts as proven when their account is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verification {
    /// The address has to be proven.
    Pending,
    /// Somebody who may say so vouches for it.
    Vouched,
}

impl Accounts {
    /// Accounts over these stores.
    pub(crate) fn new(users: UserStore, passwords: Passwords, audit: AuditStore, clock: Clock) -> Self {
        Self {
            users,
            passwords,
            audit,
            clock,
        }
    }

    /// Makes an account. Names are looked up before the costly hash; the unique indexes have the last word.
    pub(crate) async fn create(
        &self,
        account: NewAccount,
        beginning: Beginning,
        actor: Option<UserId>,
        origin: Option<&Origin>,
    ) -> Result<User> {
        self.refuse_taken(&account.username, Some(&account.email)).await?;
        let mut user = self.bare(&account.username, account.email.as_str(), beginning);
        user.password_hash = self.passwords.hash(&account.password).await?;
        self.users.insert(&user).await?;
        self.record(
            "user_created",
            &[("role", beginning.role.as_str())],
            actor,
            user.id,
            origin,
        )
        .await;
        Ok(user)
    }

    /// Makes an account that nobody signs in to: it only holds API keys.
    pub(crate) async fn create_service_account(
        &self,
        account: NewServiceAccount,
        role: Role,
        actor: UserId,
        origin: &Origin,
    ) -> Result<User> {
        self.refuse_taken(&account.username, account.email.as_ref())
            .await?;
        let beginning = Beginning::with(role, Verification::Vouched);
        let mut user = self.bare(&account.username, "", beginning);
        user.email = match account.email {
            Some(email) => email.as_str().to_owned(),
            None => format!("{}{NO_MAILBOX}", user.id),
        };
        user.is_service_account = true;
        self.users.insert(&user).await?;
        let details = [("role", role.as_str())];
        self.record(
            "service_account_created",
            &details,
            Some(actor),
            user.id,
            Some(origin),
        )
        .await;
        Ok(user)
    }

    /// The unique indexes have the last word.
    async fn refuse_taken(&self, username: &Username, email: Option<&EmailAddress>) -> Result<()> {
        if self.users.find_by_username(username.as_str()).await?.is_some() {
            return Err(Error::UsernameTaken);
        }
        if let Some(email) = email
            && self.users.find_by_email(email.as_str()).await?.is_some()
        {
            return Err(Error::EmailTaken);
        }
        Ok(())
    }

    /// An account without a password.
    fn bare(&self, username: &Username, email: &str, beginning: Beginning) -> User {
        let now = self.clock.now();
        User {
            id: UserId::generate(),
            username: username.as_str().to_owned(),
            email: email.to_owned(),
            password_hash: NO_PASSWORD.to_owned(),
            full_name: None,
            is_verified: beginning.verification == Verification::Vouched,
            is_disabled: false,
            is_service_account: false,
            awaits_approval: beginning.awaits_approval,
            must_change_password: false,
            password_version: 0,
            role: beginning.role,
            created_at: now,
            updated_at: now,
            version: 0,
            identities: Vec::new(),
        }
    }

    /// Makes the first admin, unless there is one. Says whether it did.
    pub(crate) async fn bootstrap_admin(&self, account: NewAccount) -> Result<bool> {
        if self.users.has_admin().await? {
            return Ok(false);
        }
        match self
            .create(
                account,
                Beginning::with(Role::Admin, Verification::Vouched),
                None,
                None,
            )
            .await
        {
            Ok(_) => Ok(true),
            // Another replica started at the same moment.
            Err(Error::UsernameTaken | Error::EmailTaken) if self.users.has_admin().await? => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Changes what a user may change about themselves.
    pub(crate) async fn change_profile(
        &self,
        id: UserId,
        username: Option<&str>,
        origin: &Origin,
    ) -> Result<User> {
        let username = username
            .map(Username::parse)
            .transpose()
            .map_err(|message| Error::invalid("username", message))?;
        let user = self.users.find(id).await?.ok_or(Error::UserNotFound)?;
        let Some(username) = username.filter(|name| name.as_str() != user.username) else {
            return Ok(user);
        };
        let changed = self
            .users
            .set_username(id, username.as_str(), self.clock.now())
            .await?;
        let changed = changed.ok_or(Error::UserNotFound)?;
        self.record("username_changed", &[], Some(id), id, Some(origin))
            .await;
        Ok(changed)
    }

    async fn record(
        &self,
        action: &'static str,
        details: Details<'_>,
        actor: Option<UserId>,
        subject: UserId,
        origin: Option<&Origin>,
    ) {
        let event = AuditEvent {
            action,
            outcome: "ok",
            actor,
            subject: Some(subject),
            session_id: None,
            origin,
        };
        self.audit.record_with(event, details, self.clock.now()).await;
    }
}
