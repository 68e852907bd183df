//! Signing in and out, passed on to auth-service.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use common_http::{Access, Body, ClientAddress, CurrentUser, OptionalBody, Routes};
use common_jwt::AccessClaims;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    auth::{Origin, SignInWith},
    error::{Error, Result},
    service::sign_in::{Issued, Revoke, SignIn},
};

/// Browsers' names for themselves are shorter; what is longer is not passed on.
const USER_AGENT_BYTES_MAX: usize = 512;

pub(crate) fn table(routes: &mut Routes<'_>) {
    for base in super::CHAT {
        routes
            .post(&format!("{base}/authenticate"), Access::Public, authenticate)
            .post(&format!("{base}/refresh"), Access::Public, refresh_tokens)
            .post(&format!("{base}/revoke"), Access::RestrictedUser, revoke_tokens)
            .get(
                &format!("{base}/get_current_user"),
                Access::User,
                show_current_user,
            );
    }
}

#[derive(Deserialize)]
struct Authenticate {
    username: String,
    password: SecretString,
    #[serde(alias = "totpCode")]
    totp_code: Option<SecretString>,
    #[serde(alias = "recoveryCode")]
    recovery_code: Option<SecretString>,
}

#[derive(Deserialize)]
struct RefreshTokens {
    refresh_token: SecretString,
}

#[derive(Default, Deserialize)]
struct RevokeTokens {
    refresh_token: Option<SecretString>,
    token_id: Option<String>,
    #[serde(default)]
    all_tokens: bool,
}

#[derive(Serialize)]
struct TokensBody<'a> {
    access_token: &'a str,
    refresh_token: &'a str,
    token_type: &'static str,
    expires_in: i64,
    user: &'a Value,
    message: &'a str,
    #[serde(rename = "mustChangePassword", skip_serializing_if = "std::ops::Not::not")]
    must_change_password: bool,
}

#[derive(Serialize)]
struct RevokedBody {
    message: &'static str,
    revoked_tokens: u32,
}

/// A person as clients know them.
#[derive(Serialize)]
struct UserBody<'a> {
    id: &'a str,
    username: &'a str,
    email: &'a str,
    #[serde(rename = "isVerified")]
    is_verified: bool,
    role: &'static str,
}

/// `POST /api/v1/chat/authenticate`: name and password, and the second factor where there is one, for a pair of tokens.
async fn authenticate(
    Body(body): Body<Authenticate>,
    address: ClientAddress,
    request: HttpRequest,
    sign_in: web::Data<SignIn>,
) -> Result<HttpResponse> {
    require("username", &body.username)?;
    require("password", body.password.expose_secret())?;
    let origin = origin(&request, address);
    let with = SignInWith {
        username: body.username.trim(),
        password: &body.password,
        totp_code: given(body.totp_code.as_ref()),
        recovery_code: given(body.recovery_code.as_ref()),
    };
    let issued = sign_in.login(&with, &origin).await?;
    Ok(tokens(&issued, &issued.signed_in.user, "Login successful"))
}

/// `POST /api/v1/chat/refresh`: a refresh token for the next pair, with the person as they are now.
async fn refresh_tokens(
    Body(body): Body<RefreshTokens>,
    address: ClientAddress,
    request: HttpRequest,
    sign_in: web::Data<SignIn>,
) -> Result<HttpResponse> {
    require("refresh_token", body.refresh_token.expose_secret())?;
    let origin = origin(&request, address);
    let issued = sign_in.refresh(&body.refresh_token, &origin).await?;
    let user = serde_json::to_value(UserBody::from(&issued.claims)).unwrap_or_default();
    Ok(tokens(&issued, &user, "Token refreshed"))
}

/// `POST /api/v1/chat/revoke`: ends the caller's session, or all of them, everywhere.
async fn revoke_tokens(
    user: CurrentUser,
    OptionalBody(body): OptionalBody<RevokeTokens>,
    address: ClientAddress,
    request: HttpRequest,
    sign_in: web::Data<SignIn>,
) -> Result<HttpResponse> {
    let (what, message) = match body {
        RevokeTokens { all_tokens: true, .. } => (Revoke::All, "All tokens revoked successfully"),
        RevokeTokens {
            refresh_token: Some(token),
            ..
        } => (Revoke::Refresh(token), "Token revoked successfully"),
        RevokeTokens {
            token_id: Some(id), ..
        } => (Revoke::Id(id), "Token revoked successfully"),
        RevokeTokens { .. } => (Revoke::Own, "Token revoked successfully"),
    };
    sign_in.revoke(&user, &what, &origin(&request, address)).await?;
    Ok(HttpResponse::Ok().json(RevokedBody {
        message,
        revoked_tokens: 1,
    }))
}

/// `GET /api/v1/chat/get_current_user`: whom the access token speaks of.
async fn show_current_user(user: CurrentUser) -> HttpResponse {
    HttpResponse::Ok().json(UserBody {
        id: &user.id,
        username: &user.username,
        email: &user.email,
        is_verified: true,
        role: user.role.as_str(),
    })
}

/// Auth-service issues access tokens to verified people only.
impl<'a> From<&'a AccessClaims> for UserBody<'a> {
    fn from(claims: &'a AccessClaims) -> Self {
        Self {
            id: &claims.sub,
            username: &claims.username,
            email: &claims.email,
            is_verified: true,
            role: claims.role.as_str(),
        }
    }
}

fn tokens(issued: &Issued, user: &Value, message: &str) -> HttpResponse {
    let signed_in = &issued.signed_in;
    HttpResponse::Ok().json(TokensBody {
        access_token: signed_in.access_token.expose_secret(),
        refresh_token: signed_in.refresh_token.expose_secret(),
        token_type: "bearer",
        expires_in: issued.expires_in_secs,
        user,
        message: signed_in.message.as_deref().unwrap_or(message),
        // As the token says: a refresh answers nothing else about it.
        must_change_password: issued.claims.must_change_password,
    })
}

/// Forms send empty members for what was not filled in.
fn given(code: Option<&SecretString>) -> Option<&SecretString> {
    code.filter(|code| !code.expose_secret().trim().is_empty())
}

fn require(field: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Err(Error::invalid(field, "is required"));
    }
    Ok(())
}

fn origin(request: &HttpRequest, address: ClientAddress) -> Origin {
    let user_agent = request
        .headers()
        .get(header::USER_AGENT)
        .map(header::HeaderValue::as_bytes);
    Origin {
        address: address.0,
        user_agent: user_agent
            .filter(|text| text.len() <= USER_AGENT_BYTES_MAX)
            .and_then(|text| HeaderValue::from_bytes(text).ok()),
    }
}
