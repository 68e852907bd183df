//! Accounts come into being when their owner, or somebody who grants credits, first speaks of them.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use common_http::Clock;
use moka::future::Cache;

use super::Rules;
use crate::{
    domain::{
        ids::UserId,
        text::{Email, Name},
    },
    error::{Error, Result},
    store::{Account, AccountStore, Identity},
};

/// How long an identity that was written is taken as written. After that it is written once more, which heals what a
/// token older than a change may have put back through another replica.
const FRESH: Duration = Duration::from_mins(10);

/// Identities that are remembered.
const REMEMBERED_MAX: u64 = 100_000;

/// Accounts, and which of them are known to be up to date.
#[derive(Clone)]
pub struct Accounts {
    store: AccountStore,
    rules: Rules,
    clock: Clock,
    written: Cache<UserId, Identity>,
}

impl Accounts {
    /// Accounts in `store`; `rules` say what new ones are given.
    pub fn new(store: AccountStore, rules: Rules, clock: Clock) -> Self {
        let written = Cache::builder()
            .max_capacity(REMEMBERED_MAX)
            .time_to_live(FRESH)
            .build();
        Self {
            store,
            rules,
            clock,
            written,
        }
    }

    /// Makes sure the account exists and says what `identity` says. Most calls are answered from memory; of those that
    /// come at once for one account a single one writes, for the row may be locked by the ledger's writer and every
    /// one of them would hold a connection meanwhile.
    pub async fn ensure(&self, identity: &Identity) -> Result<()> {
        if self.written.get(&identity.id).await.as_ref() == Some(identity) {
            return Ok(());
        }
        let write = async {
            self.write(identity).await?;
            Ok(identity.clone())
        };
        let known = self
            .written
            .try_get_with_by_ref(&identity.id, write)
            .await
            .map_err(unshare)?;
        if known != *identity {
            self.write(identity).await?;
            self.written.insert(identity.id.clone(), identity.clone()).await;
        }
        Ok(())
    }

    /// Makes sure an account of this id exists, whoever that is.
    pub async fn ensure_id(&self, id: &UserId) -> Result<()> {
        if !self.written.contains_key(id) && self.store.find(id).await?.is_none() {
            self.store.insert_unknown(id, self.clock.now()).await?;
        }
        Ok(())
    }

    /// Makes an account before its owner comes. One that is only known by its id, because credits were granted to it,
    /// takes on what is said of it; one that was closed is open again.
    pub async fn create(&self, identity: &Identity, now: DateTime<Utc>) -> Result<()> {
        let known = self.store.find(&identity.id).await?;
        if known.is_some_and(|account| account.email.is_some()) {
            return Err(Error::AccountExists);
        }
        if let Some(email) = &identity.email
            && self.store.find_by_email(email).await?.is_some()
        {
            return Err(Error::EmailTaken);
        }
        self.store.reopen(&identity.id, now).await?;
        self.write_at(identity, now).await
    }

    async fn write(&self, identity: &Identity) -> Result<()> {
        self.write_at(identity, self.clock.now()).await
    }

    async fn write_at(&self, identity: &Identity, now: DateTime<Utc>) -> Result<()> {
        if self.store.upsert(identity, now).await? {
            self.rules.welcome(&identity.id, identity.role).await;
        }
        Ok(())
    }

    /// The same for an account that is to be given credits: one whose owner was deleted gets none.
    pub async fn ensure_grantable(&self, id: &UserId) -> Result<()> {
        self.ensure_id(id).await?;
        if self.store.is_deleted(id).await? {
            return Err(Error::UserNotFound);
        }
        Ok(())
    }

    /// Forgets what was last written of this account, since somebody else has written.
    pub async fn forget(&self, id: &UserId) {
        self.written.invalidate(id).await;
    }

    /// The account that `text` names: by id, by address, or by a name that only one account has.
    pub async fn resolve(&self, text: &str) -> Result<Account> {
        let found = if let Some(id) = UserId::parse(text) {
            self.store.find(&id).await?
        } else if let Some(email) = Email::parse(&text.replace("%40", "@")) {
            self.store.find_by_email(&email).await?
        } else {
            let username = Name::<255>::parse(text).ok_or(Error::UserNotFound)?;
            let mut accounts = self.store.list_by_username(&username).await?;
            if accounts.len() > 1 {
                return Err(Error::AmbiguousUsername);
            }
            accounts.pop()
        };
        found.ok_or(Error::UserNotFound)
    }

    /// The account of this address.
    pub async fn find_by_email(&self, email: &Email) -> Result<Account> {
        self.store.find_by_email(email).await?.ok_or(Error::UserNotFound)
    }
}

/// The error that all who waited for one write share.
fn unshare(error: Arc<Error>) -> Error {
    Arc::try_unwrap(error).unwrap_or_else(|shared| {
        tracing::warn!(error = %shared, "an account could not be brought up to date");
        Error::Unavailable
    })
}
