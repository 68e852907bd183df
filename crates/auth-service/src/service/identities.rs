//! What an identity that a provider vouches for is worth here: a session, an account, or a question.
//!
//! Somebody is who they are by issuer and subject, and by nothing else. An address that provider and account share is
//! no proof: it only makes us ask for one ([`Identities::confirm`]), in one of three ways that the owner of the account
//! has and nobody else. Without a proven address on the provider's side not even that.

mod linking;

use std::sync::Arc;

use common_http::Clock;
use url::Url;
use uuid::Uuid;

pub(crate) use self::linking::LinkProof;
use crate::{
    config::Config,
    domain::{
        email::EmailAddress,
        identity::{Identity, VerifiedIdentity},
        origin::Origin,
        provider::Provider,
        session::AuthMethod,
        sign_in_flow::Purpose,
        user::{NO_PASSWORD, User, UserId},
    },
    error::{Error, FederationError, RegistrationError, Result},
    mailer::{Mail, Mailer},
    sealing::Sealing,
    service::{
        credentials::Credentials,
        invitations::{Admitted, Invitations},
        logins::{Logins, SignIn},
        pending_sign_ins::PendingSignIn,
        sessions::TokenPair,
        settings::RuntimeSettings,
    },
    store::{
        audit::{AuditEvent, AuditStore},
        providers::ProviderStore,
        second_factors::SecondFactorStore,
        sessions::SessionStore,
        sign_in_flows::{Arrival, SignInFlowStore},
        users::{
            UserStore,
            identities::{Linking, Removal},
        },
    },
};

/// Names that are tried for a new account.
const NAMES_MAX: u32 = 50;

/// Linked identities.
#[derive(Clone, Debug)]
pub(crate) struct Identities {
    users: UserStore,
    providers: ProviderStore,
    flows: SignInFlowStore,
    sessions: SessionStore,
    second_factors: SecondFactorStore,
    logins: Arc<Logins>,
    credentials: Arc<Credentials>,
    sealing: Sealing,
    audit: AuditStore,
    mailer: Mailer,
    settings: RuntimeSettings,
    invitations: Invitations,
    public_url: Url,
    clock: Clock,
}

/// The stores and services that linked identities work with.
pub(crate) struct Parts {
    /// Whose they are.
    pub(crate) users: UserStore,
    /// Who vouches.
    pub(crate) providers: ProviderStore,
    /// What is under way.
    pub(crate) flows: SignInFlowStore,
    /// Whether somebody who links is still signed in.
    pub(crate) sessions: SessionStore,
    /// Removed with everything else of whoever made an account with somebody's address.
    pub(crate) second_factors: SecondFactorStore,
    /// Opens sessions, and knows passwords.
    pub(crate) logins: Arc<Logins>,
    /// Ends what rests on a password.
    pub(crate) credentials: Arc<Credentials>,
    /// Hashes mailed codes.
    pub(crate) sealing: Sealing,
    /// Remembers what happened.
    pub(crate) audit: AuditStore,
    /// Tells the owner.
    pub(crate) mailer: Mailer,
    /// Whether equal addresses may be linked.
    pub(crate) settings: RuntimeSettings,
    /// Whether strangers get accounts.
    pub(crate) invitations: Invitations,
}

/// What an identity was worth.
pub(crate) enum Settled {
    /// A session.
    SignedIn(Box<TokenPair>),
    /// The question for the second factor.
    Pending(PendingSignIn),
    /// It belongs to the account now.
    Linked(Box<User>),
}

impl From<SignIn> for Settled {
    fn from(sign_in: SignIn) -> Self {
        match sign_in {
            SignIn::Done(pair) => Self::SignedIn(pair),
            SignIn::Pending(pending) => Self::Pending(pending),
        }
    }
}

impl Identities {
    /// Identities as the configuration wants them.
    pub(crate) fn new(config: &Config, parts: Parts) -> Self {
        Self {
            users: parts.users,
            providers: parts.providers,
            flows: parts.flows,
            sessions: parts.sessions,
            second_factors: parts.second_factors,
            logins: parts.logins,
            credentials: parts.credentials,
            sealing: parts.sealing,
            audit: parts.audit,
            mailer: parts.mailer,
            settings: parts.settings,
            invitations: parts.invitations,
            public_url: config.public_url.clone(),
            clock: config.clock.clone(),
        }
    }

    /// Gives somebody who came back from a provider what they went there for.
    pub(crate) async fn settle(&self, arrival: Arrival, origin: &Origin) -> Result<Settled> {
        let found = self.providers.find(&arrival.provider_id).await?;
        let provider = found
            .filter(|provider| provider.is_active)
            .ok_or(FederationError::ProviderNotFound)?;
        match &arrival.purpose {
            Purpose::SignIn { invitation } => {
                self.sign_in(&provider, &arrival.identity, invitation.as_deref(), origin)
                    .await
            }
            Purpose::Link { user_id, session_id } => {
                if !self.sessions.exists(session_id, *user_id).await? {
                    return Err(Error::SessionEnded);
                }
                let user = self
                    .link(*user_id, &provider, &arrival.identity, "signed_in", origin)
                    .await?;
                Ok(Settled::Linked(Box::new(user)))
            }
        }
    }

    async fn sign_in(
        &self,
        provider: &Provider,
        identity: &VerifiedIdentity,
        invitation: Option<&str>,
        origin: &Origin,
    ) -> Result<Settled> {
        if let Some(user) = self
            .users
            .find_by_identity(&identity.issuer, &identity.subject)
            .await?
        {
            return self.open(&user, provider, identity, origin).await;
        }
        let email = identity.verified_email.as_ref();
        let email = email.ok_or(FederationError::VerifiedEmailNeeded)?;
        if let Some(user) = self.users.find_by_email(email.as_str()).await? {
            if user.identities.iter().any(|linked| identity.is(linked)) {
                // The same person was made in another tab since we looked.
                return self.open(&user, provider, identity, origin).await;
            }
            return Err(self
                .ask_for_proof(&user, provider, identity, origin)
                .await?
                .into());
        }
        let made = self.provision(provider, identity, invitation, origin).await;
        if let Err(
            Error::EmailTaken
            | Error::Federation(FederationError::IdentityTaken)
            | Error::Registration(RegistrationError::InvalidInvitation),
        ) = made
        {
            // The same person in another tab was quicker, or somebody has just signed up with that address.
            return match self
                .users
                .find_by_identity(&identity.issuer, &identity.subject)
                .await?
            {
                Some(user) => self.open(&user, provider, identity, origin).await,
                None => Err(match made {
                    Err(Error::Registration(error)) => error.into(),
                    _ => FederationError::InvalidSignInCode.into(),
                }),
            };
        }
        self.open(&made?, provider, identity, origin).await
    }

    /// Opens a session for the owner of a linked identity, unless it was taken off meanwhile; or asks for their second
    /// factor, where they have one here.
    async fn open(
        &self,
        user: &User,
        provider: &Provider,
        identity: &VerifiedIdentity,
        origin: &Origin,
    ) -> Result<Settled> {
        let is_theirs = |user: &User| user.identities.iter().any(|linked| identity.is(linked));
        let method = AuthMethod::provider(&provider.name);
        let opened = self.logins.open_vouched(user, method, is_theirs, origin);
        opened.await.map(Settled::from)
    }

    /// Makes an account for somebody whom nobody knows here.
    async fn provision(
        &self,
        provider: &Provider,
        identity: &VerifiedIdentity,
        invitation: Option<&str>,
        origin: &Origin,
    ) -> Result<User> {
        let email = identity.verified_email.as_ref();
        let email = email.ok_or(FederationError::VerifiedEmailNeeded)?;
        if !provider.auto_provision {
            return Err(FederationError::NotProvisioned.into());
        }
        let admitted = self.invitations.admit(email, invitation).await?;
        let made = self.make(provider, identity, email, &admitted, origin).await;
        match &made {
            Ok(user) => self.invitations.used(&admitted, user, origin).await,
            Err(_) => self.invitations.give_back(&admitted).await,
        }
        made
    }

    async fn make(
        &self,
        provider: &Provider,
        identity: &VerifiedIdentity,
        email: &EmailAddress,
        admitted: &Admitted,
        origin: &Origin,
    ) -> Result<User> {
        let now = self.clock.now();
        let mut user = User {
            id: UserId::generate(),
            username: String::new(),
            email: email.as_str().to_owned(),
            password_hash: NO_PASSWORD.to_owned(),
            full_name: None,
            is_verified: true,
            is_disabled: false,
            is_service_account: false,
            awaits_approval: admitted.awaits_approval,
            must_change_password: false,
            password_version: 0,
            role: admitted.role().unwrap_or(provider.default_role),
            created_at: now,
            updated_at: now,
            version: 0,
            identities: vec![self.linked(provider, identity)],
        };
        self.insert_named(&mut user, identity).await?;
        if !self.providers.count_link(&provider.id).await? {
            self.users.remove(user.id).await?;
            return Err(FederationError::ProviderNotFound.into());
        }
        let details = [("role", user.role.as_str()), ("provider", provider.name.as_str())];
        self.record("user_created", "ok", None, user.id, &details, origin)
            .await;
        Ok(user)
    }

    /// Adds the account under the first name that is free.
    async fn insert_named(&self, user: &mut User, identity: &VerifiedIdentity) -> Result<()> {
        for number in 0..NAMES_MAX {
            // The first is "ada", the second "ada2".
            let number = if number == 0 { 0 } else { number + 1 };
            let Some(name) = identity.username(number) else {
                break;
            };
            name.as_str().clone_into(&mut user.username);
            match self.users.insert(user).await {
                Err(Error::UsernameTaken) => {}
                other => return other,
            }
        }
        // A very common name: the id is one that nobody has.
        user.username = format!("user-{}", user.id);
        self.users.insert(user).await
    }

    /// Takes an identity off an account, unless it is the last way in.
    pub(crate) async fn unlink(
        &self,
        user_id: UserId,
        identity_id: &str,
        actor: UserId,
        origin: &Origin,
    ) -> Result<()> {
        let user = self.users.find(user_id).await?.ok_or(Error::UserNotFound)?;
        let linked = user.identities.iter().find(|linked| linked.id == identity_id);
        let linked = linked.ok_or(FederationError::IdentityNotFound)?;
        let takes_password = self.settings.admit_password_of(&user).is_ok();
        let open = self.providers.list_open().await?;
        let now = self.clock.now();
        match self
            .users
            .unlink(user_id, identity_id, takes_password, &open, now)
            .await?
        {
            Removal::Removed => {}
            Removal::IsLast => return Err(FederationError::LastSignInMethod.into()),
            Removal::NotFound => return Err(FederationError::IdentityNotFound.into()),
        }
        let provider = self.providers.find(&linked.provider_id).await?;
        let name = provider.map_or_else(
            || "a deleted provider".to_owned(),
            |provider| provider.display_name,
        );
        self.record(
            "identity_unlinked",
            "ok",
            Some(actor),
            user_id,
            &[("provider", &name)],
            origin,
        )
        .await;
        self.mailer
            .send(Mail::identity_unlinked(&user, &name, origin, &self.public_url));
        Ok(())
    }

    /// Links, tells the owner, and takes it back if the provider is deleted at this moment.
    async fn link(
        &self,
        user_id: UserId,
        provider: &Provider,
        identity: &VerifiedIdentity,
        proof: &'static str,
        origin: &Origin,
    ) -> Result<User> {
        let linked = self.linked(provider, identity);
        let now = self.clock.now();
        match self.users.link(user_id, &linked, now).await? {
            Linking::Linked => {}
            Linking::WasLinked => return self.users.find(user_id).await?.ok_or(Error::UserNotFound),
            Linking::Taken => return Err(FederationError::IdentityTaken.into()),
            Linking::Refused => return Err(FederationError::NotLinkable.into()),
        }
        if !self.providers.count_link(&provider.id).await? {
            self.users.withdraw_identity(user_id, &linked.id).await?;
            return Err(FederationError::ProviderNotFound.into());
        }
        let user = self.users.find(user_id).await?.ok_or(Error::UserNotFound)?;
        let details = [("provider", provider.name.as_str()), ("proof", proof)];
        self.record("identity_linked", "ok", Some(user_id), user_id, &details, origin)
            .await;
        let mail = Mail::identity_linked(
            &user,
            &provider.display_name,
            linked.email.as_deref(),
            origin,
            &self.public_url,
        );
        self.mailer.send(mail);
        Ok(user)
    }

    fn linked(&self, provider: &Provider, identity: &VerifiedIdentity) -> Identity {
        Identity {
            id: Uuid::now_v7().to_string(),
            provider_id: provider.id.clone(),
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
            email: identity.email.clone(),
            connected_at: self.clock.now(),
        }
    }

    async fn record(
        &self,
        action: &'static str,
        outcome: &'static str,
        actor: Option<UserId>,
        subject: UserId,
        details: &[(&'static str, &str)],
        origin: &Origin,
    ) {
        let event = AuditEvent {
            action,
            outcome,
            actor,
            subject: Some(subject),
            session_id: None,
            origin: Some(origin),
        };
        self.audit.record_with(event, details, self.clock.now()).await;
    }
}
