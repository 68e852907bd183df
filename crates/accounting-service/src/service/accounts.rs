//! Accounts come into being when their owner, or somebody who grants credits, first speaks of them.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use common_http::Clock;

use crate::{
    domain::{ids::UserId, text::Email},
    error::{Error, Result},
    store::{Account, AccountStore, Identity},
};

/// How long an identity that was written is taken as written. After that it is written once more, which heals what a
/// token older than a change may have put back through another replica.
const FRESH_SECS: i64 = 600;

/// More identities than this are not remembered; the map starts anew.
const REMEMBERED_MAX: usize = 100_000;

/// Accounts, and which of them are known to be up to date.
#[derive(Clone)]
pub struct Accounts {
    store: AccountStore,
    clock: Clock,
    written: Arc<Mutex<HashMap<UserId, (u64, DateTime<Utc>)>>>,
    hasher: RandomState,
}

impl Accounts {
    /// Accounts in `store`.
    pub fn new(store: AccountStore, clock: Clock) -> Self {
        Self {
            store,
            clock,
            written: Arc::default(),
            hasher: RandomState::new(),
        }
    }

    /// Makes sure the account exists and says what `identity` says. Most calls are answered from memory.
    pub async fn ensure(&self, identity: &Identity) -> Result<()> {
        let now = self.clock.now();
        let hash = self.hasher.hash_one(identity);
        if self.is_written(&identity.id, hash, now) {
            return Ok(());
        }
        self.store.upsert(identity, now).await?;
        self.remember(identity.id.clone(), hash, now);
        Ok(())
    }

    /// Makes sure an account of this id exists, whoever that is.
    pub async fn ensure_id(&self, id: &UserId) -> Result<()> {
        if self.store.find(id).await?.is_none() {
            self.store.insert_unknown(id, self.clock.now()).await?;
        }
        Ok(())
    }

    /// The account that `text` names: by id, by address, or by a name that only one account has.
    pub async fn resolve(&self, text: &str) -> Result<Account> {
        let found = if let Some(id) = UserId::parse(text) {
            self.store.find(&id).await?
        } else if let Some(email) = Email::parse(&text.replace("%40", "@")) {
            self.store.find_by_email(&email).await?
        } else {
            let mut accounts = self.store.list_by_username(text).await?;
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

    fn is_written(&self, id: &UserId, hash: u64, now: DateTime<Utc>) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(id).is_some_and(|(known, until)| *known == hash && *until > now)
    }

    fn remember(&self, id: UserId, hash: u64, now: DateTime<Utc>) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if written.len() >= REMEMBERED_MAX {
            written.clear();
        }
        written.insert(id, (hash, now + TimeDelta::seconds(FRESH_SECS)));
    }
}
