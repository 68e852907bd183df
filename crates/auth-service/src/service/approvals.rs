//! Letting people in who made an account for themselves where administrators want to see everybody first.

use common_http::{Clock, UserChangeKind};
use common_jwt::Role;
use url::Url;

use crate::{
    config::Config,
    domain::{
        keyset::{Cursor, Page},
        origin::Origin,
        user::{User, UserId},
    },
    error::{Error, RegistrationError, Result},
    mailer::{Mail, Mailer},
    service::{deletion::Deletion, settings::RuntimeSettings, user_changes::UserChanges},
    store::{
        audit::{AuditEvent, AuditStore},
        users::UserStore,
    },
};

/// Who waits, and what becomes of them.
#[derive(Clone, Debug)]
pub(crate) struct Approvals {
    users: UserStore,
    deletion: Deletion,
    changes: UserChanges,
    settings: RuntimeSettings,
    audit: AuditStore,
    mailer: Mailer,
    public_url: Url,
    clock: Clock,
}

/// The stores and services that approvals work with.
pub(crate) struct Parts {
    /// Who waits.
    pub(crate) users: UserStore,
    /// Removes whoever is refused.
    pub(crate) deletion: Deletion,
    /// Tells the other services.
    pub(crate) changes: UserChanges,
    /// What the platform is called, and whether addresses need a proof.
    pub(crate) settings: RuntimeSettings,
    /// Remembers what happened.
    pub(crate) audit: AuditStore,
    /// Tells the person.
    pub(crate) mailer: Mailer,
}

impl Approvals {
    /// Approvals as the configuration wants them.
    pub(crate) fn new(config: &Config, parts: Parts) -> Self {
        Self {
            users: parts.users,
            deletion: parts.deletion,
            changes: parts.changes,
            settings: parts.settings,
            audit: parts.audit,
            mailer: parts.mailer,
            public_url: config.public_url.clone(),
            clock: config.clock.clone(),
        }
    }

    /// A page of those who wait, the first who came first. Who has not proven their address yet is not among them, where
    /// that is needed.
    pub(crate) async fn list_page(&self, after: Option<&Cursor>, limit: u32) -> Result<Page<User>> {
        let rule = self.settings.sign_in_rule();
        self.users.list_waiting(rule, after, limit).await
    }

    /// How many wait, up to `most`.
    pub(crate) async fn count(&self, most: u64) -> Result<u64> {
        self.users.count_waiting(self.settings.sign_in_rule(), most).await
    }

    /// Lets somebody in, and tells them.
    pub(crate) async fn approve(&self, id: UserId, actor: UserId, origin: &Origin) -> Result<User> {
        let approved = self.users.approve(id, self.clock.now()).await?;
        let user = approved.ok_or(RegistrationError::NotWaiting)?;
        self.record("registration_approved", id, actor, origin).await;
        self.changes.tell_soon(id, UserChangeKind::Enabled).await;
        let site = self.settings.current().settings.site_name.clone();
        self.mailer
            .send(Mail::registration_approved(&user, &site, &self.public_url));
        Ok(user)
    }

    /// Removes somebody's account, and tells them. It is shut first: of two administrators one decides, and one that
    /// cannot be removed at this moment lets nobody in either.
    pub(crate) async fn refuse(&self, id: UserId, actor: UserId, origin: &Origin) -> Result<User> {
        let found = self.users.find(id).await?;
        if found.is_some_and(|user| user.awaits_approval && user.role == Role::Admin) {
            return Err(Error::AdminNotDeletable);
        }
        let refused = self.users.refuse(id, self.clock.now()).await?;
        let user = refused.ok_or(RegistrationError::NotWaiting)?;
        self.record("registration_refused", id, actor, origin).await;
        self.deletion.delete(id, actor, origin).await?;
        let site = self.settings.current().settings.site_name.clone();
        self.mailer.send(Mail::registration_refused(&user, &site));
        Ok(user)
    }

    async fn record(&self, action: &'static str, subject: UserId, actor: UserId, origin: &Origin) {
        let event = AuditEvent {
            action,
            outcome: "ok",
            actor: Some(actor),
            subject: Some(subject),
            session_id: None,
            origin: Some(origin),
        };
        self.audit.record(event, self.clock.now()).await;
    }
}
