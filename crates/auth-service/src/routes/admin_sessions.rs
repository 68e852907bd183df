//! Where anybody is signed in, for administrators.

use actix_web::{HttpResponse, web};
use common_http::{Access, Clock, CurrentUser, Path, Query, Routes};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{keyset::Page, origin::Origin, session::Session, user::UserId},
    error::{Error, Result},
    routes::{
        paging::{Paging, user_id},
        session_bodies::{
            AdminSessionBody, SessionInBothStyles, SessionList, SessionPage, SessionRevoked, SessionsRevoked,
        },
    },
    service::sessions::Sessions,
    store::{sessions::SessionStore, users::UserStore},
};

/// The routes of this page; those with `v1` are where older clients look.
pub(crate) fn routes(routes: &mut Routes<'_>) {
    routes
        .get("/api/admin/sessions", Access::Admin, list_sessions)
        .delete("/api/admin/sessions/{session_id}", Access::Admin, end_session)
        .get(
            "/api/admin/users/{user_id}/sessions",
            Access::Admin,
            list_sessions_of_user,
        )
        .delete(
            "/api/admin/users/{user_id}/sessions",
            Access::Admin,
            end_sessions_of_user,
        )
        .get("/api/v1/admin/sessions", Access::Admin, list_sessions_with_total)
        .post(
            "/api/v1/admin/sessions/expire-all",
            Access::Admin,
            expire_all_sessions,
        )
        .post(
            "/api/v1/admin/sessions/{session_id}/expire",
            Access::Admin,
            end_session,
        );
}

/// `?limit=&cursor=&userId=`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionQuery {
    limit: Option<String>,
    cursor: Option<String>,
    user_id: Option<String>,
}

/// The answer to all sessions of others having been ended.
#[derive(Debug, Serialize)]
struct SessionsExpired {
    message: &'static str,
    expired_count: u64,
    #[serde(rename = "expiredCount")]
    same_expired_count: u64,
}

/// The list of older clients, which has everything in it that fits on a page.
#[derive(Debug, Serialize)]
struct SessionListWithCursor {
    #[serde(flatten)]
    list: SessionList<SessionInBothStyles>,
    #[serde(rename = "nextCursor")]
    next_cursor: Option<String>,
}

/// `GET /api/admin/sessions`: a page of everybody's sessions, or of one user's.
pub(crate) async fn list_sessions(
    admin: CurrentUser,
    Query(query): Query<SessionQuery>,
    sessions: web::Data<SessionStore>,
    users: web::Data<UserStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let page = page_of(query, &sessions, &clock).await?;
    let next_cursor = page.next.as_ref().map(crate::domain::keyset::Cursor::to_text);
    Ok(HttpResponse::Ok().json(SessionPage {
        sessions: named(page.entries, &admin, &users).await?,
        next_cursor,
    }))
}

/// `GET /api/v1/admin/sessions`: the same in the style of older clients, with how many there are in all.
pub(crate) async fn list_sessions_with_total(
    admin: CurrentUser,
    Query(query): Query<SessionQuery>,
    sessions: web::Data<SessionStore>,
    users: web::Data<UserStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let user_id = user_id("userId", query.user_id.as_deref())?;
    let page = page_of(query, &sessions, &clock).await?;
    let total = sessions.count_live(user_id, clock.now()).await?;
    let next_cursor = page.next.as_ref().map(crate::domain::keyset::Cursor::to_text);
    let bodies = named(page.entries, &admin, &users).await?;
    let sessions = bodies.into_iter().map(SessionInBothStyles::from).collect();
    Ok(HttpResponse::Ok().json(SessionListWithCursor {
        list: SessionList { sessions, total },
        next_cursor,
    }))
}

/// `GET /api/admin/users/{user_id}/sessions`.
pub(crate) async fn list_sessions_of_user(
    admin: CurrentUser,
    Path(user_id): Path<String>,
    sessions: web::Data<SessionStore>,
    users: web::Data<UserStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    let user = users.find(id).await?.ok_or(Error::UserNotFound)?;
    let found = sessions.list_of(id, clock.now()).await?;
    let body = |session| AdminSessionBody::new(session, &admin.session_id, Some(user.username.clone()));
    let sessions: Vec<_> = found.into_iter().map(body).collect();
    Ok(HttpResponse::Ok().json(SessionList {
        total: u64::try_from(sessions.len()).unwrap_or(u64::MAX),
        sessions,
    }))
}

/// `DELETE /api/admin/sessions/{session_id}` and `POST /api/v1/admin/sessions/{session_id}/expire`.
pub(crate) async fn end_session(
    admin: CurrentUser,
    Path(session_id): Path<String>,
    origin: Origin,
    sessions: web::Data<Sessions>,
) -> Result<HttpResponse> {
    sessions
        .end_as_admin(&session_id, id_of(&admin)?, &origin)
        .await?;
    Ok(HttpResponse::Ok().json(SessionRevoked::new(session_id)))
}

/// `DELETE /api/admin/users/{user_id}/sessions`: signs somebody out everywhere.
pub(crate) async fn end_sessions_of_user(
    admin: CurrentUser,
    Path(user_id): Path<String>,
    origin: Origin,
    sessions: web::Data<Sessions>,
    users: web::Data<UserStore>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    users.find(id).await?.ok_or(Error::UserNotFound)?;
    let count = sessions.end_all_as_admin(id, id_of(&admin)?, &origin).await?;
    Ok(HttpResponse::Ok().json(SessionsRevoked::new(count)))
}

/// `POST /api/v1/admin/sessions/expire-all`: signs everybody out, but not the session that asks.
pub(crate) async fn expire_all_sessions(
    admin: CurrentUser,
    origin: Origin,
    sessions: web::Data<Sessions>,
) -> Result<HttpResponse> {
    let count = sessions
        .end_everybodys(&admin.session_id, id_of(&admin)?, &origin)
        .await?;
    Ok(HttpResponse::Ok().json(SessionsExpired {
        message: "All other sessions have been ended",
        expired_count: count,
        same_expired_count: count,
    }))
}

async fn page_of(query: SessionQuery, sessions: &SessionStore, clock: &Clock) -> Result<Page<Session>> {
    let user_id = user_id("userId", query.user_id.as_deref())?;
    let (limit, cursor) = Paging::new(query.limit, query.cursor).read()?;
    sessions
        .list_page(user_id, cursor.as_ref(), limit, clock.now())
        .await
}

async fn named(
    sessions: Vec<Session>,
    admin: &CurrentUser,
    users: &UserStore,
) -> Result<Vec<AdminSessionBody>> {
    let ids: Vec<_> = sessions.iter().map(|session| session.user_id).collect();
    let names = users.list_names(&ids).await?;
    let body = |session: Session| {
        let username = names.get(&session.user_id).cloned();
        AdminSessionBody::new(session, &admin.session_id, username)
    };
    Ok(sessions.into_iter().map(body).collect())
}

fn id_of(user: &CurrentUser) -> Result<UserId> {
    UserId::parse(&user.id).ok_or(Error::UserNotFound)
}
