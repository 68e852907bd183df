//! `usage_logs`: records that no capture wrote. Those of captures go with the ledger's own transaction.

use diesel::{
    OptionalExtension as _, QueryableByName, sql_query,
    sql_types::{BigInt, Bytea, Jsonb, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use serde_json::Value;
use uuid::Uuid;

use super::{Database, idempotency::RememberedRow};
use crate::{domain::usage::UsageRecord, error::Result};

/// The record, its sums (by trigger) and the remembered answer in one statement: what it locks it holds for as long as
/// the server needs, not for a round trip, for the ledger's writer adds to the same sums. Without a key nothing is
/// remembered; with one that has an answer already nothing is added.
const INSERT: &str = "
    WITH remembered AS (
        INSERT INTO idempotency_keys (scope, key, fingerprint, status, body, created_at)
        SELECT $8, $9, $10, $11, $12, $7 WHERE $8 IS NOT NULL ON CONFLICT DO NOTHING RETURNING 1)
    INSERT INTO usage_logs (id, user_id, service, operation, credits, metadata, \"timestamp\")
    SELECT $1, $2, $3, $4, $5, $6, $7 WHERE $8 IS NULL OR EXISTS (SELECT 1 FROM remembered)
    RETURNING id";

#[derive(QueryableByName)]
struct Inserted {
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// The usage log.
#[derive(Clone)]
pub struct UsageStore {
    database: Database,
}

impl UsageStore {
    /// The log in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// Adds a record, and with it the answer that a repeated request will get. Returns false, having changed nothing,
    /// when that key has an answer already.
    pub async fn insert(&self, record: &UsageRecord, remembered: Option<&RememberedRow>) -> Result<bool> {
        let mut connection = self.database.connection().await?;
        let key = remembered.map(|row| &row.key);
        let inserted = sql_query(INSERT)
            .bind::<SqlUuid, _>(record.id)
            .bind::<Text, _>(record.user_id.as_str())
            .bind::<Text, _>(&record.service)
            .bind::<Text, _>(&record.operation)
            .bind::<BigInt, _>(record.credits.get())
            .bind::<Jsonb, _>(Value::Object(record.metadata.clone()))
            .bind::<Timestamptz, _>(record.recorded_at)
            .bind::<Nullable<Text>, _>(key.map(|key| &key.scope))
            .bind::<Nullable<Text>, _>(key.map(|key| &key.key))
            .bind::<Nullable<Bytea>, _>(key.map(|key| &key.fingerprint))
            .bind::<Nullable<SmallInt>, _>(remembered.map(|row| row.status))
            .bind::<Nullable<Text>, _>(remembered.map(|row| &row.body))
            .get_result::<Inserted>(&mut connection)
            .await
            .optional()?;
        Ok(inserted.is_some_and(|inserted| inserted.id == record.id))
    }
}
