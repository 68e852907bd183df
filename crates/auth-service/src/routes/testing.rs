//! For tests of clients: what otherwise only a mailbox knows. These routes exist with `TESTING_ENDPOINTS` only, open to
//! anybody, as the documented service has them.

use actix_web::{HttpResponse, web};
use common_http::{Path, Timestamp};
use serde::Serialize;

use crate::{
    domain::user::UserId,
    error::{Error, Result},
    service::testing::{Testing, TokenKind},
};

#[derive(Serialize)]
struct TokenBody {
    token: String,
    expires: Timestamp,
    r#type: &'static str,
}

#[derive(Serialize)]
struct VerifiedBody {
    message: &'static str,
    user: VerifiedUser,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct VerifiedUser {
    id: String,
    username: String,
    email: String,
    is_email_verified: bool,
}

/// `GET /api/testing/verification-token/{user_id}`: the newest code.
pub(crate) async fn show_code(
    Path(user_id): Path<String>,
    testing: web::Data<Testing>,
) -> Result<HttpResponse> {
    show(&user_id, TokenKind::Email, &testing).await
}

/// `GET /api/testing/verification-token/{user_id}/{type}`: the newest code, or the token of a link.
pub(crate) async fn show_token(
    Path((user_id, kind)): Path<(String, String)>,
    testing: web::Data<Testing>,
) -> Result<HttpResponse> {
    let kind =
        TokenKind::parse(&kind).ok_or_else(|| Error::invalid("type", "must be email or password-reset"))?;
    show(&user_id, kind, &testing).await
}

async fn show(user_id: &str, kind: TokenKind, testing: &Testing) -> Result<HttpResponse> {
    let id = UserId::parse(user_id).ok_or(Error::InvalidUserId)?;
    let found = testing.find_token(id, kind).await?;
    Ok(HttpResponse::Ok().json(TokenBody {
        token: found.token,
        expires: found.expires_at.into(),
        r#type: kind.as_str(),
    }))
}

/// `POST /api/testing/verify-user/{user_id}`: verified without a code.
pub(crate) async fn verify_user(
    Path(user_id): Path<String>,
    testing: web::Data<Testing>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    let user = testing.verify(id).await?;
    Ok(HttpResponse::Ok().json(VerifiedBody {
        message: "User verified",
        user: VerifiedUser {
            id: user.id.to_string(),
            username: user.username,
            email: user.email,
            is_email_verified: true,
        },
    }))
}
