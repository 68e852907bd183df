//! `locks`: what only one request at a time may do, on whichever replica.

use std::time::{Duration, Instant};

use bson::{Document, doc};
use mongodb::{Collection, Database, options::ReturnDocument};
use uuid::Uuid;

use crate::error::{Error, Result};

/// How long a lock is held at most: whoever took it may have died.
const LIFETIME: Duration = Duration::from_secs(10);

/// How much of that its holder may use. The rest is for a write that is on its way.
const USABLE: Duration = Duration::from_secs(5);

/// Locks by name. The database's own clock decides when one has run out: replicas' clocks may differ.
#[derive(Clone, Debug)]
pub(crate) struct LockStore {
    rows: Collection<Document>,
}

/// A lock that is held.
#[derive(Clone, Debug)]
pub(crate) struct Lock {
    name: &'static str,
    holder: String,
    taken_at: Instant,
}

impl Lock {
    /// Whether a write that begins now ends while the lock is still held.
    pub(crate) fn is_good(&self) -> bool {
        self.taken_at.elapsed() < USABLE
    }
}

impl LockStore {
    /// The locks of this database.
    pub(crate) fn new(database: &Database) -> Self {
        Self {
            rows: database.collection("locks"),
        }
    }

    /// Takes the lock; `None` when somebody else holds it.
    pub(crate) async fn take(&self, name: &'static str) -> Result<Option<Lock>> {
        let lock = Lock {
            name,
            holder: Uuid::new_v4().to_string(),
            taken_at: Instant::now(),
        };
        let lifetime_ms = i64::try_from(LIFETIME.as_millis()).unwrap_or(i64::MAX);
        // A lock that nobody ever took has no end, which compares as earlier than any time.
        let is_free = doc! { "$lte": ["$expiresAt", "$$NOW"] };
        let update = vec![doc! { "$set": {
            "holder": { "$cond": [&is_free, &lock.holder, "$holder"] },
            "expiresAt": { "$cond": [&is_free, { "$add": ["$$NOW", lifetime_ms] }, "$expiresAt"] },
        } }];
        let taken = self
            .rows
            .find_one_and_update(doc! { "_id": name }, update)
            .upsert(true)
            .return_document(ReturnDocument::After)
            .await;
        match taken {
            Ok(row) => {
                let is_ours =
                    row.is_some_and(|row| row.get_str("holder").is_ok_and(|holder| holder == lock.holder));
                Ok(is_ours.then_some(lock))
            }
            // Somebody else took it for the first time at this moment.
            Err(error) if Error::duplicate_key(&error).is_some() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the lock back, so that nobody has to wait for it to run out.
    pub(crate) async fn release(&self, lock: &Lock) -> Result<()> {
        let ours = doc! { "_id": lock.name, "holder": &lock.holder };
        self.rows.delete_one(ours).await?;
        Ok(())
    }
}
