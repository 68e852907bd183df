//! Granting credits, and what was granted.

use actix_web::{HttpResponse, web};
use common_http::{Body, Path, Query};
use uuid::Uuid;

use super::{
    bodies::{
        AllocateByEmail, AllocateCredits, AllocatedBody, AllocationsBody, ChangeAllocation, ListAllocations,
        WithdrawnBody,
    },
    paging::PageSize,
    request::{Arrival, OwnAccount, Party},
};
use crate::{
    domain::{credits::Credits as Remaining, ids::UserId, ledger::Outcome},
    error::{Error, Result},
    service::{Accounts, Allocating, Allowances, Answer, Credits, Origin, Withdrawing},
    store::{AllocationStore, FoundAllocation},
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
    allowances: web::Data<Allowances>,
    credits: web::Data<Credits>,
) -> Result<Answer> {
    let origin = arrival.origin(giver.actor(), &body.0)?;
    let asked = origin.clone();
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
    let granted = Some(allocating.credits);
    let allocate = credits.allocate(allocating, origin, render);
    allowances.grant(giver.capped(), granted, &asked, allocate).await
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

/// `PATCH /api/credits/allocations/{id}`: takes credits out of one allocation until so many remain.
pub(super) async fn change_allocation(
    arrival: Arrival,
    actor: OwnAccount,
    id: Path<String>,
    body: Body<ChangeAllocation>,
    allocations: web::Data<AllocationStore>,
    credits: web::Data<Credits>,
) -> Result<Answer> {
    let origin = arrival.origin(actor.actor(), &(&id.0, &body.0))?;
    let withdrawing = Withdrawing {
        allocation: find(&id, &allocations).await?,
        keep: body.0.remaining_credits,
        notes: body.0.notes,
    };
    withdraw(&credits, withdrawing, origin, "Allocation changed").await
}

/// `DELETE /api/credits/allocations/{id}`: takes everything out of one allocation. Its row stays, as all history does.
pub(super) async fn delete_allocation(
    arrival: Arrival,
    actor: OwnAccount,
    id: Path<String>,
    allocations: web::Data<AllocationStore>,
    credits: web::Data<Credits>,
) -> Result<Answer> {
    let origin = arrival.origin(actor.actor(), &id.0)?;
    let withdrawing = Withdrawing {
        allocation: find(&id, &allocations).await?,
        keep: Remaining::ZERO,
        notes: None,
    };
    withdraw(&credits, withdrawing, origin, "Allocation removed").await
}

async fn find(id: &str, allocations: &AllocationStore) -> Result<FoundAllocation> {
    let id = Uuid::parse_str(id).or(Err(Error::AllocationNotFound))?;
    allocations.find(id).await?.ok_or(Error::AllocationNotFound)
}

async fn withdraw(
    credits: &Credits,
    withdrawing: Withdrawing,
    origin: Origin,
    message: &'static str,
) -> Result<Answer> {
    let (allocation, keep) = (withdrawing.allocation.clone(), withdrawing.keep);
    let render = Box::new(move |outcome: &Outcome| {
        serde_json::to_string(&WithdrawnBody::new(&allocation, keep, outcome.taken(), message))
    });
    credits.withdraw(withdrawing, origin, render).await
}

/// `GET /api/credits/allocations/all`: everybody's allocations.
pub(super) async fn list_allocations(
    _: OwnAccount,
    page: Query<ListAllocations>,
    allocations: web::Data<AllocationStore>,
) -> Result<HttpResponse> {
    let size = PageSize::of(page.limit, ALLOCATIONS_MAX, ALLOCATIONS_MAX)?;
    let mut rows = allocations.list_all(page.cursor, size.to_read()).await?;
    Ok(HttpResponse::Ok().json(AllocationsBody {
        next_cursor: size.cut(&mut rows, |row| row.id),
        allocations: rows.into_iter().map(Into::into).collect(),
    }))
}
