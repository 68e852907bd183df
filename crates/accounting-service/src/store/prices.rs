//! `model_prices`: what models cost.

use diesel::{ExpressionMethods as _, OptionalExtension as _, QueryDsl as _};
use diesel_async::RunQueryDsl as _;

use super::{Database, schema::model_prices};
use crate::{
    domain::price::Price,
    error::{Error, Result},
};

/// The row that prices every model without one of its own.
const DEFAULT: &str = "default";

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

    /// The price of a model.
    pub async fn find(&self, model_id: &str) -> Result<Price> {
        let mut connection = self.database.connection().await?;
        let row: Option<(i64, i64)> = model_prices::table
            .filter(model_prices::model_id.eq_any([model_id, DEFAULT]))
            .order(model_prices::model_id.eq(DEFAULT))
            .select((model_prices::input_rate, model_prices::output_rate))
            .first(&mut connection)
            .await
            .optional()?;
        let (input_rate, output_rate) = row.ok_or(Error::Unreadable("model_prices has no row `default`"))?;
        Ok(Price {
            input_rate,
            output_rate,
        })
    }
}
