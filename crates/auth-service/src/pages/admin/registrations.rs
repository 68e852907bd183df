//! People who made an account for themselves and wait: who they are, let in, or refused.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use common_http::{CurrentUser, Path};
use serde::Deserialize;

use crate::{
    domain::{
        keyset::{Cursor, LIMIT_DEFAULT},
        origin::Origin,
        user::{User, UserId},
    },
    error::{Error, RegistrationError, Result},
    pages::{
        door::see_other,
        forms::Form,
        frame::{Frame, id_of},
        times::Shown,
    },
    service::approvals::Approvals,
};

#[derive(Template)]
#[template(path = "admin/registrations.html")]
struct ListPage<'a> {
    f: &'a Frame,
    waiting: Vec<Waiting>,
    next: Option<String>,
}

/// Somebody who waits.
struct Waiting {
    id: String,
    username: String,
    full_name: String,
    email: String,
    /// Whether they came by way of a provider.
    has_password: bool,
    since: Shown,
}

/// Where in the list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ListQuery {
    cursor: Option<String>,
}

impl From<User> for Waiting {
    fn from(user: User) -> Self {
        Self {
            id: user.id.to_string(),
            has_password: user.has_password(),
            full_name: user.full_name.unwrap_or_default(),
            since: user.created_at.into(),
            username: user.username,
            email: user.email,
        }
    }
}

/// `GET /admin/registrations`: a page of those who wait, the first who came first.
pub(super) async fn list(
    f: Frame,
    query: web::Query<ListQuery>,
    approvals: web::Data<Approvals>,
) -> Result<HttpResponse> {
    list_page(&f, StatusCode::OK, query.cursor.as_deref(), &approvals).await
}

async fn list_page(
    f: &Frame,
    status: StatusCode,
    cursor: Option<&str>,
    approvals: &Approvals,
) -> Result<HttpResponse> {
    let cursor = cursor.map(|text| Cursor::parse(text).ok_or(Error::InvalidCursor));
    let page = approvals
        .list_page(cursor.transpose()?.as_ref(), LIMIT_DEFAULT)
        .await?;
    let next = page.next.as_ref().map(Cursor::to_text);
    let page = ListPage {
        f,
        waiting: page.entries.into_iter().map(Waiting::from).collect(),
        next: next.map(|cursor| format!("/admin/registrations?cursor={cursor}")),
    };
    Ok(f.show_as(status, &page))
}

/// `POST /admin/registrations/{user_id}/approve`: they may sign in.
pub(super) async fn approve(
    f: Frame,
    admin: CurrentUser,
    Path(user_id): Path<String>,
    form: Form,
    origin: Origin,
    approvals: web::Data<Approvals>,
) -> Result<HttpResponse> {
    let approved = async {
        let id = waiting(&user_id)?;
        approvals.approve(id, id_of(&admin)?, &origin).await
    };
    let approved = approved.await;
    decided(f, &form, &approvals, "approved", approved).await
}

/// `POST /admin/registrations/{user_id}/refuse`: their account is removed.
pub(super) async fn refuse(
    f: Frame,
    admin: CurrentUser,
    Path(user_id): Path<String>,
    form: Form,
    origin: Origin,
    approvals: web::Data<Approvals>,
) -> Result<HttpResponse> {
    let refused = async {
        let id = waiting(&user_id)?;
        approvals.refuse(id, id_of(&admin)?, &origin).await
    };
    let refused = refused.await;
    decided(f, &form, &approvals, "refused", refused).await
}

/// What is no id is nobody who waits.
fn waiting(user_id: &str) -> Result<UserId> {
    UserId::parse(user_id).ok_or_else(|| RegistrationError::NotWaiting.into())
}

async fn decided(
    f: Frame,
    form: &Form,
    approvals: &Approvals,
    done: &str,
    result: Result<User>,
) -> Result<HttpResponse> {
    match result {
        Ok(_) => Ok(see_other(&format!("/admin/registrations?done={done}"))),
        Err(error) => {
            let (f, status) = f.refused(form, error)?;
            list_page(&f, status, None, approvals).await
        }
    }
}
