//! What models cost.

use actix_web::{HttpResponse, web};
use common_http::{Body, Path, Query};

use super::{
    bodies::{ChangePrice, CreatePrice, ListHistory, ListPrices, PriceBody, PricesBody},
    paging::PageSize,
    request::{OwnAccount, Party},
};
use crate::{
    domain::{price::Price, price::Rate},
    error::{Error, Result},
    service::Prices,
    store::PriceStore,
};

/// The longest list, and the usual one.
const PRICES_MAX: u16 = 1_000;

/// `GET /api/prices`: what is valid now.
pub(super) async fn list_prices(
    _: Party,
    page: Query<ListPrices>,
    store: web::Data<PriceStore>,
) -> Result<HttpResponse> {
    let size = PageSize::of(page.limit, PRICES_MAX, PRICES_MAX)?;
    let mut rows = store.list(page.cursor.as_deref(), size.to_read()).await?;
    let next_cursor = size.cut(&mut rows, |row| row.model_id.clone());
    Ok(HttpResponse::Ok().json(PricesBody::new(rows, next_cursor)))
}

/// `GET /api/prices/{model}`: what is valid now for a model that has a price of its own.
pub(super) async fn show_price(
    _: Party,
    model: Path<String>,
    store: web::Data<PriceStore>,
) -> Result<HttpResponse> {
    let own = store.find_own(&model_of(&model)?).await?;
    let row = own.ok_or(Error::PriceNotFound)?;
    Ok(HttpResponse::Ok().json(PriceBody::from(row)))
}

/// `GET /api/prices/{model}/history`: what a model costs and has cost, newest first.
pub(super) async fn list_price_history(
    model: Path<String>,
    page: Query<ListHistory>,
    store: web::Data<PriceStore>,
) -> Result<HttpResponse> {
    let size = PageSize::of(page.limit, PRICES_MAX, PRICES_MAX)?;
    let mut rows = store.list_history(&model_of(&model)?, size.to_read()).await?;
    if rows.is_empty() {
        return Err(Error::PriceNotFound);
    }
    // Of a price that changed more often than that, the oldest ones are not shown.
    size.cut(&mut rows, |_| ());
    Ok(HttpResponse::Ok().json(PricesBody::new(rows, None)))
}

/// `POST /api/prices`: a price for a model that has none of its own.
pub(super) async fn create_price(
    admin: OwnAccount,
    body: Body<CreatePrice>,
    prices: web::Data<Prices>,
) -> Result<HttpResponse> {
    let price = price_of(body.0.input_rate, body.0.output_rate)?;
    let row = prices.create(&body.0.model_id, price, &admin.actor()).await?;
    Ok(HttpResponse::Created().json(PriceBody::from(row)))
}

/// `PUT /api/prices/{model}`: another price from now on.
pub(super) async fn change_price(
    admin: OwnAccount,
    model: Path<String>,
    body: Body<ChangePrice>,
    prices: web::Data<Prices>,
) -> Result<HttpResponse> {
    let price = price_of(body.0.input_rate, body.0.output_rate)?;
    let row = prices.change(&model_of(&model)?, price, &admin.actor()).await?;
    Ok(HttpResponse::Ok().json(PriceBody::from(row)))
}

/// `DELETE /api/prices/{model}`: from now on the model costs what `default` costs.
pub(super) async fn delete_price(model: Path<String>, prices: web::Data<Prices>) -> Result<HttpResponse> {
    prices.remove(&model_of(&model)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A text that cannot name a model names none that has a price.
fn model_of(model: &str) -> Result<String> {
    let is_name = crate::domain::text::Name::<100>::parse(model).is_some();
    is_name.then(|| model.to_owned()).ok_or(Error::PriceNotFound)
}

fn price_of(input: Rate, output: Rate) -> Result<Price> {
    Price::new(input, output).ok_or_else(|| Error::invalid("outputRate", "must not be 0 when inputRate is 0"))
}
