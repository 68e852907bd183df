//! Prices: what is asked, and what is answered.

use common_http::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    domain::{price::Rate, text::Name},
    store::PriceRow,
};

/// The query of `GET /api/prices`.
#[derive(Debug, Deserialize)]
pub struct ListPrices {
    /// How many at most, from 1 to 1,000.
    pub limit: Option<u16>,
    /// The `nextCursor` of the page before.
    pub cursor: Option<String>,
}

/// The query of `GET /api/prices/{model}/history`.
#[derive(Debug, Deserialize)]
pub struct ListHistory {
    /// How many at most, from 1 to 1,000.
    pub limit: Option<u16>,
}

/// `POST /api/prices`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatePrice {
    /// The model.
    pub model_id: Name<100>,
    /// Thousandths of a credit for 1,000 tokens read.
    pub input_rate: Rate,
    /// The same for tokens written.
    pub output_rate: Rate,
}

/// `PUT /api/prices/{model}`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangePrice {
    /// Thousandths of a credit for 1,000 tokens read.
    pub input_rate: Rate,
    /// The same for tokens written.
    pub output_rate: Rate,
}

/// `GET /api/prices` and `/api/prices/{model}/history`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PricesBody {
    /// One page.
    pub prices: Vec<PriceBody>,
    /// Where the next page begins; null when this is the last.
    pub next_cursor: Option<String>,
}

impl PricesBody {
    /// A page; the next begins at `next_cursor`.
    pub fn new(rows: Vec<PriceRow>, next_cursor: Option<String>) -> Self {
        Self {
            prices: rows.into_iter().map(Into::into).collect(),
            next_cursor,
        }
    }
}

/// A price of a model.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PriceBody {
    /// Its id, which turns that were paid at it remember.
    pub id: Uuid,
    /// The model.
    pub model_id: String,
    /// Thousandths of a credit for 1,000 tokens read.
    pub input_rate: i64,
    /// The same for tokens written.
    pub output_rate: i64,
    /// Since when it is valid.
    pub valid_from: Timestamp,
    /// Until when it was; null while it is.
    pub valid_until: Option<Timestamp>,
}

impl From<PriceRow> for PriceBody {
    fn from(row: PriceRow) -> Self {
        Self {
            id: row.id,
            model_id: row.model_id,
            input_rate: row.input_rate,
            output_rate: row.output_rate,
            valid_from: row.valid_from.into(),
            valid_until: row.valid_until.map(Timestamp),
        }
    }
}
