//! Forgetting, choosing and being given passwords.

use actix_web::{HttpResponse, web};
use common_http::{Body, CurrentUser, Path};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{origin::Origin, user::UserId},
    error::{Error, Result},
    routes::{bodies::Done, cookies::Cookies},
    service::{
        credentials::{Credentials, GivenPassword},
        resets::Resets,
    },
};

/// `POST /api/auth/forgot-password`.
#[derive(Debug, Deserialize)]
pub(crate) struct ForgotPassword {
    email: String,
}

/// `POST /api/auth/reset-password`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResetPassword {
    token: SecretString,
    new_password: SecretString,
}

/// `POST /api/change-password`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangePassword {
    current_password: SecretString,
    new_password: SecretString,
}

/// The answer to a changed password: every other session has ended, and this is the pair of the new one.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PasswordChanged {
    message: &'static str,
    access_token: String,
    refresh_token: String,
}

/// `POST /api/admin/users/{user_id}/reset-password`: one of the two.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GivePassword {
    new_password: Option<SecretString>,
    #[serde(default)]
    generate_random: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PasswordGiven {
    message: &'static str,
    user: NamedUser,
    #[serde(skip_serializing_if = "Option::is_none")]
    generated_password: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NamedUser {
    username: String,
    email: String,
    must_change_password: bool,
}

/// `POST /api/auth/forgot-password`: one answer, at once, whether there is such an account or not.
pub(crate) async fn forgot_password(
    Body(body): Body<ForgotPassword>,
    origin: Origin,
    resets: web::Data<Resets>,
) -> Result<HttpResponse> {
    if body.email.trim().is_empty() {
        return Err(Error::invalid("email", "is required"));
    }
    resets.request(body.email, origin);
    Ok(HttpResponse::Ok().json(Done {
        message: "If an account with this address exists, a link to choose a new password is on its way",
    }))
}

/// `POST /api/auth/reset-password`: the token out of the mail sets the password and ends all sessions.
pub(crate) async fn reset_password(
    Body(body): Body<ResetPassword>,
    origin: Origin,
    resets: web::Data<Resets>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    require("token", &body.token)?;
    require("newPassword", &body.new_password)?;
    resets
        .redeem(body.token.expose_secret(), body.new_password, &origin)
        .await?;
    let mut response = HttpResponse::Ok();
    for cookie in cookies.cleared() {
        response.cookie(cookie);
    }
    Ok(response.json(Done {
        message: "Password reset successful",
    }))
}

/// `POST /api/change-password`: ends all sessions, this one too, and opens a new one.
pub(crate) async fn change_password(
    user: CurrentUser,
    Body(body): Body<ChangePassword>,
    origin: Origin,
    credentials: web::Data<Credentials>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    require("currentPassword", &body.current_password)?;
    require("newPassword", &body.new_password)?;
    let user_id = UserId::parse(&user.id).ok_or(Error::UserNotFound)?;
    let pair = credentials
        .change(user_id, &body.current_password, body.new_password, &origin)
        .await?;
    let mut response = HttpResponse::Ok();
    response.cookie(cookies.access(&pair.access));
    response.cookie(cookies.refresh(&pair.refresh));
    Ok(response.json(PasswordChanged {
        message: "Password changed successfully",
        access_token: pair.access,
        refresh_token: pair.refresh,
    }))
}

/// `POST /api/admin/users/{user_id}/reset-password`: a password to be changed at the next sign-in.
pub(crate) async fn give_password(
    admin: CurrentUser,
    Path(user_id): Path<String>,
    Body(body): Body<GivePassword>,
    origin: Origin,
    credentials: web::Data<Credentials>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    let given = match (body.new_password, body.generate_random == Some(true)) {
        (Some(password), false) => GivenPassword::Chosen(password),
        (None, true) => GivenPassword::Random,
        (None, false) => {
            return Err(Error::invalid(
                "newPassword",
                "is required, or generateRandom: true",
            ));
        }
        (Some(_), true) => return Err(Error::invalid("generateRandom", "cannot go with newPassword")),
    };
    let (user, generated) = credentials.give(id, given, actor, &origin).await?;
    Ok(HttpResponse::Ok().json(PasswordGiven {
        message: "Password reset; it has to be changed at the next sign-in",
        user: NamedUser {
            username: user.username,
            email: user.email,
            must_change_password: true,
        },
        generated_password: generated.map(|password| password.expose_secret().to_owned()),
    }))
}

/// `POST /api/admin/users/{user_id}/invitation`: mails the link to choose a password, again if need be.
pub(crate) async fn invite_user(
    admin: CurrentUser,
    Path(user_id): Path<String>,
    origin: Origin,
    resets: web::Data<Resets>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    resets.invite_by_id(id, actor, &origin).await?;
    Ok(HttpResponse::Ok().json(Done {
        message: "An invitation is on its way",
    }))
}

/// A secret that must not be empty.
pub(crate) fn require(field: &str, secret: &SecretString) -> Result<()> {
    if secret.expose_secret().is_empty() {
        return Err(Error::invalid(field, "is required"));
    }
    Ok(())
}
