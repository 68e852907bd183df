//! The session in a browser, as pages continue and end it. Its tokens are in cookies that no script can read.

use actix_web::{HttpRequest, HttpResponse, web};
use common_http::{Caller, is_from_own_page};

use crate::{
    domain::{origin::Origin, user::UserId},
    error::{Error, Result},
    routes::cookies::{Cookies, own_refresh_token_of},
    service::sessions::{EndReason, Sessions},
};

/// `POST /session/refresh`: sets both cookies anew. Tabs that do so at once get the same pair.
pub(crate) async fn refresh_browser_session(
    request: HttpRequest,
    origin: Origin,
    sessions: web::Data<Sessions>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    let token = own_refresh_token_of(&request).ok_or(Error::RefreshRefused)?;
    let pair = sessions.refresh(&token, &origin).await?;
    let mut response = HttpResponse::NoContent();
    for cookie in cookies.session(&pair) {
        response.cookie(cookie);
    }
    Ok(response.finish())
}

/// `POST /session/end`: signs this browser out. A browser that is signed out already is so afterwards, too.
pub(crate) async fn end_browser_session(
    request: HttpRequest,
    caller: Option<Caller>,
    origin: Origin,
    sessions: web::Data<Sessions>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    if !is_from_own_page(&request) {
        return Err(Error::RefreshRefused);
    }
    let has_ended = match own_refresh_token_of(&request) {
        Some(token) => sessions.end_by_refresh_token(&token, &origin).await?,
        None => false,
    };
    if !has_ended
        && let Some(Caller::User(user)) = caller
        && let Some(user_id) = UserId::parse(&user.id)
    {
        sessions
            .end(&user.session_id, user_id, EndReason::Logout, Some(&origin))
            .await?;
    }
    let mut response = HttpResponse::NoContent();
    for cookie in cookies.no_session() {
        response.cookie(cookie);
    }
    Ok(response.finish())
}
