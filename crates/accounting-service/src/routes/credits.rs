//! Balances, prices, and spending at once.

use actix_web::{HttpResponse, web};
use common_http::{Body, Clock, Path};

use super::{
    bodies::{
        BalanceBody, CalculateCredits, CalculatedBody, CheckCredits, CheckedBody, DeductCredits,
        DeductedBody, TotalBalanceBody,
    },
    request::{Arrival, OwnAccount, Party},
};
use crate::{
    domain::ledger::Refusal,
    error::Result,
    service::{Accounts, Answer, Credits, Prices},
    store::AllocationStore,
};

/// `GET /api/credits/balance`: what the caller can spend, by allocation.
pub(super) async fn show_balance(
    account: OwnAccount,
    allocations: web::Data<AllocationStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let rows = allocations.list_spendable(&account.id, clock.now()).await?;
    Ok(HttpResponse::Ok().json(BalanceBody::from(rows)))
}

/// `GET /api/credits/balance/{userId}`: the same of somebody else, by id, address or name.
pub(super) async fn show_balance_of(
    _: Party,
    user: Path<String>,
    accounts: web::Data<Accounts>,
    allocations: web::Data<AllocationStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let account = accounts.resolve(&user).await?;
    let rows = allocations.list_spendable(&account.id, clock.now()).await?;
    Ok(HttpResponse::Ok().json(BalanceBody::from(rows)))
}

/// `GET /api/credits/total-balance`: what the caller can spend, in one number.
pub(super) async fn show_total_balance(
    account: OwnAccount,
    allocations: web::Data<AllocationStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let total_credits = allocations.balance(&account.id, clock.now()).await?;
    Ok(HttpResponse::Ok().json(TotalBalanceBody { total_credits }))
}

/// `POST /api/credits/check`: whether the caller can spend so much. Nothing is held by it.
pub(super) async fn check_credits(
    account: OwnAccount,
    body: Body<CheckCredits>,
    allocations: web::Data<AllocationStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let required_credits = body.0.required_credits;
    let (required, available) = (
        required_credits.into(),
        allocations.balance(&account.id, clock.now()).await?,
    );
    let checked = if available >= required {
        CheckedBody::Sufficient {
            sufficient: true,
            credits: available,
            required_credits,
        }
    } else {
        CheckedBody::Insufficient {
            sufficient: false,
            message: Refusal::InsufficientCredits { required, available }.to_string(),
        }
    };
    Ok(HttpResponse::Ok().json(checked))
}

/// `POST /api/credits/calculate`: what tokens of a model cost.
pub(super) async fn calculate_credits(
    _: Party,
    body: Body<CalculateCredits>,
    prices: web::Data<Prices>,
) -> Result<HttpResponse> {
    let price = prices.find(&body.0.model_id).await?.price();
    Ok(HttpResponse::Ok().json(CalculatedBody {
        credits: price.cost(body.0.tokens),
    }))
}

/// `POST /api/credits/deduct`: spends the caller's own credits, all of them or none.
pub(super) async fn deduct_credits(
    arrival: Arrival,
    account: OwnAccount,
    body: Body<DeductCredits>,
    credits: web::Data<Credits>,
) -> Result<Answer> {
    let origin = arrival.origin(account.actor(), &body.0)?;
    let render = Box::new(|outcome: &_| serde_json::to_string(&DeductedBody::from(outcome)));
    credits.deduct(account.id, body.0.credits, origin, render).await
}
