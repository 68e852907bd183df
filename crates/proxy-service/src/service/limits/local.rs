//! Buckets in this process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use moka::future::Cache;

use crate::domain::pace::{Bucket, Pace, whole_secs};

/// Buckets kept at once, about 200 bytes each. Whoever is forgotten begins with a full one.
const BUCKETS_MAX: u64 = 100_000;

/// Buckets of whoever asked lately.
#[derive(Clone)]
pub(super) struct LocalBuckets {
    began_at: Instant,
    buckets: Cache<String, Arc<AtomicI64>>,
}

impl LocalBuckets {
    /// Buckets for these paces.
    pub(super) fn new(paces: &[Pace]) -> Self {
        // A bucket that was left alone for as long as it takes to fill is full: it need not be kept.
        let idle = paces.iter().map(|pace| whole_secs(pace.capacity())).max();
        let idle = Duration::from_secs(idle.unwrap_or_default().max(1));
        Self {
            began_at: Instant::now(),
            buckets: Cache::builder()
                .max_capacity(BUCKETS_MAX)
                .time_to_idle(idle)
                .build(),
        }
    }

    /// Takes a token.
    pub(super) async fn take(&self, key: &str, pace: Pace) -> Bucket {
        let bucket = self.buckets.get_with_by_ref(key, async { Arc::default() }).await;
        let now = i64::try_from(self.began_at.elapsed().as_micros()).unwrap_or(i64::MAX / 2);
        let mut full_at = bucket.load(Ordering::Acquire);
        loop {
            let next = match pace.take(full_at, now) {
                Ok(next) => next,
                Err(wait) => {
                    return Bucket {
                        full_in: full_at - now,
                        wait,
                    };
                }
            };
            match bucket.compare_exchange_weak(full_at, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    return Bucket {
                        full_in: next - now,
                        wait: 0,
                    };
                }
                Err(current) => full_at = current,
            }
        }
    }
}
