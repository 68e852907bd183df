//! Buckets in Redis, for all replicas together.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{AsyncConnectionConfig, Client, RedisError, Script, aio::MultiplexedConnection};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use super::Draw;
use crate::domain::pace::Bucket;

/// Takes a token out of each bucket, or none, by Redis' own clock: replicas' clocks differ. Numbers are microseconds. For each
/// key there are the interval, the capacity, and whether to take or only to look; for each it returns the time until the
/// bucket is full and the time to wait. A bucket that is full again is forgotten.
const TAKE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local answer, refused = {}, false
local nexts = {}
for index, key in ipairs(KEYS) do
    local interval, capacity = tonumber(ARGV[3 * index - 2]), tonumber(ARGV[3 * index - 1])
    local full_at = tonumber(redis.call('GET', key) or '0')
    if full_at < now then full_at = now end
    nexts[index] = full_at + interval
    local wait = nexts[index] - now - capacity
    if wait > 0 then refused = true else wait = 0 end
    answer[2 * index - 1] = full_at - now
    answer[2 * index] = wait
end
if refused then return answer end
for index, key in ipairs(KEYS) do
    if ARGV[3 * index] == '1' then
        local full_in = nexts[index] - now
        redis.call('SET', key, string.format('%.0f', nexts[index]), 'PX', math.ceil(full_in / 1000))
        answer[2 * index - 1] = full_in
    end
end
return answer
";

/// How long a request waits for Redis before this replica counts for itself.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(250);

/// How long a connection may take to open; in the meantime requests are counted here.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// How long Redis is left alone after it did not answer: nobody waits for it again and again.
const LEFT_ALONE: Duration = Duration::from_secs(1);

/// Redis, as a keeper of buckets.
#[derive(Clone)]
pub(super) struct SharedBuckets {
    client: Client,
    script: Arc<Script>,
    connection: Arc<Mutex<Option<MultiplexedConnection>>>,
    began_at: Instant,
    /// Until when Redis is left alone, in microseconds since `began_at`; zero while it answers.
    away_until: Arc<AtomicI64>,
}

impl SharedBuckets {
    /// Buckets in the Redis at `url`.
    pub(super) fn new(url: &SecretString) -> Result<Self, RedisError> {
        Ok(Self {
            client: Client::open(url.expose_secret())?,
            script: Arc::new(Script::new(TAKE)),
            connection: Arc::default(),
            began_at: Instant::now(),
            away_until: Arc::default(),
        })
    }

    /// Whether Redis did not answer when last asked.
    pub(super) fn is_away(&self) -> bool {
        self.away_until.load(Ordering::Acquire) != 0
    }

    /// Takes a token out of each bucket, or none; `None` when Redis is away.
    pub(super) async fn take_all(&self, draws: &[Draw]) -> Option<Vec<Bucket>> {
        let away_until = self.away_until.load(Ordering::Acquire);
        if away_until != 0 {
            let now = self.now();
            // Of all that come after the pause one looks whether Redis is back.
            let next = now + micros(LEFT_ALONE);
            let is_first = now >= away_until
                && self
                    .away_until
                    .compare_exchange(away_until, next, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok();
            if !is_first {
                return None;
            }
        }
        match self.ask(draws).await {
            Ok(buckets) => {
                if self.away_until.swap(0, Ordering::AcqRel) != 0 {
                    tracing::info!("redis answers again; replicas count requests together");
                }
                Some(buckets)
            }
            Err(error) => {
                let until = self.now() + micros(LEFT_ALONE);
                if self.away_until.swap(until, Ordering::AcqRel) == 0 {
                    tracing::warn!(error = %error.category(), "redis is away; this replica counts requests for itself");
                }
                None
            }
        }
    }

    async fn ask(&self, draws: &[Draw]) -> Result<Vec<Bucket>, RedisError> {
        let mut connection = self.connection().await?;
        let mut call = self.script.prepare_invoke();
        for draw in draws {
            call.key(&draw.key)
                .arg(draw.rate.interval)
                .arg(draw.rate.capacity())
                .arg(u8::from(!draw.only_looks));
        }
        let asked: Result<Vec<i64>, RedisError> = call.invoke_async(&mut connection).await;
        match asked {
            Ok(numbers) => Ok(numbers
                .chunks_exact(2)
                .filter_map(|pair| match pair {
                    [full_in, wait] => Some(Bucket {
                        full_in: *full_in,
                        wait: *wait,
                    }),
                    _ => None,
                })
                .collect()),
            Err(error) => {
                // A new one is opened the next time; this one may hang for ever.
                *self.connection.lock().await = None;
                Err(error)
            }
        }
    }

    /// The one connection, which all requests share.
    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut connection = self.connection.lock().await;
        if let Some(open) = &*connection {
            return Ok(open.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(ANSWER_TIMEOUT));
        let open = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        Ok(connection.insert(open).clone())
    }

    fn now(&self) -> i64 {
        // Never zero, which means that Redis answers.
        micros(self.began_at.elapsed()).saturating_add(1)
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 2)
}
