//! What auth-service says of people, taken in: changes of name, address and role; and accounts whose owner is gone,
//! which lose their credits and name nobody any more. The history of the money stays.

use common_http::{Clock, RequestContext, UserChangeBody, UserChangeKind, UserChangesBody};
use common_jwt::Role;

use super::{
    accounts::Accounts,
    ledger::{Instruction, Ledger, Origin},
};
use crate::{
    domain::{
        ids::{Actor, UserId},
        ledger::Command,
    },
    error::{Error, Result},
    store::{AccountStore, FeedStore, Identity, SessionStore},
};

/// The feed's name in our database.
const FEED: &str = "user-changes";

/// Accounts looked at in one step of a sweep.
const DUE_PER_STEP: i64 = 64;

/// Takes in the feed of user changes.
#[derive(Clone)]
pub struct People {
    accounts: Accounts,
    store: AccountStore,
    sessions: SessionStore,
    feeds: FeedStore,
    ledger: Ledger,
    clock: Clock,
}

impl People {
    /// People in these stores.
    pub fn new(
        accounts: Accounts,
        store: AccountStore,
        sessions: SessionStore,
        feeds: FeedStore,
        ledger: Ledger,
        clock: Clock,
    ) -> Self {
        Self {
            accounts,
            store,
            sessions,
            feeds,
            ledger,
            clock,
        }
    }

    /// Where the feed goes on.
    pub async fn cursor(&self) -> Result<String> {
        self.feeds.find_cursor(FEED).await
    }

    /// Does what the changes ask for, then notes the cursor. Done twice it does no more than once.
    pub async fn take_in(&self, changes: UserChangesBody) -> anyhow::Result<()> {
        let work = async {
            for change in &changes.changes {
                self.take_in_one(change).await?;
            }
            self.feeds
                .update_cursor(FEED, &changes.cursor, self.clock.now())
                .await?;
            Ok(())
        };
        RequestContext::background().scope(work).await
    }

    async fn take_in_one(&self, change: &UserChangeBody) -> Result<()> {
        let Some(id) = UserId::parse(&change.id) else {
            tracing::warn!("a change names no user; it is skipped");
            return Ok(());
        };
        match change.kind {
            UserChangeKind::Deleted => self.forget(&id).await,
            UserChangeKind::Disabled | UserChangeKind::Enabled | UserChangeKind::Updated => {
                self.update(id, change).await
            }
            UserChangeKind::Unknown => Ok(()),
        }
    }

    async fn update(&self, id: UserId, change: &UserChangeBody) -> Result<()> {
        let (Some(username), Some(email)) = (&change.username, &change.email) else {
            return Ok(());
        };
        let role: Role = match change.role.as_deref().unwrap_or_default().parse() {
            Ok(role) => role,
            Err(never) => match never {},
        };
        let identity = Identity::new(id, username, email, role);
        self.store.update(&identity, self.clock.now()).await?;
        self.accounts.forget(&identity.id).await;
        Ok(())
    }

    async fn forget(&self, id: &UserId) -> Result<()> {
        let is_known = self.store.anonymise(id, self.clock.now()).await?;
        self.accounts.forget(id).await;
        if is_known && let Err(error) = self.remove_credits(id).await {
            // It is due, and done by the next sweep.
            tracing::warn!(%error, user.id = %id, "the credits of a deleted user are removed a little later");
        }
        Ok(())
    }

    /// Removes credits of deleted users that came back from holds since, until there are none left to come.
    pub async fn sweep(&self) -> Result<()> {
        let mut after = None;
        loop {
            let due = self.store.list_removal_due(after.as_ref(), DUE_PER_STEP).await?;
            for id in &due {
                self.remove_credits(id).await?;
            }
            let Some(last) = due.into_iter().next_back() else {
                return Ok(());
            };
            after = Some(last);
        }
    }

    /// Removes what can be spent. It is the end of it unless something was held before: that may come back.
    async fn remove_credits(&self, id: &UserId) -> Result<()> {
        let may_come_back = self.sessions.has_open(id).await?;
        let removed = self
            .ledger
            .submit(Instruction {
                user_id: id.clone(),
                command: Command::RemoveAll,
                description: Some("the user was deleted".to_owned()),
                origin: Origin {
                    actor: Actor::system(),
                    request_id: RequestContext::current().request_id().to_owned(),
                    idempotency: None,
                },
                status: 200,
                render: Box::new(|_| Ok(String::new())),
            })
            .await;
        match removed {
            Ok(_) if may_come_back => Ok(()),
            Ok(_) | Err(Error::UserNotFound) => self.store.clear_removal_due(id).await,
            Err(error) => Err(error),
        }
    }
}
