//! Signing up and proving an address.

use actix_web::{HttpResponse, web};
use common_http::Body;

use crate::{
    domain::{origin::Origin, user::User},
    error::{Error, Result},
    routes::bodies::{Done, ResendVerification, SignUp, UserCreated, VerifyEmail},
    service::{
        accounts::NewAccount,
        limits::{Limit, Limits},
        registration::Registration,
    },
};

/// `POST /api/auth/signup`: an account without rights, whose address is to be proven.
pub(crate) async fn sign_up(
    Body(body): Body<SignUp>,
    origin: Origin,
    registration: web::Data<Registration>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse> {
    limits.admit(Limit::SignUp, origin.address).await?;
    let account = NewAccount::parse(&body.username, &body.email, body.password)?;
    let user = registration.sign_up(account, body.invitation, &origin).await?;
    Ok(HttpResponse::Created().json(UserCreated::new(next_step_of(&user), &user)))
}

/// What somebody is told who has just made an account.
pub(crate) fn next_step_of(user: &User) -> &'static str {
    match (user.is_verified, user.awaits_approval) {
        (false, false) => "User registered successfully; a verification code is on its way",
        (false, true) => {
            "User registered successfully; a verification code is on its way, and then an administrator approves the account"
        }
        (true, false) => "User registered successfully; sign in",
        (true, true) => "User registered successfully; an administrator has to approve the account",
    }
}

/// `POST /api/auth/verify-email`: the code proves the address.
pub(crate) async fn verify_email(
    Body(body): Body<VerifyEmail>,
    origin: Origin,
    registration: web::Data<Registration>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse> {
    limits.admit(Limit::Codes, origin.address).await?;
    if body.token.is_empty() {
        return Err(Error::invalid("token", "is required"));
    }
    let email = body.email.filter(|email| !email.trim().is_empty());
    registration
        .verify(&body.token, email.as_deref(), &origin)
        .await?;
    Ok(HttpResponse::Ok().json(Done {
        message: "Email verified successfully",
    }))
}

/// `POST /api/auth/resend-verification`: one answer, whether there is such an account or not.
pub(crate) async fn resend_verification(
    Body(body): Body<ResendVerification>,
    origin: Origin,
    registration: web::Data<Registration>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse> {
    limits.admit(Limit::Mails, origin.address).await?;
    if body.email.trim().is_empty() {
        return Err(Error::invalid("email", "is required"));
    }
    registration.resend(body.email);
    Ok(HttpResponse::Ok().json(Done {
        message: "If an account with this address waits to be verified, a new code is on its way",
    }))
}
