//! Open holds: what is set aside just now, and giving one back by hand.

use actix_web::{HttpResponse, web};
use common_http::{Path, Query};
use uuid::Uuid;

use super::{
    bodies::{HoldsBody, ListHolds, VoidedBody},
    paging::PageSize,
    request::{Arrival, OwnAccount},
    sessions::of_hold,
};
use crate::{
    error::{Error, Result},
    service::{Accounts, Answer, Sessions},
    store::{HoldPage, SessionStore},
};

/// The usual and the longest page.
const PAGE: u16 = 100;
const PAGE_MAX: u16 = 1_000;

/// `GET /api/credits/holds`: the caller's open holds; for supervisors anybody's, or all.
pub(super) async fn list_holds(
    account: OwnAccount,
    query: Query<ListHolds>,
    accounts: web::Data<Accounts>,
    sessions: web::Data<SessionStore>,
) -> Result<HttpResponse> {
    let size = PageSize::of(query.limit, PAGE, PAGE_MAX)?;
    let user_id = if query.all {
        account.supervises()?;
        None
    } else {
        Some(account.subject(query.user_id.as_deref(), &accounts).await?)
    };
    let page = HoldPage {
        user_id: user_id.as_ref(),
        after: query.cursor,
        limit: size.to_read(),
    };
    let mut holds = sessions.list_holds(&page).await?;
    Ok(HttpResponse::Ok().json(HoldsBody {
        next_cursor: size.cut(&mut holds, |hold| hold.id),
        holds: holds.into_iter().map(Into::into).collect(),
    }))
}

/// `POST /api/credits/holds/{id}/void`: gives a hold back, whoever opened it.
pub(super) async fn void_hold(
    arrival: Arrival,
    admin: OwnAccount,
    id: Path<String>,
    sessions: web::Data<Sessions>,
) -> Result<Answer> {
    let origin = arrival.origin(admin.actor(), &id.0)?;
    let id = Uuid::parse_str(&id).or(Err(Error::HoldNotFound))?;
    sessions
        .void(id, origin, of_hold(|hold| VoidedBody::from(hold)))
        .await
}
