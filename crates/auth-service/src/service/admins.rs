//! There is always an admin who can sign in: without one nobody could ever make another.
//!
//! Whatever may take the last one away happens under one lock for all replicas, with the look whether another is left.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    domain::user::UserId,
    error::{Error, Result},
    store::{
        locks::{Lock, LockStore},
        users::UserStore,
    },
};

/// The lock's name.
const ADMINS: &str = "admins";

/// How often the lock is tried for, and how long to wait before the next try: longer than it is held at most.
const TRIES: u32 = 480;
const PAUSE: Duration = Duration::from_millis(25);

/// Guards the last admin.
#[derive(Clone, Debug)]
pub(crate) struct Admins {
    users: UserStore,
    locks: LockStore,
}

impl Admins {
    /// Guards the admins among `users`.
    pub(crate) fn new(users: UserStore, locks: LockStore) -> Self {
        Self { users, locks }
    }

    /// Makes a change after which `id` is no admin who can sign in, if somebody else is one.
    pub(crate) async fn without<T>(&self, id: UserId, change: impl Future<Output = Result<T>>) -> Result<T> {
        let lock = self.lock().await?;
        let changed = async {
            if !self.users.has_other_active_admin(id).await? {
                return Err(Error::LastAdmin);
            }
            within(&lock, change).await
        };
        let changed = changed.await;
        self.unlock(&lock).await;
        changed
    }

    /// Makes a change that may leave no other admin than `id`, if that is one who can sign in.
    pub(crate) async fn only<T>(&self, id: UserId, change: impl Future<Output = Result<T>>) -> Result<T> {
        let lock = self.lock().await?;
        let changed = async {
            if !self.users.is_active_admin(id).await? {
                return Err(Error::LastAdmin);
            }
            within(&lock, change).await
        };
        let changed = changed.await;
        self.unlock(&lock).await;
        changed
    }

    async fn lock(&self) -> Result<Lock> {
        for _ in 0..TRIES {
            if let Some(lock) = self.locks.take(ADMINS).await? {
                return Ok(lock);
            }
            sleep(PAUSE).await;
        }
        Err(Error::AdminsBusy)
    }

    async fn unlock(&self, lock: &Lock) {
        if let Err(error) = self.locks.release(lock).await {
            tracing::warn!(?error, "the lock of the admins runs out by itself");
        }
    }
}

/// Begins `change` only while enough of the lock's time is left for it.
async fn within<T>(lock: &Lock, change: impl Future<Output = Result<T>>) -> Result<T> {
    if !lock.is_good() {
        return Err(Error::AdminsBusy);
    }
    change.await
}
