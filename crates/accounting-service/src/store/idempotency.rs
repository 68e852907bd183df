//! `idempotency_keys`: answers that repeated requests get again.

use chrono::{DateTime, Utc};
use diesel::{
    OptionalExtension as _, QueryDsl as _, Queryable, QueryableByName, Selectable, SelectableHelper as _,
    sql_types::{BigInt, Timestamptz},
};
use diesel_async::RunQueryDsl as _;
use uuid::Uuid;

use super::{Database, schema::idempotency_keys};
use crate::{domain::idempotency::IdempotencyKey, error::Result};

/// An answer that was given before.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, QueryableByName)]
#[diesel(table_name = idempotency_keys, check_for_backend(diesel::pg::Pg))]
pub struct Remembered {
    /// Who sent the request where.
    pub scope: String,
    /// The key the client chose.
    pub key: String,
    /// What the request meant.
    pub fingerprint: Vec<u8>,
    /// The status it was answered with.
    pub status: i16,
    /// The body it was answered with.
    pub body: String,
}

/// An answer to be remembered.
#[derive(Clone, Debug)]
pub struct RememberedRow {
    /// The key it is remembered under.
    pub key: IdempotencyKey,
    /// The status.
    pub status: i16,
    /// The body as it was sent.
    pub body: String,
    /// The command whose effect it reports, where the ledger has one.
    pub command_id: Option<Uuid>,
    /// When it was given.
    pub created_at: DateTime<Utc>,
}

impl From<&RememberedRow> for Remembered {
    fn from(row: &RememberedRow) -> Self {
        Self {
            scope: row.key.scope.clone(),
            key: row.key.key.clone(),
            fingerprint: row.key.fingerprint.clone(),
            status: row.status,
            body: row.body.clone(),
        }
    }
}

/// In small steps, so that no step holds locks for long.
const SWEEP: &str = "
    DELETE FROM idempotency_keys WHERE (scope, key) IN
        (SELECT scope, key FROM idempotency_keys WHERE created_at < $1 ORDER BY created_at LIMIT $2)";

/// Remembered answers.
#[derive(Clone)]
pub struct IdempotencyStore {
    database: Database,
}

impl IdempotencyStore {
    /// Answers in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The answer remembered under this key.
    pub async fn find(&self, key: &IdempotencyKey) -> Result<Option<Remembered>> {
        let mut connection = self.database.connection().await?;
        Ok(idempotency_keys::table
            .find((&key.scope, &key.key))
            .select(Remembered::as_select())
            .first(&mut connection)
            .await
            .optional()?)
    }

    /// Forgets at most `limit` answers given before `before`; returns how many.
    pub async fn delete_older(&self, before: DateTime<Utc>, limit: i64) -> Result<usize> {
        let mut connection = self.database.connection().await?;
        Ok(diesel::sql_query(SWEEP)
            .bind::<Timestamptz, _>(before)
            .bind::<BigInt, _>(limit)
            .execute(&mut connection)
            .await?)
    }
}
