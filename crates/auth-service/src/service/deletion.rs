//! Deleting accounts, so that nothing of them stays: not here, and through the feed not anywhere.
//!
//! A deletion is written down before anything is removed. Then: sessions end, the account goes, sessions that were
//! opened meanwhile end, the feed is told, whatever else is kept goes, and last the note itself. Each step may be done
//! twice; a deletion that broke off is finished by [`Deletion::follow`].

use std::{sync::Arc, time::Duration};

use common_http::Clock;
use common_jwt::Role;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::{
        origin::Origin,
        second_factor::Proof,
        user::{User, UserId},
    },
    error::{Error, Result},
    service::{
        admins::Admins,
        credentials::Credentials,
        second_factors::SecondFactors,
        sessions::{EndReason, Sessions},
        user_changes::UserChanges,
    },
    store::{
        audit::{AuditEvent, AuditStore},
        deletions::DeletionStore,
        personal::PersonalStore,
        users::UserStore,
    },
};

/// Accounts deleted in one go.
const BATCH: i64 = 500;

/// How often it is looked for deletions that broke off.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// A deletion this old has broken off: its request has ended long ago.
const BROKEN_OFF_AFTER: chrono::Duration = chrono::Duration::seconds(30);

/// Deletes accounts.
#[derive(Clone, Debug)]
pub(crate) struct Deletion {
    users: UserStore,
    deletions: DeletionStore,
    personal: PersonalStore,
    admins: Admins,
    sessions: Arc<Sessions>,
    credentials: Arc<Credentials>,
    second_factors: Arc<SecondFactors>,
    changes: UserChanges,
    audit: AuditStore,
    clock: Clock,
}

/// The stores and services that deletion works with.
pub(crate) struct Parts {
    /// The accounts.
    pub(crate) users: UserStore,
    /// Deletions under way.
    pub(crate) deletions: DeletionStore,
    /// Everything else that is kept about somebody.
    pub(crate) personal: PersonalStore,
    /// Guards the last admin.
    pub(crate) admins: Admins,
    /// Ends sessions.
    pub(crate) sessions: Arc<Sessions>,
    /// Knows the password of whoever deletes themselves.
    pub(crate) credentials: Arc<Credentials>,
    /// And their second factor.
    pub(crate) second_factors: Arc<SecondFactors>,
    /// Tells the other services.
    pub(crate) changes: UserChanges,
    /// Remembers what happened.
    pub(crate) audit: AuditStore,
    /// The time.
    pub(crate) clock: Clock,
}

impl Deletion {
    /// Deletion with these parts.
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            users: parts.users,
            deletions: parts.deletions,
            personal: parts.personal,
            admins: parts.admins,
            sessions: parts.sessions,
            credentials: parts.credentials,
            second_factors: parts.second_factors,
            changes: parts.changes,
            audit: parts.audit,
            clock: parts.clock,
        }
    }

    /// Deletes somebody else who is no admin, and says who that was.
    pub(crate) async fn delete(&self, id: UserId, actor: UserId, origin: &Origin) -> Result<User> {
        if id == actor {
            return Err(Error::OwnAccount);
        }
        self.delete_one(id, actor, origin).await
    }

    /// Deletes the caller, who proves once more who they are.
    pub(crate) async fn delete_own(
        &self,
        id: UserId,
        password: &SecretString,
        proof: Option<&Proof>,
        origin: &Origin,
    ) -> Result<()> {
        let user = self.credentials.prove(id, password, origin).await?;
        if self.second_factors.status(id).await?.is_enabled {
            let proof = proof.ok_or_else(|| {
                Error::invalid(
                    "totpCode",
                    "is required, or a recoveryCode: there is a second factor",
                )
            })?;
            if !self.second_factors.prove(&user, proof, origin).await? {
                return Err(Error::WrongCode);
            }
        }
        self.delete_one(id, id, origin).await.map(drop)
    }

    async fn delete_one(&self, id: UserId, actor: UserId, origin: &Origin) -> Result<User> {
        let user = self.users.find(id).await?.ok_or(Error::UserNotFound)?;
        if user.role == Role::Admin {
            return Err(Error::AdminNotDeletable);
        }
        self.deletions.insert(&[id], actor, self.clock.now()).await?;
        self.sessions
            .end_all(id, EndReason::UserGone, Some(origin))
            .await?;
        let Some(removed) = self.users.remove(id).await? else {
            if self.users.find(id).await?.is_none() {
                // Somebody else is deleting the same account and finishes it.
                return Err(Error::UserNotFound);
            }
            self.deletions.delete(&[id]).await?;
            return Err(Error::AdminNotDeletable);
        };
        self.finish(&[id], actor, Some(origin)).await?;
        Ok(removed)
    }

    /// Deletes everybody but the caller; with `preserve_admins` no admin. Says how many.
    pub(crate) async fn delete_all(
        &self,
        preserve_admins: bool,
        actor: UserId,
        origin: &Origin,
    ) -> Result<u64> {
        let mut count = self.delete_listed(false, actor, origin).await?;
        if !preserve_admins {
            count += self.delete_listed(true, actor, origin).await?;
        }
        Ok(count)
    }

    async fn delete_listed(&self, admins: bool, actor: UserId, origin: &Origin) -> Result<u64> {
        let (mut after, mut count) = (None, 0);
        loop {
            let ids = self.users.list_ids_after(after, admins, actor, BATCH).await?;
            let Some(last) = ids.last() else {
                return Ok(count);
            };
            after = Some(*last);
            count += self.delete_batch(&ids, admins, actor, origin).await?;
        }
    }

    async fn delete_batch(
        &self,
        ids: &[UserId],
        admins: bool,
        actor: UserId,
        origin: &Origin,
    ) -> Result<u64> {
        self.deletions.insert(ids, actor, self.clock.now()).await?;
        self.end_sessions(ids, Some(origin)).await?;
        if admins {
            let removal = self.users.remove_many(ids, admins);
            let removed = self.admins.only(actor, removal).await;
            if let Err(Error::LastAdmin | Error::AdminsBusy) = removed {
                // Nothing was begun: what is noted must not be finished by anybody.
                self.deletions.delete(ids).await?;
            }
            removed?;
        } else {
            self.users.remove_many(ids, admins).await?;
        }
        let removed = self.withdraw_existing(ids).await?;
        self.finish(&removed, actor, Some(origin)).await?;
        Ok(u64::try_from(removed.len()).unwrap_or(u64::MAX))
    }

    /// Takes back deletions of accounts that are still there, since their role is another than it was. Returns the rest.
    async fn withdraw_existing(&self, ids: &[UserId]) -> Result<Vec<UserId>> {
        let existing = self.users.list_existing(ids).await?;
        if !existing.is_empty() {
            self.deletions.delete(&existing).await?;
        }
        Ok(ids.iter().filter(|id| !existing.contains(id)).copied().collect())
    }

    /// Everything after an account is gone.
    async fn finish(&self, ids: &[UserId], actor: UserId, origin: Option<&Origin>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        self.end_sessions(ids, origin).await?;
        self.changes.tell_deleted(ids).await?;
        self.personal.delete_of(ids).await?;
        for id in ids {
            let event = AuditEvent {
                action: "user_deleted",
                outcome: "ok",
                actor: Some(actor),
                subject: Some(*id),
                session_id: None,
                origin,
            };
            self.audit.record(event, self.clock.now()).await;
        }
        self.deletions.delete(ids).await
    }

    async fn end_sessions(&self, ids: &[UserId], origin: Option<&Origin>) -> Result<()> {
        for id in self.personal.list_signed_in(ids).await? {
            self.sessions.end_all(id, EndReason::UserGone, origin).await?;
        }
        Ok(())
    }

    /// Finishes deletions that broke off, until `stop`; and lets the feed forget what is old.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.finish_broken_off().await {
                tracing::error!(?error, "deletions that broke off cannot be finished; trying on");
            }
            if let Err(error) = self.changes.purge().await {
                tracing::error!(?error, "old changes of accounts cannot be removed; trying on");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn finish_broken_off(&self) -> Result<()> {
        let before = self.clock.now() - BROKEN_OFF_AFTER;
        loop {
            let found = self.deletions.list_before(before, BATCH).await?;
            if found.is_empty() {
                return Ok(());
            }
            for (id, actor) in found {
                tracing::warn!(user.id = %id, "a deletion broke off and is finished now");
                self.end_sessions(&[id], None).await?;
                // Whoever is an admin by now stays: nobody asked to delete one.
                self.users.remove_many(&[id], false).await?;
                let removed = self.withdraw_existing(&[id]).await?;
                self.finish(&removed, actor, None).await?;
            }
        }
    }
}
