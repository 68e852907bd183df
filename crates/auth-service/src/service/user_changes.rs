//! The feed of what happens to accounts: proxy-service and accounting-service follow it, and forget whom we forget.

use std::{sync::Arc, time::Duration};

use common_http::{Clock, Timestamp, UserChangeBody, UserChangeKind, UserChangesBody};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    domain::user::{SignInRule, User, UserId},
    error::Result,
    service::{settings::RuntimeSettings, tokens::seconds},
    store::{
        user_changes::{AccountSnapshot, UserChange, UserChangeStore},
        users::UserStore,
    },
};

/// How often a poll that waits looks for what other replicas wrote.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The longest a poll is held open.
pub(crate) const WAIT_SECS_MAX: u64 = 25;

/// Changes in one answer.
const LISTED_MAX: i64 = 500;

/// How long a change is left to the request that made it; then somebody else tells of it.
const TOLD_WITHIN: chrono::Duration = chrono::Duration::seconds(1);

/// Untold changes of others that are told in one go.
const OVERDUE_MAX: i64 = 200;

/// How often somebody who changes all the time is looked at again.
const LOOKS_MAX: usize = 8;

/// Tells of changes, and lists them.
#[derive(Clone, Debug)]
pub(crate) struct UserChanges {
    store: UserChangeStore,
    users: UserStore,
    settings: RuntimeSettings,
    wake: Arc<Notify>,
    clock: Clock,
    kept: chrono::Duration,
}

impl UserChanges {
    /// The feed in `store` about `users`.
    pub(crate) fn new(
        config: &Config,
        store: UserChangeStore,
        users: UserStore,
        settings: RuntimeSettings,
    ) -> Self {
        Self {
            store,
            users,
            settings,
            wake: Arc::default(),
            clock: config.clock.clone(),
            kept: seconds(config.user_changes_kept),
        }
    }

    /// Tells how this account is now. `kind` says what happened to it; somebody who may not sign in is told as
    /// disabled, whatever else changed.
    ///
    /// The account is looked at again afterwards: what is told last is how it is, whoever else tells meanwhile.
    pub(crate) async fn tell(&self, id: UserId, kind: UserChangeKind) -> Result<()> {
        for _ in 0..LOOKS_MAX {
            let Some((user, mark)) = self.users.find_marked(id).await? else {
                return self.tell_deleted(&[id]).await;
            };
            let rule = self.settings.sign_in_rule();
            let (told_as, snapshot) = (kind_of(&user, kind, rule), snapshot_of(&user));
            let now = self.clock.now();
            self.store
                .append(&[id], told_as.as_str(), Some(&snapshot), now)
                .await?;
            let after = self.users.find_marked(id).await?;
            let is_so = after.as_ref().is_some_and(|(after, _)| {
                (kind_of(after, kind, rule), snapshot_of(after)) == (told_as, snapshot)
            });
            if is_so {
                if let Some(mark) = mark {
                    self.users.clear_mark(id, mark).await?;
                }
                break;
            }
        }
        self.wake.notify_waiters();
        Ok(())
    }

    /// Tells of a change that is done: its request does not fail when this does, for the change is marked and told by
    /// the next look.
    pub(crate) async fn tell_soon(&self, id: UserId, kind: UserChangeKind) {
        if let Err(error) = self.tell(id, kind).await {
            tracing::warn!(?error, user.id = %id, "a change is told a little later");
        }
    }

    /// Tells that these accounts are gone.
    pub(crate) async fn tell_deleted(&self, ids: &[UserId]) -> Result<()> {
        let kind = UserChangeKind::Deleted.as_str();
        self.store.append(ids, kind, None, self.clock.now()).await?;
        self.wake.notify_waiters();
        Ok(())
    }

    /// Tells of changes that nobody told of, until `stop`, and forgets those that are kept no longer.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let mut is_up = true;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            match self.tell_overdue().await {
                Ok(()) => is_up = true,
                Err(error) => {
                    if is_up {
                        tracing::error!(?error, "changes of accounts cannot be told; trying on");
                    }
                    is_up = false;
                }
            }
        }
    }

    async fn tell_overdue(&self) -> Result<()> {
        let before = self.clock.now() - TOLD_WITHIN;
        for id in self.users.list_marked(before, OVERDUE_MAX).await? {
            self.tell(id, UserChangeKind::Updated).await?;
        }
        Ok(())
    }

    /// Forgets what is kept no longer.
    pub(crate) async fn purge(&self) -> Result<()> {
        let removed = self.store.delete_before(self.clock.now() - self.kept).await?;
        if removed > 0 {
            tracing::info!(removed, "old changes of accounts were removed");
        }
        Ok(())
    }

    /// What happened since `cursor`; waits up to `wait` for something, or until `stop`.
    pub(crate) async fn since(
        &self,
        cursor: &str,
        wait: Duration,
        stop: &CancellationToken,
    ) -> Result<UserChangesBody> {
        let asked = cursor.parse().ok().filter(|number| *number > 0).unwrap_or(0);
        let mut number: i64 = asked;
        if number > 0 && number > self.store.latest().await? {
            // The database was restored from a copy that is older than the cursor: begin again.
            number = 0;
        }
        let deadline = tokio::time::sleep(wait);
        tokio::pin!(deadline);
        let changes = loop {
            let woken = self.wake.notified();
            let changes = self.store.list_after(number, LISTED_MAX).await?;
            if !changes.is_empty() {
                break changes;
            }
            tokio::select! {
                () = woken => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = &mut deadline => break changes,
                () = stop.cancelled() => break changes,
            }
        };
        Ok(UserChangesBody {
            cursor: changes.last().map_or(number, |change| change.number).to_string(),
            changes: changes.into_iter().map(body_of).collect(),
        })
    }
}

fn kind_of(user: &User, kind: UserChangeKind, rule: SignInRule) -> UserChangeKind {
    if rule.opens(user) {
        kind
    } else {
        UserChangeKind::Disabled
    }
}

fn snapshot_of(user: &User) -> AccountSnapshot {
    AccountSnapshot {
        username: user.username.clone(),
        email: user.email.clone(),
        role: user.role.as_str().to_owned(),
    }
}

fn body_of(change: UserChange) -> UserChangeBody {
    let kind = match change.kind.as_str() {
        "deleted" => UserChangeKind::Deleted,
        "disabled" => UserChangeKind::Disabled,
        "enabled" => UserChangeKind::Enabled,
        "updated" => UserChangeKind::Updated,
        _ => UserChangeKind::Unknown,
    };
    let (username, email, role) = change.account.map_or((None, None, None), |account| {
        (Some(account.username), Some(account.email), Some(account.role))
    });
    UserChangeBody {
        id: change.user_id.to_string(),
        kind,
        username,
        email,
        role,
        at: Timestamp(change.at).to_string(),
    }
}
