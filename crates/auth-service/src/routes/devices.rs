//! Where one is signed in, and signing out there.

use actix_web::{HttpResponse, web};
use common_http::{Access, Body, Clock, CurrentUser, Path, Routes};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    domain::{origin::Origin, user::UserId},
    error::{Error, Result},
    routes::{
        cookies::Cookies,
        session_bodies::{SessionBody, SessionList, SessionRevoked, SessionsRevoked},
    },
    service::sessions::{EndReason, Sessions},
    store::sessions::SessionStore,
};

/// The second is where older clients look.
const PREFIXES: [&str; 2] = ["/api/sessions", "/sessions"];

/// The routes of this page. Fixed names stand before those that a parameter would take.
pub(crate) fn routes(routes: &mut Routes<'_>) {
    for prefix in PREFIXES {
        let path = |rest: &str| format!("{prefix}{rest}");
        routes
            .get(&path("/me"), Access::User, list_own_sessions)
            .get(&path("/active/count"), Access::User, count_own_sessions)
            .delete(&path("/revoke/all"), Access::User, revoke_all_sessions)
            .get(&path("/{session_id}"), Access::User, show_own_session)
            .delete(&path("/{session_id}"), Access::User, revoke_own_session);
    }
    routes
        .get("/api/sessions", Access::User, list_own_sessions)
        .delete("/api/sessions", Access::User, revoke_other_sessions);
}

/// The body that ends all sessions.
#[derive(Debug, Deserialize)]
pub(crate) struct RevokeAll {
    /// Only a literal `true` counts.
    #[serde(default)]
    confirm: Value,
}

/// The number of one's sessions.
#[derive(Debug, Serialize)]
struct SessionCount {
    active_sessions: u64,
    #[serde(rename = "activeSessions")]
    same_active_sessions: u64,
    user_id: String,
    #[serde(rename = "userId")]
    same_user_id: String,
}

/// `GET /api/sessions` and `/api/sessions/me`: where the caller is signed in.
pub(crate) async fn list_own_sessions(
    user: CurrentUser,
    sessions: web::Data<SessionStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let found = sessions.list_of(id_of(&user)?, clock.now()).await?;
    let bodies = found
        .into_iter()
        .map(|session| SessionBody::new(session, &user.session_id));
    let sessions: Vec<_> = bodies.collect();
    Ok(HttpResponse::Ok().json(SessionList {
        total: u64::try_from(sessions.len()).unwrap_or(u64::MAX),
        sessions,
    }))
}

/// `GET /api/sessions/{session_id}`.
pub(crate) async fn show_own_session(
    user: CurrentUser,
    Path(session_id): Path<String>,
    sessions: web::Data<SessionStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let found = sessions.find_of(&session_id, id_of(&user)?, clock.now()).await?;
    let session = found.ok_or(Error::SessionNotFound)?;
    Ok(HttpResponse::Ok().json(SessionBody::new(session, &user.session_id)))
}

/// `GET /api/sessions/active/count`.
pub(crate) async fn count_own_sessions(
    user: CurrentUser,
    sessions: web::Data<SessionStore>,
    clock: web::Data<Clock>,
) -> Result<HttpResponse> {
    let count = sessions.count_live(Some(id_of(&user)?), clock.now()).await?;
    Ok(HttpResponse::Ok().json(SessionCount {
        active_sessions: count,
        same_active_sessions: count,
        user_id: user.id.clone(),
        same_user_id: user.id,
    }))
}

/// `DELETE /api/sessions/{session_id}`: signs out there. Also here, when it is the caller's own.
pub(crate) async fn revoke_own_session(
    user: CurrentUser,
    Path(session_id): Path<String>,
    origin: Origin,
    sessions: web::Data<Sessions>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    sessions.end_own(&session_id, id_of(&user)?, &origin).await?;
    let mut response = HttpResponse::Ok();
    if session_id == user.session_id {
        for cookie in cookies.cleared() {
            response.cookie(cookie);
        }
    }
    Ok(response.json(SessionRevoked::new(session_id)))
}

/// `DELETE /api/sessions`: signs out everywhere else.
pub(crate) async fn revoke_other_sessions(
    user: CurrentUser,
    origin: Origin,
    sessions: web::Data<Sessions>,
) -> Result<HttpResponse> {
    let count = sessions
        .end_others(&user.session_id, id_of(&user)?, &origin)
        .await?;
    Ok(HttpResponse::Ok().json(SessionsRevoked::new(count)))
}

/// `DELETE /api/sessions/revoke/all`: signs out everywhere, here too.
pub(crate) async fn revoke_all_sessions(
    user: CurrentUser,
    Body(body): Body<RevokeAll>,
    origin: Origin,
    sessions: web::Data<Sessions>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    if body.confirm != Value::Bool(true) {
        return Err(Error::invalid("confirm", "must be true: this session ends too"));
    }
    let count = sessions
        .end_all(id_of(&user)?, EndReason::RevokedAll, Some(&origin))
        .await?;
    let mut response = HttpResponse::Ok();
    for cookie in cookies.cleared() {
        response.cookie(cookie);
    }
    Ok(response.json(SessionsRevoked::new(count)))
}

fn id_of(user: &CurrentUser) -> Result<UserId> {
    UserId::parse(&user.id).ok_or(Error::UserNotFound)
}
