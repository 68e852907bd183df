//! What an administrator says a turn costs: so many credits, or what its tokens cost.

use serde::{Deserialize, Deserializer};

use crate::{
    domain::chatflow::{ESTIMATED_TOKENS_DEFAULT, ESTIMATED_TOKENS_MAX, PRICE_MAX, PriceChange, UsagePrice},
    error::{Error, Result},
};

/// Characters of a model's id, as accounting-service keeps it.
const MODEL_ID_CHARS_MAX: usize = 100;

/// The member `price`, where it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Flat {
    /// So many credits.
    Credits(i64),
    /// `null`.
    Null,
}

/// The member `usage_price`, where it is sent.
#[derive(Debug)]
pub(super) enum ByUsage {
    /// By this model.
    Model(UsagePriceBody),
    /// `null`.
    Null,
}

#[derive(Debug, Deserialize)]
pub(super) struct UsagePriceBody {
    model_id: String,
    estimated_tokens: Option<i64>,
}

/// Called only when the member is there: a missing member leaves the price alone.
pub(super) fn flat<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Flat>, D::Error> {
    let credits = Option::deserialize(deserializer)?;
    Ok(Some(credits.map_or(Flat::Null, Flat::Credits)))
}

/// Likewise.
pub(super) fn by_usage<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByUsage>, D::Error> {
    let price = Option::deserialize(deserializer)?;
    Ok(Some(price.map_or(ByUsage::Null, ByUsage::Model)))
}

/// What the two members together mean. A chatflow has one price, so `null` beside a price only says which of the two it
/// is: a body that was read here can be sent back as it is.
pub(super) fn change(flat: Option<Flat>, by_usage: Option<ByUsage>) -> Result<Option<PriceChange>> {
    match (flat, by_usage) {
        (Some(Flat::Credits(_)), Some(ByUsage::Model(_))) => Err(Error::invalid(
            "usage_price",
            "a chatflow has one price: send `price` or `usage_price`",
        )),
        (Some(Flat::Credits(credits)), Some(ByUsage::Null) | None) => {
            if !(0..=PRICE_MAX).contains(&credits) {
                return Err(Error::invalid("price", format!("must be from 0 to {PRICE_MAX}")));
            }
            Ok(Some(PriceChange::Flat(credits)))
        }
        (Some(Flat::Null) | None, Some(ByUsage::Model(price))) => {
            Ok(Some(PriceChange::ByUsage(price.checked()?)))
        }
        (Some(Flat::Null), Some(ByUsage::Null) | None) => Ok(Some(PriceChange::Default)),
        (None, Some(ByUsage::Null)) => Ok(Some(PriceChange::NotByUsage)),
        (None, None) => Ok(None),
    }
}

impl UsagePriceBody {
    fn checked(self) -> Result<UsagePrice> {
        let is_name = (1..=MODEL_ID_CHARS_MAX).contains(&self.model_id.chars().count())
            && !self.model_id.chars().any(char::is_control);
        if !is_name {
            return Err(Error::invalid(
                "usage_price.model_id",
                format!("must have 1 to {MODEL_ID_CHARS_MAX} characters, none of them a control character"),
            ));
        }
        let estimated_tokens = self.estimated_tokens.unwrap_or(ESTIMATED_TOKENS_DEFAULT);
        if !(1..=ESTIMATED_TOKENS_MAX).contains(&estimated_tokens) {
            return Err(Error::invalid(
                "usage_price.estimated_tokens",
                format!("must be from 1 to {ESTIMATED_TOKENS_MAX}"),
            ));
        }
        Ok(UsagePrice {
            model_id: self.model_id,
            estimated_tokens,
        })
    }
}
