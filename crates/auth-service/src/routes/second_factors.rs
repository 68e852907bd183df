//! The second factor of one's own account, of others, and of a sign-in.

use actix_web::{HttpResponse, web};
use common_http::{Body, CurrentUser, Path};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{origin::Origin, second_factor::Proof, user::UserId},
    error::{Error, Result},
    routes::{bodies::Done, cookies::Cookies, passwords::require, sessions::signed_in},
    service::{logins::Logins, pending_sign_ins::PendingSignIn, second_factors::SecondFactors},
};

/// `POST /api/2fa/setup`.
#[derive(Deserialize)]
pub(crate) struct SetUp {
    password: SecretString,
}

/// `POST /api/2fa/enable`.
#[derive(Deserialize)]
pub(crate) struct Enable {
    #[serde(alias = "totpCode", alias = "totp_code")]
    code: SecretString,
}

/// `POST /api/2fa/disable` and `/api/2fa/recovery-codes`: the password, and one of the other two.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WithBothFactors {
    password: SecretString,
    #[serde(alias = "totpCode", alias = "totp_code")]
    code: Option<SecretString>,
    #[serde(alias = "recovery_code")]
    recovery_code: Option<SecretString>,
}

/// `POST /api/auth/verify-2fa`: the token, and one of the other two.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VerifySecondFactor {
    #[serde(alias = "pending_token")]
    pending_token: SecretString,
    #[serde(alias = "totpCode", alias = "totp_code")]
    code: Option<SecretString>,
    #[serde(alias = "recovery_code")]
    recovery_code: Option<SecretString>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusBody {
    enabled: bool,
    recovery_codes_left: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SetupBody<'a> {
    secret: &'a str,
    otpauth_uri: &'a str,
    qr_svg: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecoveryCodesBody<'a> {
    message: &'static str,
    recovery_codes: Vec<&'a str>,
}

/// The answer to a sign-in that lacks its second factor: no token that opens anything, no cookie.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SecondFactorNeeded {
    message: &'static str,
    totp_required: bool,
    #[serde(rename = "totp_required")]
    totp_required_too: bool,
    pending_token: String,
    #[serde(rename = "pending_token")]
    pending_token_too: String,
    expires_in: i64,
}

/// `GET /api/2fa`.
pub(crate) async fn show_second_factor(
    user: CurrentUser,
    second_factors: web::Data<SecondFactors>,
) -> Result<HttpResponse> {
    let status = second_factors.status(id_of(&user)?).await?;
    Ok(HttpResponse::Ok().json(StatusBody {
        enabled: status.is_enabled,
        recovery_codes_left: status.recovery_codes_left,
    }))
}

/// `POST /api/2fa/setup`: a secret for the app, not yet asked for.
pub(crate) async fn set_up_second_factor(
    user: CurrentUser,
    Body(body): Body<SetUp>,
    origin: Origin,
    second_factors: web::Data<SecondFactors>,
) -> Result<HttpResponse> {
    require("password", &body.password)?;
    let setup = second_factors
        .set_up(id_of(&user)?, &body.password, &origin)
        .await?;
    Ok(HttpResponse::Ok().json(SetupBody {
        secret: setup.secret.expose_secret(),
        otpauth_uri: setup.uri.expose_secret(),
        qr_svg: setup.qr_svg.expose_secret(),
    }))
}

/// `POST /api/2fa/enable`: the first code. The answer holds the recovery codes, once.
pub(crate) async fn enable_second_factor(
    user: CurrentUser,
    Body(body): Body<Enable>,
    origin: Origin,
    second_factors: web::Data<SecondFactors>,
) -> Result<HttpResponse> {
    require("code", &body.code)?;
    let codes = second_factors.enable(id_of(&user)?, &body.code, &origin).await?;
    Ok(recovery_codes("Second factor enabled", &codes))
}

/// `POST /api/2fa/disable`: password and second factor, for the last time.
pub(crate) async fn disable_second_factor(
    user: CurrentUser,
    Body(body): Body<WithBothFactors>,
    origin: Origin,
    second_factors: web::Data<SecondFactors>,
) -> Result<HttpResponse> {
    require("password", &body.password)?;
    let proof = proof_of(body.code, body.recovery_code)?.ok_or_else(no_proof)?;
    second_factors
        .disable(id_of(&user)?, &body.password, &proof, &origin)
        .await?;
    Ok(HttpResponse::Ok().json(Done {
        message: "Second factor disabled",
    }))
}

/// `POST /api/2fa/recovery-codes`: ten new ones; the old ones are worthless.
pub(crate) async fn renew_recovery_codes(
    user: CurrentUser,
    Body(body): Body<WithBothFactors>,
    origin: Origin,
    second_factors: web::Data<SecondFactors>,
) -> Result<HttpResponse> {
    require("password", &body.password)?;
    let proof = proof_of(body.code, body.recovery_code)?.ok_or_else(no_proof)?;
    let codes = second_factors
        .renew_recovery_codes(id_of(&user)?, &body.password, &proof, &origin)
        .await?;
    Ok(recovery_codes("New recovery codes", &codes))
}

/// `DELETE /api/admin/users/{user_id}/2fa`: for somebody who lost their phone.
pub(crate) async fn remove_second_factor(
    admin: CurrentUser,
    Path(user_id): Path<String>,
    origin: Origin,
    second_factors: web::Data<SecondFactors>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    second_factors.remove(id, id_of(&admin)?, &origin).await?;
    Ok(HttpResponse::Ok().json(Done {
        message: "Second factor removed",
    }))
}

/// `POST /api/auth/verify-2fa`: finishes a sign-in.
pub(crate) async fn verify_second_factor(
    Body(body): Body<VerifySecondFactor>,
    origin: Origin,
    logins: web::Data<Logins>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    require("pendingToken", &body.pending_token)?;
    let proof = proof_of(body.code, body.recovery_code)?.ok_or_else(no_proof)?;
    let pair = logins
        .finish(body.pending_token.expose_secret(), &proof, &origin)
        .await?;
    Ok(signed_in(&cookies, pair))
}

/// What is said to somebody who has the password right.
pub(crate) fn second_factor_needed(pending: &PendingSignIn) -> HttpResponse {
    HttpResponse::Ok().json(SecondFactorNeeded {
        message: "A code of the authenticator app is needed",
        totp_required: true,
        totp_required_too: true,
        pending_token: pending.token.expose_secret().to_owned(),
        pending_token_too: pending.token.expose_secret().to_owned(),
        expires_in: pending.expires_in_secs,
    })
}

/// What a body offers as second factor; empty members count as missing.
pub(crate) fn proof_of(code: Option<SecretString>, recovery: Option<SecretString>) -> Result<Option<Proof>> {
    let given = |secret: &SecretString| !secret.expose_secret().trim().is_empty();
    match (code.filter(given), recovery.filter(given)) {
        (Some(_), Some(_)) => Err(Error::invalid("recoveryCode", "cannot go with a code of the app")),
        (Some(code), None) => Ok(Some(Proof::Totp(code))),
        (None, Some(code)) => Ok(Some(Proof::Recovery(code))),
        (None, None) => Ok(None),
    }
}

fn no_proof() -> Error {
    Error::invalid("code", "is required, or a recoveryCode")
}

fn recovery_codes(message: &'static str, codes: &[SecretString]) -> HttpResponse {
    HttpResponse::Ok().json(RecoveryCodesBody {
        message,
        recovery_codes: codes.iter().map(SecretString::expose_secret).collect(),
    })
}

fn id_of(user: &CurrentUser) -> Result<UserId> {
    UserId::parse(&user.id).ok_or(Error::UserNotFound)
}
