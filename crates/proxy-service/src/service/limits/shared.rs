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

use crate::domain::pace::{Bucket, Pace};

/// Takes a token, by Redis' own clock: replicas' clocks differ. Numbers are microseconds. Returns the time until the
/// bucket is full and the time to wait. A bucket that is full again is forgotten.
const TAKE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = tonumber(redis.call('GET', KEYS[1]) or '0')
if full_at < now then full_at = now end
local next = full_at + interval
local wait = next - now - capacity
if wait > 0 then return {full_at - now, wait} end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000))
return {next - now, 0}
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

    /// Takes a token; `None` when Redis is away.
    pub(super) async fn take(&self, key: &str, pace: Pace) -> Option<Bucket> {
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
        match self.ask(key, pace).await {
            Ok(bucket) => {
                if self.away_until.swap(0, Ordering::AcqRel) != 0 {
                    tracing::info!("redis answers again; replicas count requests together");
                }
                Some(bucket)
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

    async fn ask(&self, key: &str, pace: Pace) -> Result<Bucket, RedisError> {
        let mut connection = self.connection().await?;
        let mut call = self.script.prepare_invoke();
        call.key(key).arg(pace.interval()).arg(pace.capacity());
        let asked: Result<(i64, i64), RedisError> = call.invoke_async(&mut connection).await;
        match asked {
            Ok((full_in, wait)) => Ok(Bucket { full_in, wait }),
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
