//! What models cost: looked up for every turn, changed rarely.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use common_http::Clock;
use moka::future::Cache;
use uuid::Uuid;

use crate::{
    domain::{ids::Actor, price::Price, text::Name},
    error::{Error, Result},
    store::{DEFAULT_MODEL, NewPrice, PriceRow, PriceStore},
};

/// How long a price that was looked up is used: a change reaches every replica within it.
const FRESH: Duration = Duration::from_secs(2);

/// Models whose price is remembered.
const REMEMBERED_MAX: u64 = 10_000;

/// Prices, and those that were looked up lately.
#[derive(Clone)]
pub struct Prices {
    store: PriceStore,
    clock: Clock,
    fresh: Cache<String, PriceRow>,
}

impl Prices {
    /// Prices in `store`.
    pub fn new(store: PriceStore, clock: Clock) -> Self {
        let fresh = Cache::builder()
            .max_capacity(REMEMBERED_MAX)
            .time_to_live(FRESH)
            .build();
        Self { store, clock, fresh }
    }

    /// The price of a model that is valid now.
    pub async fn find(&self, model_id: &str) -> Result<PriceRow> {
        let found = self
            .fresh
            .try_get_with_by_ref(model_id, self.store.find(model_id));
        found.await.map_err(|error: Arc<Error>| {
            Arc::try_unwrap(error).unwrap_or_else(|shared| {
                tracing::warn!(error = %shared, "a price could not be looked up");
                Error::Unavailable
            })
        })
    }

    /// A price that is or was valid.
    pub async fn find_by_id(&self, id: Uuid) -> Result<PriceRow> {
        self.store.find_by_id(id).await
    }

    /// The price of a model that was valid at a moment: what a turn that began then is paid at.
    pub async fn find_at(&self, model_id: &str, moment: DateTime<Utc>) -> Result<PriceRow> {
        self.store.find_at(model_id, moment).await
    }

    /// Sets the price of a model that has none of its own.
    pub async fn create(&self, model_id: &Name<100>, price: Price, by: &Actor) -> Result<PriceRow> {
        let new = self.new_price(model_id, price, by);
        let created = self.store.insert(&new).await?;
        self.forget();
        created.ok_or(Error::PriceExists)
    }

    /// Changes the price of a model from now on.
    pub async fn change(&self, model_id: &str, price: Price, by: &Actor) -> Result<PriceRow> {
        let new = self.new_price(model_id, price, by);
        let changed = self.store.replace(&new).await?;
        self.forget();
        changed.ok_or(Error::PriceNotFound)
    }

    /// Ends the price of a model: from now on it costs what the default costs.
    pub async fn remove(&self, model_id: &str) -> Result<()> {
        if model_id == DEFAULT_MODEL {
            return Err(Error::DefaultPrice);
        }
        let removed = self.store.remove(model_id, self.clock.now()).await?;
        self.forget();
        removed.then_some(()).ok_or(Error::PriceNotFound)
    }

    fn new_price<'a>(&self, model_id: &'a str, price: Price, by: &'a Actor) -> NewPrice<'a> {
        NewPrice {
            model_id,
            price,
            set_by: by,
            now: self.clock.now(),
        }
    }

    /// All of them: a model without a price of its own has that of another.
    fn forget(&self) {
        self.fresh.invalidate_all();
    }
}
