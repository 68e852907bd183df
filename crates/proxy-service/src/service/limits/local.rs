//! Buckets in this process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use moka::future::Cache;

use super::Draw;
use crate::domain::pace::{Bucket, Rate, whole_secs};

/// Buckets kept at once, about 200 bytes each. Whoever is forgotten begins with a full one.
const BUCKETS_MAX: u64 = 100_000;

/// Buckets of whoever asked lately.
#[derive(Clone)]
pub(super) struct LocalBuckets {
    began_at: Instant,
    buckets: Cache<String, Arc<AtomicI64>>,
}

impl LocalBuckets {
    /// Buckets of which the slowest fills as this one does.
    pub(super) fn new(slowest: Rate) -> Self {
        // A bucket that was left alone for as long as it takes to fill is full: it need not be kept.
        let idle = Duration::from_secs(whole_secs(slowest.capacity()).max(1));
        Self {
            began_at: Instant::now(),
            buckets: Cache::builder()
                .max_capacity(BUCKETS_MAX)
                .time_to_idle(idle)
                .build(),
        }
    }

    /// Takes a token.
    pub(super) async fn take(&self, key: &str, rate: Rate) -> Bucket {
        let bucket = self.buckets.get_with_by_ref(key, async { Arc::default() }).await;
        let now = self.now();
        let mut full_at = bucket.load(Ordering::Acquire);
        loop {
            let next = match rate.take(full_at, now) {
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

    /// Takes a token out of each bucket, or none. Requests at the same moment may be refused by each other's tokens, which
    /// they give back; nobody passes who should not.
    pub(super) async fn take_all(&self, draws: &[Draw]) -> Vec<Bucket> {
        let mut buckets: Vec<Bucket> = Vec::with_capacity(draws.len());
        for draw in draws {
            let bucket = if draw.only_looks {
                self.look(&draw.key, draw.rate).await
            } else {
                self.take(&draw.key, draw.rate).await
            };
            buckets.push(bucket);
            if bucket.wait > 0 {
                break;
            }
        }
        let is_refused = buckets.last().is_some_and(|bucket| bucket.wait > 0);
        if is_refused {
            let taken = draws
                .iter()
                .zip(&buckets)
                .filter(|(draw, bucket)| !draw.only_looks && bucket.wait == 0);
            for (draw, _) in taken {
                if let Some(bucket) = self.buckets.get(draw.key.as_str()).await {
                    bucket.fetch_sub(draw.rate.interval, Ordering::AcqRel);
                }
            }
        }
        buckets
    }

    async fn look(&self, key: &str, rate: Rate) -> Bucket {
        let full_at = match self.buckets.get(key).await {
            Some(bucket) => bucket.load(Ordering::Acquire),
            None => 0,
        };
        let now = self.now();
        Bucket {
            full_in: (full_at - now).max(0),
            wait: rate.take(full_at, now).err().unwrap_or_default(),
        }
    }

    fn now(&self) -> i64 {
        i64::try_from(self.began_at.elapsed().as_micros()).unwrap_or(i64::MAX / 2)
    }
}
