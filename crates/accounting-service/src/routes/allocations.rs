//! Granting credits, and what was granted.

use actix_web::{HttpResponse, web};
use common_http::{Body, Query};

use super::{
    bodies::{AllocateByEmail, AllocateCredits, AllocatedBody, AllocationsBody, ListAllocations},
    request::{Arrival, OwnAccount, Party},
};
use crate::{
    domain::ids::UserId,
    error::{Error, Result},
    service::{Accounts, Allocating, Answer, Credits},
    store::AllocationStore,
};

/// The longest page of a report, and the usual one: documented clients know no pages.
const ALLOCATIONS_MAX: u16 = 10_000;

/// `POST /api/credits/allocate`: grants credits to a user id, known or not, or to the only account of a name.
/// A service does it for people it has just made.
pub(super) async fn allocate_credits(
    arrival: Arrival,
    giver: Party,
    body: Body<AllocateCredits>,
    accounts: web::Data<Accounts>,
    credits: web::Data<Credits>,
) -> Result<Answer> {
    let origin = arrival.origin(giver.actor(), &body.0)?;
    let user_id = match UserId::parse(&body.0.user_id) {
        Some(id) => {
            accounts.ensure_grantable(&id).await?;
            id
        }
        None => accounts.resolve(&body.0.user_id).await?.id,
    };
    let allocating = Allocating {
        user_id: user_id.clone(),
        credits: body.0.credits,
        expiry_days: body.0.expiry_days,
        notes: body.0.notes,
        allocated_by: giver.name(),
    };
    let render = move |grant: &_| serde_json::to_string(&AllocatedBody::new(grant, user_id.clone(), None));
    credits.allocate(allocating, origin, render).await
}

/// `POST /api/credits/allocate-by-email`: grants credits to the account of an address.
pub(super) async fn allocate_credits_by_email(
    arrival: Arrival,
    giver: OwnAccount,
    body: Body<AllocateByEmail>,
    accounts: web::Data<Accounts>,
    credits: web::Data<Credits>,
) -> Result<Answer> {
    let origin = arrival.origin(giver.actor(), &body.0)?;
    let account = accounts.find_by_email(&body.0.email).await?;
    let allocating = Allocating {
        user_id: account.id.clone(),
        credits: body.0.credits,
        expiry_days: body.0.expiry_days,
        notes: body.0.notes,
        allocated_by: giver.id.to_string(),
    };
    let render = move |grant: &_| {
        serde_json::to_string(&AllocatedBody::new(
            grant,
            account.id.clone(),
            account.email.clone(),
        ))
    };
    credits.allocate(allocating, origin, render).await
}

/// `GET /api/credits/allocations/all`: everybody's allocations.
pub(super) async fn list_allocations(
    page: Query<ListAllocations>,
    allocations: web::Data<AllocationStore>,
) -> Result<HttpResponse> {
    let limit = page.limit.unwrap_or(ALLOCATIONS_MAX);
    if !(1..=ALLOCATIONS_MAX).contains(&limit) {
        return Err(Error::invalid(
            "limit",
            format!("must be from 1 to {ALLOCATIONS_MAX}"),
        ));
    }
    // One more than asked for tells whether there is another page.
    let mut rows = allocations.list_all(page.cursor, i64::from(limit) + 1).await?;
    let is_last = rows.len() <= usize::from(limit);
    rows.truncate(usize::from(limit));
    let next_cursor = rows.last().filter(|_| !is_last).map(|row| row.id);
    Ok(HttpResponse::Ok().json(AllocationsBody {
        allocations: rows.into_iter().map(Into::into).collect(),
        next_cursor,
    }))
}
