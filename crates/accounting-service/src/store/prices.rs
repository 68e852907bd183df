//! `prices`: what models cost, and have cost.

use chrono::{DateTime, Utc};
use diesel::{
    BoolExpressionMethods as _, ExpressionMethods as _, OptionalExtension as _, QueryDsl as _, QueryResult,
    Queryable, Selectable, SelectableHelper as _,
    result::{DatabaseErrorKind, Error as QueryError},
};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _};
use uuid::Uuid;

use super::{Database, schema::prices};
use crate::{
    domain::{ids::Actor, price::Price},
    error::{Error, Result},
};

/// The model whose price is that of every model without one of its own.
pub const DEFAULT_MODEL: &str = "default";

/// Held while a price is changed. The number spells "pric".
const LOCK: i64 = 0x7072_6963;

/// A price of a model, from a moment on until another.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = prices, check_for_backend(diesel::pg::Pg))]
pub struct PriceRow {
    /// Its id, which turns that were paid at it remember.
    pub id: Uuid,
    /// The model.
    pub model_id: String,
    /// For tokens read.
    pub input_rate: i64,
    /// For tokens written.
    pub output_rate: i64,
    /// Since when.
    pub valid_from: DateTime<Utc>,
    /// Until when; `None` while it is valid.
    pub valid_until: Option<DateTime<Utc>>,
    /// Who set it.
    pub set_by: String,
}

impl PriceRow {
    /// What it costs.
    pub fn price(&self) -> Price {
        Price {
            input_rate: self.input_rate,
            output_rate: self.output_rate,
        }
    }
}

/// A price to be set.
#[derive(Clone, Debug)]
pub struct NewPrice<'a> {
    /// The model.
    pub model_id: &'a str,
    /// What it is to cost.
    pub price: Price,
    /// Who sets it.
    pub set_by: &'a Actor,
    /// From when on.
    pub now: DateTime<Utc>,
}

/// Prices.
#[derive(Clone)]
pub struct PriceStore {
    database: Database,
}

impl PriceStore {
    /// Prices in `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// The price of a model that is valid now: its own, or the default.
    pub async fn find(&self, model_id: &str) -> Result<PriceRow> {
        let mut connection = self.database.connection().await?;
        let row = prices::table
            .filter(prices::model_id.eq_any([model_id, DEFAULT_MODEL]))
            .filter(prices::valid_until.is_null())
            .order(prices::model_id.eq(DEFAULT_MODEL))
            .select(PriceRow::as_select())
            .first(&mut connection)
            .await
            .optional()?;
        row.ok_or(Error::Unreadable("prices has no row `default`"))
    }

    /// The price of its own that a model has now.
    pub async fn find_own(&self, model_id: &str) -> Result<Option<PriceRow>> {
        let mut connection = self.database.connection().await?;
        Ok(prices::table
            .filter(prices::model_id.eq(model_id))
            .filter(prices::valid_until.is_null())
            .select(PriceRow::as_select())
            .first(&mut connection)
            .await
            .optional()?)
    }

    /// A price that is or was valid.
    pub async fn find_by_id(&self, id: Uuid) -> Result<PriceRow> {
        let mut connection = self.database.connection().await?;
        let row = prices::table
            .find(id)
            .select(PriceRow::as_select())
            .first(&mut connection)
            .await
            .optional()?;
        row.ok_or(Error::Unreadable("streaming_sessions.price_id"))
    }

    /// The price of a model that was valid at a moment.
    pub async fn find_at(&self, model_id: &str, moment: DateTime<Utc>) -> Result<PriceRow> {
        let mut connection = self.database.connection().await?;
        let row = prices::table
            .filter(prices::model_id.eq_any([model_id, DEFAULT_MODEL]))
            .filter(prices::valid_from.le(moment))
            .filter(prices::valid_until.is_null().or(prices::valid_until.gt(moment)))
            .order(prices::model_id.eq(DEFAULT_MODEL))
            .select(PriceRow::as_select())
            .first(&mut connection)
            .await
            .optional()?;
        row.ok_or(Error::Unreadable("prices has no row `default` for that time"))
    }

    /// The valid prices in the order of models: at most `limit` after the model `after`.
    pub async fn list(&self, after: Option<&str>, limit: i64) -> Result<Vec<PriceRow>> {
        let mut connection = self.database.connection().await?;
        Ok(prices::table
            .filter(prices::valid_until.is_null())
            .filter(prices::model_id.gt(after.unwrap_or_default()))
            .order(prices::model_id)
            .limit(limit)
            .select(PriceRow::as_select())
            .load(&mut connection)
            .await?)
    }

    /// What a model costs and has cost, newest first.
    pub async fn list_history(&self, model_id: &str, limit: i64) -> Result<Vec<PriceRow>> {
        let mut connection = self.database.connection().await?;
        Ok(prices::table
            .filter(prices::model_id.eq(model_id))
            .order((prices::valid_from.desc(), prices::id.desc()))
            .limit(limit)
            .select(PriceRow::as_select())
            .load(&mut connection)
            .await?)
    }

    /// Sets the price of a model that has none. `None` when it has one.
    pub async fn insert(&self, new: &NewPrice<'_>) -> Result<Option<PriceRow>> {
        let mut connection = self.database.connection().await?;
        match insert(&mut connection, new, new.now).await {
            Ok(row) => Ok(Some(row)),
            Err(QueryError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Ends the valid price of a model and begins another, unless it is the same. `None` when the model has none.
    pub async fn replace(&self, new: &NewPrice<'_>) -> Result<Option<PriceRow>> {
        let mut connection = self.database.connection().await?;
        let replaced = connection
            .transaction(async |connection| {
                let Some(valid) = find_valid(connection, new.model_id).await? else {
                    return Ok(None);
                };
                if valid.price() == new.price {
                    return Ok(Some(valid));
                }
                let change = end(connection, &valid, new.now).await?;
                insert(connection, new, change).await.map(Some)
            })
            .await;
        replaced.map_err(|error: QueryError| error.into())
    }

    /// Ends the valid price of a model; false when it has none.
    pub async fn remove(&self, model_id: &str, now: DateTime<Utc>) -> Result<bool> {
        let mut connection = self.database.connection().await?;
        let removed = connection
            .transaction(async |connection| {
                let Some(valid) = find_valid(connection, model_id).await? else {
                    return Ok(false);
                };
                end(connection, &valid, now).await.map(|_| true)
            })
            .await;
        removed.map_err(|error: QueryError| error.into())
    }
}

/// The valid price of a model, which nobody else changes until this transaction ends. Waiting for the row itself would
/// not do: whoever was first has ended it by then, and the price that is valid is another row.
async fn find_valid(connection: &mut AsyncPgConnection, model_id: &str) -> QueryResult<Option<PriceRow>> {
    diesel::sql_query(format!("SELECT pg_advisory_xact_lock({LOCK})"))
        .execute(connection)
        .await?;
    prices::table
        .filter(prices::model_id.eq(model_id))
        .filter(prices::valid_until.is_null())
        .select(PriceRow::as_select())
        .first(connection)
        .await
        .optional()
}

/// Ends a price, and says when: a replica whose clock is behind ends it when it began, not before.
async fn end(
    connection: &mut AsyncPgConnection,
    valid: &PriceRow,
    now: DateTime<Utc>,
) -> QueryResult<DateTime<Utc>> {
    let at = now.max(valid.valid_from);
    diesel::update(prices::table.find(valid.id))
        .set(prices::valid_until.eq(at))
        .execute(connection)
        .await?;
    Ok(at)
}

async fn insert(
    connection: &mut AsyncPgConnection,
    new: &NewPrice<'_>,
    from: DateTime<Utc>,
) -> QueryResult<PriceRow> {
    diesel::insert_into(prices::table)
        .values((
            prices::id.eq(Uuid::now_v7()),
            prices::model_id.eq(new.model_id),
            prices::input_rate.eq(new.price.input_rate),
            prices::output_rate.eq(new.price.output_rate),
            prices::valid_from.eq(from),
            prices::set_by.eq(new.set_by.as_str()),
        ))
        .returning(PriceRow::as_returning())
        .get_result(connection)
        .await
}
