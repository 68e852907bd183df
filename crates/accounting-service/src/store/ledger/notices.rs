//! What a batch leaves to be told, written with it.

use chrono::{DateTime, Utc};
use diesel::{
    QueryResult, sql_query,
    sql_types::{Array, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use futures_util::join;
use uuid::Uuid;

use super::{LedgerConnection, Prepared};
use crate::domain::{
    ids::UserId,
    notice::{Notice, Noticed},
};

const RECOVER: &str = "DELETE FROM low_balances WHERE user_id = ANY($1)";

/// Only of accounts of which it has not been told yet.
const RUN_LOW: &str = "
    WITH told AS (
        INSERT INTO low_balances (user_id, since) SELECT user_id, $4 FROM unnest($1) AS low (user_id)
        ORDER BY user_id ON CONFLICT DO NOTHING RETURNING user_id)
    INSERT INTO webhook_messages (id, kind, subject, payload, due_at, created_at)
    SELECT id, 'credit.low', user_id, payload, $4, $4
    FROM unnest($1, $2, $3) AS new (user_id, id, payload) JOIN told USING (user_id)";

const TELL: &str = "
    INSERT INTO webhook_messages (id, kind, subject, payload, due_at, created_at)
    SELECT id, kind, subject, payload, $5, $5
    FROM unnest($1, $2, $3, $4) AS new (id, kind, subject, payload)";

impl LedgerConnection {
    /// Writes the messages.
    pub(super) async fn insert_notices(&self, noticed: &Noticed, now: DateTime<Utc>) -> QueryResult<usize> {
        // Polled, and so sent, in this order: who has recovered may run low once more.
        let (recovered, low, expired) = join!(
            self.recover(noticed),
            self.run_low(noticed, now),
            self.tell_expired(noticed, now)
        );
        Ok(recovered? + low? + expired?)
    }

    async fn recover(&self, noticed: &Noticed) -> QueryResult<usize> {
        if noticed.recovered.is_empty() {
            return Ok(0);
        }
        let users: Vec<&str> = noticed.recovered.iter().map(UserId::as_str).collect();
        let connection = &self.connection;
        Prepared(sql_query(RECOVER).bind::<Array<Text>, _>(users))
            .execute(&mut &*connection)
            .await
    }

    async fn run_low(&self, noticed: &Noticed, now: DateTime<Utc>) -> QueryResult<usize> {
        if noticed.low.is_empty() {
            return Ok(0);
        }
        let query = sql_query(RUN_LOW)
            .bind::<Array<Text>, _>(noticed.low.keys().map(UserId::as_str).collect::<Vec<_>>())
            .bind::<Array<SqlUuid>, _>(new_ids(noticed.low.len()))
            .bind::<Array<Text>, _>(payloads(noticed.low.values(), now))
            .bind::<Timestamptz, _>(now);
        let connection = &self.connection;
        Prepared(query).execute(&mut &*connection).await
    }

    async fn tell_expired(&self, noticed: &Noticed, now: DateTime<Utc>) -> QueryResult<usize> {
        let expired = &noticed.expired;
        if expired.is_empty() {
            return Ok(0);
        }
        let query = sql_query(TELL)
            .bind::<Array<SqlUuid>, _>(new_ids(expired.len()))
            .bind::<Array<Text>, _>(expired.iter().map(Notice::kind).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(expired.iter().map(Notice::subject).collect::<Vec<_>>())
            .bind::<Array<Text>, _>(payloads(expired, now))
            .bind::<Timestamptz, _>(now);
        let connection = &self.connection;
        Prepared(query).execute(&mut &*connection).await
    }
}

fn new_ids(count: usize) -> Vec<Uuid> {
    (0..count).map(|_| Uuid::now_v7()).collect()
}

fn payloads<'a>(notices: impl IntoIterator<Item = &'a Notice>, now: DateTime<Utc>) -> Vec<String> {
    notices.into_iter().map(|notice| notice.payload(now)).collect()
}
