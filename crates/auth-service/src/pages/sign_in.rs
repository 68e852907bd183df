//! Signing in with a password and a second factor, and signing out.

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, time::Duration},
    http::StatusCode,
    web,
};
use askama::Template;
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    door::see_other,
    forms::Form,
    frame::{Frame, own_path},
};
use crate::{
    domain::{origin::Origin, provider::Provider, settings::RegistrationRule},
    error::{Error, Result},
    routes::{
        cookies::{Cookies, own_refresh_token_of},
        second_factors::proof_of,
    },
    service::{
        logins::{Logins, SignIn},
        pending_sign_ins::PendingSignIn,
        providers::Providers,
        sessions::{Sessions, TokenPair},
        settings::RuntimeSettings,
    },
};

/// Holds the token of a sign-in that lacks its second factor.
const PENDING: &str = "__Host-pending";
const PENDING_WITHOUT_TLS: &str = "flowgatePending";

#[derive(Template)]
#[template(path = "login.html")]
struct SignInPage<'a> {
    f: &'a Frame,
    providers: &'a [Provider],
    may_register: bool,
    is_closed: bool,
}

#[derive(Template)]
#[template(path = "login_code.html")]
struct CodePage<'a> {
    f: &'a Frame,
}

/// `GET /login`; whoever is signed in is sent on.
pub(super) async fn show_sign_in(
    f: Frame,
    providers: web::Data<Providers>,
    settings: web::Data<RuntimeSettings>,
) -> Result<HttpResponse> {
    if f.person.is_some() {
        return Ok(see_other(f.next_or("/")));
    }
    sign_in_page(&f, StatusCode::OK, &providers, &settings).await
}

async fn sign_in_page(
    f: &Frame,
    status: StatusCode,
    providers: &Providers,
    settings: &RuntimeSettings,
) -> Result<HttpResponse> {
    let current = settings.current();
    let page = SignInPage {
        f,
        providers: &providers.list_active().await?,
        may_register: current.settings.registration != RegistrationRule::Closed,
        is_closed: !current.settings.user_sign_in,
    };
    Ok(f.show_as(status, &page))
}

/// `POST /login`: the password.
#[expect(
    clippy::too_many_arguments,
    reason = "what was asked, whose it is, and what the page shows when it is wrong"
)]
pub(super) async fn sign_in(
    request: HttpRequest,
    f: Frame,
    form: Form,
    origin: Origin,
    logins: web::Data<Logins>,
    sessions: web::Data<Sessions>,
    cookies: web::Data<Cookies>,
    providers: web::Data<Providers>,
    settings: web::Data<RuntimeSettings>,
) -> Result<HttpResponse> {
    let tried = try_sign_in(&form, &logins, &origin).await;
    match tried {
        Ok(SignIn::Done(pair)) => {
            let next = form.given("next").and_then(|next| own_path(&next));
            welcome(&request, &cookies, &sessions, &origin, &pair, next.as_deref()).await
        }
        Ok(SignIn::Pending(pending)) => Ok(ask_for_code(&cookies, &pending, form.text("next"))),
        Err(error) => {
            let unproven = matches!(error, Error::EmailNotVerified);
            let (f, status) = f.refused(&form, error)?;
            if unproven {
                return Ok(see_other("/verify?problem=email_not_verified"));
            }
            sign_in_page(&f, status, &providers, &settings).await
        }
    }
}

async fn try_sign_in(form: &Form, logins: &Logins, origin: &Origin) -> Result<SignIn> {
    let username = form.required("username")?;
    let password = form.required_secret("password")?;
    logins.log_in(username, &password, None, origin).await
}

/// Keeps the session in the browser and sends it on. The session that the browser had before ends: nobody is signed in
/// twice in one browser.
pub(super) async fn welcome(
    request: &HttpRequest,
    cookies: &Cookies,
    sessions: &Sessions,
    origin: &Origin,
    pair: &TokenPair,
    next: Option<&str>,
) -> Result<HttpResponse> {
    if let Some(token) = own_refresh_token_of(request) {
        sessions.end_by_refresh_token(&token, origin).await?;
    }
    let next = if pair.user.must_change_password {
        "/account/password"
    } else {
        next.unwrap_or("/")
    };
    let mut response = see_other(next);
    for cookie in cookies.session(pair) {
        set(&mut response, &cookie);
    }
    set(
        &mut response,
        &cookies.lax(pending_cookie(cookies), "", Duration::ZERO),
    );
    Ok(response)
}

/// Sends a browser to the question for the second factor. What finishes the sign-in goes into a cookie, not into a page.
pub(super) fn ask_for_code(cookies: &Cookies, pending: &PendingSignIn, next: &str) -> HttpResponse {
    let next = own_path(next).unwrap_or_else(|| "/".to_owned());
    let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
    let mut response = see_other(&format!("/login/code?next={next}"));
    let life = Duration::seconds(pending.expires_in_secs);
    let cookie = cookies.lax(pending_cookie(cookies), pending.token.expose_secret(), life);
    set(&mut response, &cookie);
    response
}

fn pending_cookie(cookies: &Cookies) -> &'static str {
    if cookies.names().secure {
        PENDING
    } else {
        PENDING_WITHOUT_TLS
    }
}

/// `GET /login/code`.
pub(super) async fn show_code(request: HttpRequest, f: Frame, cookies: web::Data<Cookies>) -> HttpResponse {
    if request.cookie(pending_cookie(&cookies)).is_none() {
        return see_other("/login?problem=invalid_pending_token");
    }
    f.show(&CodePage { f: &f })
}

/// `POST /login/code`: a code of the app, or a recovery code.
pub(super) async fn prove_code(
    request: HttpRequest,
    f: Frame,
    form: Form,
    origin: Origin,
    logins: web::Data<Logins>,
    sessions: web::Data<Sessions>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    let token = request.cookie(pending_cookie(&cookies));
    let token = token.map(|cookie| cookie.value().to_owned()).unwrap_or_default();
    match finish(&form, &token, &logins, &origin).await {
        Ok(pair) => {
            let next = form.given("next").and_then(|next| own_path(&next));
            welcome(&request, &cookies, &sessions, &origin, &pair, next.as_deref()).await
        }
        Err(Error::InvalidPendingToken) => Ok(see_other("/login?problem=invalid_pending_token")),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            Ok(f.show_as(status, &CodePage { f: &f }))
        }
    }
}

async fn finish(form: &Form, token: &str, logins: &Logins, origin: &Origin) -> Result<TokenPair> {
    let code = form.required("code")?;
    let proof = proof(code)?;
    logins.finish(token, &proof, origin).await
}

/// Six digits are a code of the app; anything else can only be a recovery code.
pub(super) fn proof(code: &str) -> Result<crate::domain::second_factor::Proof> {
    let digits: String = code
        .chars()
        .filter(|character| !character.is_whitespace())
        .collect();
    let is_totp = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let proof = if is_totp {
        proof_of(Some(SecretString::from(digits)), None)?
    } else {
        proof_of(None, Some(SecretString::from(code)))?
    };
    proof.ok_or_else(|| Error::invalid("code", "is required"))
}

/// `POST /logout`.
pub(super) async fn sign_out(
    request: HttpRequest,
    _form: Form,
    origin: Origin,
    sessions: web::Data<Sessions>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    if let Some(token) = own_refresh_token_of(&request) {
        sessions.end_by_refresh_token(&token, &origin).await?;
    }
    let mut response = see_other("/login?done=signed_out");
    for cookie in cookies.no_session() {
        set(&mut response, &cookie);
    }
    Ok(response)
}

/// Names and values are ours, so they can be written.
pub(super) fn set(response: &mut HttpResponse, cookie: &Cookie<'_>) {
    let _ = response.add_cookie(cookie);
}
