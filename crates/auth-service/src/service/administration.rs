//! What administrators do to other people's accounts, and to their own: names, addresses, roles, open or shut.

use std::sync::Arc;

use common_http::{Clock, UserChangeKind};
use common_jwt::Role;
use url::Url;

use crate::{
    config::Config,
    domain::{
        origin::Origin,
        user::{Edit, User, UserId},
    },
    error::{Error, Result},
    mailer::{Mail, Mailer},
    service::{
        admins::Admins,
        sessions::{EndReason, Sessions},
        user_changes::UserChanges,
    },
    store::{
        audit::{AuditEvent, AuditStore},
        resets::ResetStore,
        users::UserStore,
        verifications::VerificationStore,
    },
};

/// Administration.
#[derive(Clone, Debug)]
pub(crate) struct Administration {
    users: UserStore,
    admins: Admins,
    sessions: Arc<Sessions>,
    verifications: VerificationStore,
    resets: ResetStore,
    changes: UserChanges,
    audit: AuditStore,
    mailer: Mailer,
    public_url: Url,
    clock: Clock,
}

/// The stores and services that administration works with.
pub(crate) struct Parts {
    /// The accounts.
    pub(crate) users: UserStore,
    /// Guards the last admin.
    pub(crate) admins: Admins,
    /// Ends sessions whose rights are others now.
    pub(crate) sessions: Arc<Sessions>,
    /// Holds codes for addresses.
    pub(crate) verifications: VerificationStore,
    /// Holds links to choose a password.
    pub(crate) resets: ResetStore,
    /// Tells the other services.
    pub(crate) changes: UserChanges,
    /// Remembers what happened.
    pub(crate) audit: AuditStore,
    /// Tells the owner.
    pub(crate) mailer: Mailer,
}

impl Administration {
    /// Administration as the configuration wants it.
    pub(crate) fn new(config: &Config, parts: Parts) -> Self {
        Self {
            users: parts.users,
            admins: parts.admins,
            sessions: parts.sessions,
            verifications: parts.verifications,
            resets: parts.resets,
            changes: parts.changes,
            audit: parts.audit,
            mailer: parts.mailer,
            public_url: config.public_url.clone(),
            clock: config.clock.clone(),
        }
    }

    /// Gives a user another role.
    pub(crate) async fn change_role(
        &self,
        id: UserId,
        role: Role,
        actor: UserId,
        origin: &Origin,
    ) -> Result<User> {
        let edit = Edit {
            role: Some(role),
            ..Edit::default()
        };
        self.edit(id, edit, actor, origin).await
    }

    /// Changes an account.
    ///
    /// Where rights become others, sessions end before and after: whatever is opened in between has the old ones, and a
    /// crash in between leaves somebody signed out, not somebody with rights they lost.
    pub(crate) async fn edit(&self, id: UserId, edit: Edit, actor: UserId, origin: &Origin) -> Result<User> {
        let before = self.users.find(id).await?.ok_or(Error::UserNotFound)?;
        let edit = edit.without_known(&before);
        if edit.is_empty() {
            return Ok(before);
        }
        if id == actor && edit.is_active == Some(false) {
            return Err(Error::OwnAccount);
        }
        self.refuse_taken(&edit).await?;
        let after = if edit.ends_admin(&before) {
            self.admins
                .without(id, self.apply(&before, &edit, origin))
                .await?
        } else {
            self.apply(&before, &edit, origin).await?
        };
        self.record(&before, &edit, actor, origin).await;
        if edit.email.is_some() {
            // Codes and links that were sent to the old address prove nothing about the new one.
            self.verifications.delete_of(&[id]).await?;
            self.resets.void(id).await?;
            self.mailer
                .send(Mail::email_changed_by_admin(&before, &self.public_url));
        }
        let kind = if edit.is_active == Some(true) {
            UserChangeKind::Enabled
        } else {
            UserChangeKind::Updated
        };
        self.changes.tell_soon(id, kind).await;
        Ok(after)
    }

    /// Before sessions end for nothing; the unique indexes have the last word.
    async fn refuse_taken(&self, edit: &Edit) -> Result<()> {
        if let Some(username) = &edit.username
            && self.users.find_by_username(username.as_str()).await?.is_some()
        {
            return Err(Error::UsernameTaken);
        }
        if let Some(email) = &edit.email
            && self.users.find_by_email(email.as_str()).await?.is_some()
        {
            return Err(Error::EmailTaken);
        }
        Ok(())
    }

    async fn apply(&self, before: &User, edit: &Edit, origin: &Origin) -> Result<User> {
        let reason = if edit.role.is_some_and(|role| role != before.role) {
            EndReason::RoleChange
        } else {
            EndReason::UserGone
        };
        let ends_sessions = edit.ends_sessions(before);
        if ends_sessions {
            self.sessions.end_all(before.id, reason, Some(origin)).await?;
        }
        let after = self.users.edit(before.id, edit, self.clock.now()).await?;
        let after = after.ok_or(Error::UserNotFound)?;
        if ends_sessions {
            self.sessions.end_all(before.id, reason, Some(origin)).await?;
        }
        Ok(after)
    }

    /// One event for each thing that changed. What the new name or address is stands in the account, not in the trail.
    async fn record(&self, before: &User, edit: &Edit, actor: UserId, origin: &Origin) {
        let role = edit.role.filter(|role| *role != before.role);
        let events = [
            edit.username.as_ref().map(|_| ("username_changed", "ok")),
            edit.email.as_ref().map(|_| ("email_changed", "ok")),
            role.map(|_| ("role_changed", "ok")),
            edit.is_active.map(|is_active| {
                (
                    if is_active {
                        "user_enabled"
                    } else {
                        "user_disabled"
                    },
                    "ok",
                )
            }),
            edit.is_verified.map(|is_verified| {
                (
                    if is_verified {
                        "email_vouched"
                    } else {
                        "email_doubted"
                    },
                    "ok",
                )
            }),
        ];
        for (action, outcome) in events.into_iter().flatten() {
            let event = AuditEvent {
                action,
                outcome,
                actor: Some(actor),
                subject: Some(before.id),
                session_id: None,
                origin: Some(origin),
            };
            let details = match role {
                Some(role) if action == "role_changed" => {
                    vec![("from", before.role.as_str()), ("to", role.as_str())]
                }
                _ => Vec::new(),
            };
            self.audit.record_with(event, &details, self.clock.now()).await;
        }
    }
}
