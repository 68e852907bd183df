//! How fast people may ask. Services and admins may as fast as they can.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use common_jwt::Role;
use moka::future::Cache;

use crate::{
    domain::{ids::UserId, pace::Pace},
    error::{Error, Result},
};

/// People whose pace is remembered. Whoever is forgotten begins with a full bucket.
const REMEMBERED_MAX: u64 = 100_000;

/// Buckets of the people who asked lately.
#[derive(Clone)]
pub struct Limits {
    pace: Pace,
    started: Instant,
    buckets: Cache<UserId, Arc<AtomicI64>>,
}

impl Limits {
    /// Nobody faster than `pace`.
    pub fn new(pace: Pace) -> Self {
        // A bucket that was left alone for as long as it takes to fill is full: it need not be kept.
        let idle = Duration::from_secs(pace.window_secs().max(1));
        Self {
            pace,
            started: Instant::now(),
            buckets: Cache::builder()
                .max_capacity(REMEMBERED_MAX)
                .time_to_idle(idle)
                .build(),
        }
    }

    /// Lets one request of a person pass, or says when to come back.
    pub async fn admit(&self, user: &UserId, role: Role) -> Result<()> {
        if role == Role::Admin || self.pace.per_sec == 0 {
            return Ok(());
        }
        let bucket = self.buckets.get_with_by_ref(user, async { Arc::default() }).await;
        let now = i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX / 2);
        let mut full_at = bucket.load(Ordering::Acquire);
        loop {
            let next = self.pace.take(full_at, now).map_err(Error::TooFast)?;
            match bucket.compare_exchange_weak(full_at, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(current) => full_at = current,
            }
        }
    }
}
