//! Signing in, going on, signing out.

use actix_web::{HttpRequest, HttpResponse, web};
use common_http::{Body, Caller, CurrentUser, OptionalBody};
use secrecy::ExposeSecret as _;

use crate::{
    domain::{origin::Origin, user::UserId},
    error::{Error, Result},
    routes::{
        bodies::{Done, LogIn, LoggedIn, RefreshTokenBody, Refreshed},
        cookies::{Cookies, refresh_token_of},
        second_factors::{proof_of, second_factor_needed},
    },
    service::{
        logins::{Logins, SignIn},
        sessions::{EndReason, Sessions, TokenPair},
    },
};

impl RefreshTokenBody {
    fn token(self) -> Option<String> {
        let token = self.refresh_token?.expose_secret().trim().to_owned();
        (!token.is_empty()).then_some(token)
    }
}

/// `POST /api/auth/login`: opens a session, or asks for the second factor.
pub(crate) async fn log_in(
    Body(body): Body<LogIn>,
    origin: Origin,
    logins: web::Data<Logins>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    if body.username.trim().is_empty() {
        return Err(Error::invalid("username", "is required"));
    }
    if body.password.expose_secret().is_empty() {
        return Err(Error::invalid("password", "is required"));
    }
    let proof = proof_of(body.totp_code, body.recovery_code)?;
    let signing_in = logins.log_in(&body.username, &body.password, proof.as_ref(), &origin);
    match signing_in.await? {
        SignIn::Done(pair) => Ok(signed_in(&cookies, *pair)),
        SignIn::Pending(pending) => Ok(second_factor_needed(&pending)),
    }
}

/// The answer to a sign-in that is complete.
pub(crate) fn signed_in(cookies: &Cookies, pair: TokenPair) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.cookie(cookies.access(&pair.access));
    response.cookie(cookies.refresh(&pair.refresh));
    response.json(LoggedIn {
        message: "Login successful",
        access_token: pair.access,
        refresh_token: pair.refresh,
        must_change_password: pair.user.must_change_password,
        user: pair.user.into(),
    })
}

/// `POST /api/auth/refresh`: the next pair of tokens. The cookie counts before the body.
pub(crate) async fn refresh_tokens(
    request: HttpRequest,
    OptionalBody(body): OptionalBody<RefreshTokenBody>,
    origin: Origin,
    sessions: web::Data<Sessions>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    let token = refresh_token_of(&request).or_else(|| body.token());
    let token = token.ok_or(Error::RefreshTokenMissing)?;
    let pair = sessions.refresh(&token, &origin).await?;
    let mut response = HttpResponse::Ok();
    response.cookie(cookies.access(&pair.access));
    response.cookie(cookies.refresh(&pair.refresh));
    Ok(response.json(Refreshed {
        message: "Token refreshed successfully",
        access_token: pair.access,
        refresh_token: pair.refresh,
    }))
}

/// `POST /api/auth/logout`: ends the session of the refresh token in the body, else in the cookie, else that of the
/// access token. An explicit token counts before a cookie: scripts keep one jar for several users.
pub(crate) async fn log_out(
    request: HttpRequest,
    OptionalBody(body): OptionalBody<RefreshTokenBody>,
    caller: Option<Caller>,
    origin: Origin,
    sessions: web::Data<Sessions>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    let token = body.token().or_else(|| refresh_token_of(&request));
    let has_ended = match token {
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
    Ok(signed_out(&cookies, "Logout successful"))
}

/// `POST /api/auth/logout-all`: ends all sessions of the caller.
pub(crate) async fn log_out_everywhere(
    user: CurrentUser,
    origin: Origin,
    sessions: web::Data<Sessions>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    let user_id = UserId::parse(&user.id).ok_or(Error::UserNotFound)?;
    sessions
        .end_all(user_id, EndReason::LogoutAll, Some(&origin))
        .await?;
    Ok(signed_out(&cookies, "Logged out from all devices"))
}

fn signed_out(cookies: &Cookies, message: &'static str) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    for cookie in cookies.cleared() {
        response.cookie(cookie);
    }
    response.json(Done { message })
}
