//! `usage_logs`: records that no capture wrote. Those of captures go with the ledger's own transaction.

use diesel::ExpressionMethods as _;
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use serde_json::Value;

use super::{
    Database,
    idempotency::{self, RememberedRow},
    schema::usage_logs,
};
use crate::{domain::usage::UsageRecord, error::Result};

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
        let inserted = connection
            .transaction(async |connection| {
                if let Some(remembered) = remembered
                    && !idempotency::insert(connection, remembered).await?
                {
                    return Ok(false);
                }
                diesel::insert_into(usage_logs::table)
                    .values((
                        usage_logs::id.eq(record.id),
                        usage_logs::user_id.eq(record.user_id.as_str()),
                        usage_logs::service.eq(&record.service),
                        usage_logs::operation.eq(&record.operation),
                        usage_logs::credits.eq(record.credits.get()),
                        usage_logs::metadata.eq(Value::Object(record.metadata.clone())),
                        usage_logs::hold_id.eq(record.hold_id),
                        usage_logs::timestamp.eq(record.recorded_at),
                    ))
                    .execute(connection)
                    .await?;
                Ok::<_, diesel::result::Error>(true)
            })
            .await?;
        Ok(inserted)
    }
}
