//! `webhook_messages`: what waits to be told, and what could not be.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::{
    OptionalExtension as _, QueryableByName, sql_query,
    sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use uuid::Uuid;

use super::Database;
use crate::{
    domain::{credits::Credits, ids::UserId, notice::Notice},
    error::{Error, Result},
};

/// How long a message is somebody's who has taken it: longer than any delivery. Whoever died on the way had it for
/// nothing; then it is taken again.
const LEASE: TimeDelta = TimeDelta::seconds(60);

/// A message that has been taken to be delivered.
#[derive(Clone, Debug, QueryableByName)]
pub struct Message {
    /// Its id; the same at each attempt, so that a receiver can tell a repeat.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Its type.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// What is signed and sent.
    #[diesel(sql_type = Text)]
    pub payload: String,
    /// Which attempt this is.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
}

/// A message that was given up.
#[derive(Clone, Debug, QueryableByName)]
pub struct DeadLetter {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub id: Uuid,
    /// Its type.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// What was sent.
    #[diesel(sql_type = Text)]
    pub payload: String,
    /// How often it was tried.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    /// What went wrong last.
    #[diesel(sql_type = Nullable<Text>)]
    pub last_error: Option<String>,
    /// When its fact arose.
    #[diesel(sql_type = Timestamptz)]
    pub created_at: DateTime<Utc>,
    /// When it was given up.
    #[diesel(sql_type = Timestamptz)]
    pub ended_at: DateTime<Utc>,
}

/// How an attempt failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// In words of ours.
    pub error: String,
    /// When to try again; `None` gives up.
    pub again_at: Option<DateTime<Utc>>,
}

/// How much waits.
#[derive(Clone, Copy, Debug, PartialEq, QueryableByName)]
pub struct Backlog {
    /// Messages that wait.
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    /// Messages that were given up.
    #[diesel(sql_type = BigInt)]
    pub dead: i64,
    /// Since when the oldest waits.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub oldest: Option<DateTime<Utc>>,
}

const TAKE: &str = "
    UPDATE webhook_messages SET attempts = attempts + 1, due_at = $2
    WHERE id IN (SELECT id FROM webhook_messages WHERE status = 'waiting' AND due_at <= $1
                 ORDER BY due_at, id LIMIT $3 FOR UPDATE SKIP LOCKED)
    RETURNING id, kind, payload, attempts";

const DELIVERED: &str = "
    UPDATE webhook_messages SET status = 'delivered', ended_at = $2, last_error = NULL
    WHERE id = $1 AND status = 'waiting'";

const FAILED: &str = "
    UPDATE webhook_messages
    SET last_error = $2, due_at = coalesce($3, due_at),
        status = CASE WHEN $3 IS NULL THEN 'dead' ELSE 'waiting' END,
        ended_at = CASE WHEN $3 IS NULL THEN $4 END
    WHERE id = $1 AND status = 'waiting'";

/// One that waits already goes on waiting, and sooner.
const RETRY: &str = "
    UPDATE webhook_messages
    SET status = 'waiting', ended_at = NULL, due_at = $2, attempts = CASE WHEN status = 'dead' THEN 0 ELSE attempts END
    WHERE id = $1 AND (status = 'dead' OR (status = 'waiting' AND last_error IS NOT NULL))
    RETURNING id, kind, payload, attempts";

const DEAD_LETTERS: &str = "
    SELECT id, kind, payload, attempts, last_error, created_at, ended_at FROM webhook_messages m
    WHERE status = 'dead'
      AND ($1 IS NULL OR (ended_at, id) < (SELECT c.ended_at, c.id FROM webhook_messages c WHERE c.id = $1))
    ORDER BY ended_at DESC, id DESC LIMIT $2";

const BACKLOG: &str = "
    SELECT count(*) AS waiting, min(created_at) AS oldest,
           (SELECT count(*) FROM webhook_messages WHERE status = 'dead') AS dead
    FROM webhook_messages WHERE status = 'waiting'";

/// What ends soon, has something left and has not been told of.
const EXPIRING: &str = "
    SELECT a.id, a.user_id, a.remaining_credits, a.expires_at FROM credit_allocations a
    WHERE a.expires_at > $1 AND a.expires_at <= $2 AND a.remaining_credits > 0
      AND NOT EXISTS (SELECT 1 FROM webhook_messages m
                      WHERE m.kind = 'allocation.expiring' AND m.subject = a.id::text)
    ORDER BY a.expires_at, a.id LIMIT $3";

#[derive(QueryableByName)]
struct ExpiringLine {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
    #[diesel(sql_type = Text)]
    user_id: String,
    #[diesel(sql_type = BigInt)]
    remaining_credits: i64,
    #[diesel(sql_type = Timestamptz)]
    expires_at: DateTime<Utc>,
}

/// Another replica may have told of the same a moment ago.
const TELL_EXPIRING: &str = "
    INSERT INTO webhook_messages (id, kind, subject, payload, due_at, created_at)
    SELECT id, 'allocation.expiring', subject, payload, $4, $4
    FROM unnest($1, $2, $3) AS new (id, subject, payload) ORDER BY subject ON CONFLICT DO NOTHING";

const FORGET: &str = "
    DELETE FROM webhook_messages WHERE id IN (
        SELECT id FROM webhook_messages WHERE status <> 'waiting' AND ended_at < $1
        LIMIT $2 FOR UPDATE SKIP LOCKED)";

/// Messages for the webhook.
#[derive(Clone)]
pub struct WebhookStore {
    database: Database,
}

impl WebhookStore {
    /// Messages in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Takes at most `limit` messages that are due; nobody else gets them for a while.
    pub async fn take(&self, now: DateTime<Utc>, limit: i64) -> Result<Vec<Message>> {
        let mut connection = self.database.connection().await?;
        Ok(sql_query(TAKE)
            .bind::<Timestamptz, _>(now)
            .bind::<Timestamptz, _>(now + LEASE)
            .bind::<BigInt, _>(limit)
            .load(&mut connection)
            .await?)
    }

    /// Notes that a message has arrived.
    pub async fn delivered(&self, id: Uuid, now: DateTime<Utc>) -> Result<()> {
        let mut connection = self.database.connection().await?;
        let query = sql_query(DELIVERED)
            .bind::<SqlUuid, _>(id)
            .bind::<Timestamptz, _>(now);
        query.execute(&mut connection).await?;
        Ok(())
    }

    /// Notes that an attempt failed.
    pub async fn failed(&self, id: Uuid, failure: &Failure, now: DateTime<Utc>) -> Result<()> {
        let mut connection = self.database.connection().await?;
        let query = sql_query(FAILED)
            .bind::<SqlUuid, _>(id)
            .bind::<Text, _>(&failure.error)
            .bind::<Nullable<Timestamptz>, _>(failure.again_at)
            .bind::<Timestamptz, _>(now);
        query.execute(&mut connection).await?;
        Ok(())
    }

    /// Gives a dead letter all its attempts again; false when there is no such.
    pub async fn retry(&self, id: Uuid, now: DateTime<Utc>) -> Result<bool> {
        let mut connection = self.database.connection().await?;
        let retried: Option<Message> = sql_query(RETRY)
            .bind::<SqlUuid, _>(id)
            .bind::<Timestamptz, _>(now)
            .get_result(&mut connection)
            .await
            .optional()?;
        Ok(retried.is_some())
    }

    /// What was given up, latest first: at most `limit` after the message `cursor`.
    pub async fn list_dead(&self, cursor: Option<Uuid>, limit: i64) -> Result<Vec<DeadLetter>> {
        let mut connection = self.database.connection().await?;
        Ok(sql_query(DEAD_LETTERS)
            .bind::<Nullable<SqlUuid>, _>(cursor)
            .bind::<BigInt, _>(limit)
            .load(&mut connection)
            .await?)
    }

    /// How much waits and how much was given up.
    pub async fn backlog(&self) -> Result<Backlog> {
        let mut connection = self.database.connection().await?;
        Ok(sql_query(BACKLOG).get_result(&mut connection).await?)
    }

    /// Writes a message for each allocation that ends until `until`, at most `limit` of them; returns how many were found.
    pub async fn tell_expiring(&self, now: DateTime<Utc>, until: DateTime<Utc>, limit: i64) -> Result<usize> {
        let mut connection = self.database.connection().await?;
        let lines: Vec<ExpiringLine> = sql_query(EXPIRING)
            .bind::<Timestamptz, _>(now)
            .bind::<Timestamptz, _>(until)
            .bind::<BigInt, _>(limit)
            .load(&mut connection)
            .await?;
        let notices = lines.into_iter().map(Notice::try_from);
        let notices = notices.collect::<Result<Vec<_>>>()?;
        if notices.is_empty() {
            return Ok(0);
        }
        sql_query(TELL_EXPIRING)
            .bind::<Array<SqlUuid>, _>(notices.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(notices.iter().map(Notice::subject).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(
                notices
                    .iter()
                    .map(|notice| notice.payload(now))
                    .collect::<Vec<_>>(),
            )
            .bind::<Timestamptz, _>(now)
            .execute(&mut connection)
            .await?;
        Ok(notices.len())
    }

    /// Forgets at most `limit` messages that ended before `before`; returns how many.
    pub async fn delete_older(&self, before: DateTime<Utc>, limit: i64) -> Result<usize> {
        let mut connection = self.database.connection().await?;
        Ok(sql_query(FORGET)
            .bind::<Timestamptz, _>(before)
            .bind::<BigInt, _>(limit)
            .execute(&mut connection)
            .await?)
    }
}

impl TryFrom<ExpiringLine> for Notice {
    type Error = Error;

    fn try_from(line: ExpiringLine) -> Result<Self> {
        Ok(Self::AllocationExpiring {
            allocation_id: line.id,
            user_id: UserId::parse(&line.user_id).ok_or(Error::Unreadable("credit_allocations.user_id"))?,
            remaining: Credits::new(line.remaining_credits)
                .ok_or(Error::Unreadable("credit_allocations.remaining_credits"))?,
            expires_at: line.expires_at,
        })
    }
}
