//! People who made an account for themselves and wait for an administrator.

use actix_web::{HttpResponse, web};
use common_http::{CurrentUser, Path, Query, Timestamp};
use serde::Serialize;

use super::bodies::{Person, PersonEnvelope};
use crate::{
    domain::{
        keyset::Cursor,
        origin::Origin,
        user::{User, UserId},
    },
    error::{Error, Result},
    routes::paging::Paging,
    service::approvals::Approvals,
};

#[derive(Serialize)]
struct WaitingPage {
    registrations: Vec<Waiting>,
    #[serde(rename = "nextCursor")]
    next_cursor: Option<String>,
}

/// Somebody who waits.
#[derive(Serialize)]
struct Waiting {
    user: Person,
    /// Whether they came by way of a provider, and have no password.
    has_password: bool,
    registered_at: Timestamp,
}

/// `GET /api/v1/admin/registrations`: a page of those who wait, the first who came first.
pub(crate) async fn list_registrations(
    Query(paging): Query<Paging>,
    approvals: web::Data<Approvals>,
) -> Result<HttpResponse> {
    let (limit, after) = paging.read()?;
    let page = approvals.list_page(after.as_ref(), limit).await?;
    Ok(HttpResponse::Ok().json(WaitingPage {
        next_cursor: page.next.as_ref().map(Cursor::to_text),
        registrations: page.entries.into_iter().map(Waiting::from).collect(),
    }))
}

/// `POST /api/v1/admin/registrations/{user_id}/approve`: they may sign in.
pub(crate) async fn approve_registration(
    admin: CurrentUser,
    Path(user_id): Path<String>,
    origin: Origin,
    approvals: web::Data<Approvals>,
) -> Result<HttpResponse> {
    let (id, actor) = ids_of(&user_id, &admin)?;
    let user = approvals.approve(id, actor, &origin).await?;
    Ok(decided("Registration approved", user))
}

/// `POST /api/v1/admin/registrations/{user_id}/refuse`: their account is removed.
pub(crate) async fn refuse_registration(
    admin: CurrentUser,
    Path(user_id): Path<String>,
    origin: Origin,
    approvals: web::Data<Approvals>,
) -> Result<HttpResponse> {
    let (id, actor) = ids_of(&user_id, &admin)?;
    let user = approvals.refuse(id, actor, &origin).await?;
    Ok(decided("Registration refused; the account was removed", user))
}

fn ids_of(user_id: &str, admin: &CurrentUser) -> Result<(UserId, UserId)> {
    let id = UserId::parse(user_id).ok_or(Error::InvalidUserId)?;
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    Ok((id, actor))
}

fn decided(message: &'static str, user: User) -> HttpResponse {
    HttpResponse::Ok().json(PersonEnvelope {
        message: Some(message),
        user: Person::from(user),
    })
}

impl From<User> for Waiting {
    fn from(user: User) -> Self {
        Self {
            has_password: user.has_password(),
            registered_at: user.created_at.into(),
            user: user.into(),
        }
    }
}
