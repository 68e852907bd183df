//! Signing in by way of a provider, from the button to the way back; and the proof that an account is one's own.

use actix_web::{
    HttpRequest, HttpResponse, ResponseError as _, cookie::time::Duration, http::StatusCode, web,
};
use askama::Template;
use common_http::{Caller, Path};
use secrecy::{ExposeSecret as _, SecretString};
use url::form_urlencoded;

use super::{
    door::see_other,
    forms::Form,
    frame::{Frame, own_path},
    sign_in::{ask_for_code, proof, set, welcome},
};
use crate::{
    domain::{origin::Origin, sign_in_flow::Purpose, user::UserId},
    error::{Error, FederationError, Result},
    routes::cookies::{Cookies, browser_of},
    service::{
        federation::{Federation, Holder, Wish},
        identities::{Identities, LinkProof, Settled},
        invitations::hash_of_invitation,
        limits::{Limit, Limits},
        sessions::Sessions,
    },
};

/// Holds what a proof is to be sent back with.
const LINK: &str = "__Host-link";
const LINK_WITHOUT_TLS: &str = "flowgateLink";

#[derive(Template)]
#[template(path = "login_link.html")]
struct ProofPage<'a> {
    f: &'a Frame,
}

/// What our callback sends a browser back with.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Back {
    pub(super) code: Option<String>,
    pub(super) error: Option<String>,
    next: Option<String>,
}

/// Where one wants to be afterwards.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Next {
    next: Option<String>,
    /// For somebody who comes for the first time.
    invitation: Option<String>,
}

/// `GET /login/with/{provider}`: on to the provider. A plain link: a form's policy would not let a browser leave.
pub(super) async fn go_to_provider(
    request: HttpRequest,
    Path(provider): Path<String>,
    query: web::Query<Next>,
    origin: Origin,
    federation: web::Data<Federation>,
    limits: web::Data<Limits>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    limits.admit(Limit::ProviderSignIns, origin.address).await?;
    let next = query.next.as_deref().and_then(own_path);
    let wish = Wish {
        next: Some(back_to("/login/return", next.as_deref())),
        ..Wish::default()
    };
    let browser = browser_of(&request);
    let purpose = Purpose::SignIn {
        invitation: hash_of_invitation(query.invitation.as_deref())?,
    };
    let begun = federation.begin(&provider, wish, purpose, browser).await?;
    let mut response = see_other(begun.authorization_url.as_str());
    if let Some(browser) = &begun.browser {
        set(&mut response, &cookies.browser(browser));
    }
    Ok(response)
}

fn back_to(path: &str, next: Option<&str>) -> String {
    match next {
        Some(next) => {
            let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
            format!("{path}?next={next}")
        }
        None => path.to_owned(),
    }
}

/// `GET /login/return`: back from the provider with a code that is good once, in this browser.
#[expect(
    clippy::too_many_arguments,
    reason = "it collects, settles and keeps: the end of a long way"
)]
pub(super) async fn come_back(
    request: HttpRequest,
    query: web::Query<Back>,
    origin: Origin,
    federation: web::Data<Federation>,
    identities: web::Data<Identities>,
    sessions: web::Data<Sessions>,
    limits: web::Data<Limits>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    limits.admit(Limit::Codes, origin.address).await?;
    let Some(code) = &query.code else {
        return Ok(failed(
            "/login",
            query.error.as_deref().unwrap_or("invalid_sign_in_code"),
        ));
    };
    let holder = Holder {
        browser: browser_of(&request),
        ..Holder::default()
    };
    let settled = async {
        let arrival = federation.collect(code, &holder).await?;
        identities.settle(arrival, &origin).await
    };
    let next = query.next.as_deref().and_then(own_path);
    match settled.await {
        Err(Error::Federation(FederationError::LinkNeeded {
            token,
            expires_in_secs,
            ..
        })) => {
            let mut response = see_other(&back_to("/login/link", next.as_deref()));
            let life = Duration::seconds(expires_in_secs);
            set(
                &mut response,
                &cookies.lax(link_cookie(&cookies), token.expose_secret(), life),
            );
            Ok(response)
        }
        settled => arrived(&request, &cookies, &sessions, &origin, settled, next.as_deref()).await,
    }
}

/// Where somebody goes whose identity has been settled, one way or the other.
async fn arrived(
    request: &HttpRequest,
    cookies: &Cookies,
    sessions: &Sessions,
    origin: &Origin,
    settled: Result<Settled>,
    next: Option<&str>,
) -> Result<HttpResponse> {
    match settled {
        Ok(Settled::SignedIn(pair)) => welcome(request, cookies, sessions, origin, &pair, next).await,
        Ok(Settled::Pending(pending)) => Ok(ask_for_code(cookies, &pending, next.unwrap_or("/"))),
        Ok(Settled::Linked(_)) => Ok(see_other("/account/identities?done=linked")),
        Err(error) => {
            let problem = error.problem();
            if error.status_code().is_server_error() {
                return Err(error);
            }
            Ok(failed("/login", problem.code()))
        }
    }
}

/// Back to a page that says what went wrong.
pub(super) fn failed(path: &str, code: &str) -> HttpResponse {
    let code: String = form_urlencoded::byte_serialize(code.as_bytes()).collect();
    see_other(&format!("{path}?problem={code}"))
}

fn link_cookie(cookies: &Cookies) -> &'static str {
    if cookies.names().secure {
        LINK
    } else {
        LINK_WITHOUT_TLS
    }
}

fn link_token(request: &HttpRequest, cookies: &Cookies) -> Option<SecretString> {
    let cookie = request.cookie(link_cookie(cookies))?;
    (!cookie.value().is_empty()).then(|| SecretString::from(cookie.value()))
}

/// `GET /login/link`: there is an account of the same address; whose is it?
pub(super) async fn show_proof(request: HttpRequest, f: Frame, cookies: web::Data<Cookies>) -> HttpResponse {
    if link_token(&request, &cookies).is_none() {
        return failed("/login", "invalid_link_token");
    }
    f.show(&ProofPage { f: &f })
}

/// `POST /login/link`: the password, or the mailed code, or being signed in.
#[expect(
    clippy::too_many_arguments,
    reason = "what was asked, whose it is, and where it goes on"
)]
pub(super) async fn prove_account(
    request: HttpRequest,
    f: Frame,
    form: Form,
    caller: Option<Caller>,
    origin: Origin,
    identities: web::Data<Identities>,
    sessions: web::Data<Sessions>,
    limits: web::Data<Limits>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    limits.admit(Limit::Codes, origin.address).await?;
    let Some(token) = link_token(&request, &cookies) else {
        return Ok(failed("/login", "invalid_link_token"));
    };
    let confirmed = async {
        let proof = link_proof(&form, caller)?;
        identities.confirm(token.expose_secret(), proof, &origin).await
    };
    match confirmed.await {
        Err(error @ Error::Federation(FederationError::InvalidLinkToken)) => {
            Ok(failed("/login", error.problem().code()))
        }
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            Ok(f.show_as(status, &ProofPage { f: &f }))
        }
        settled => {
            let next = form.given("next").and_then(|next| own_path(&next));
            let mut response =
                arrived(&request, &cookies, &sessions, &origin, settled, next.as_deref()).await?;
            set(
                &mut response,
                &cookies.lax(link_cookie(&cookies), "", Duration::ZERO),
            );
            Ok(response)
        }
    }
}

fn link_proof(form: &Form, caller: Option<Caller>) -> Result<LinkProof> {
    if let Some(code) = form.given("mail_code") {
        return Ok(LinkProof::MailedCode(code.into()));
    }
    if form.given("password").is_some() {
        let second = form.given("code").map(|code| proof(&code)).transpose()?;
        return Ok(LinkProof::Password(form.secret("password"), second));
    }
    match caller {
        Some(Caller::User(user)) if !user.must_change_password => UserId::parse(&user.id)
            .map(LinkProof::Session)
            .ok_or(Error::UserNotFound),
        Some(_) | None => Err(Error::invalid("password", "is required")),
    }
}

/// `POST /login/link/mail`: mails the code that proves it.
pub(super) async fn mail_code(
    request: HttpRequest,
    f: Frame,
    form: Form,
    origin: Origin,
    identities: web::Data<Identities>,
    limits: web::Data<Limits>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    limits.admit(Limit::Mails, origin.address).await?;
    let Some(token) = link_token(&request, &cookies) else {
        return Ok(failed("/login", "invalid_link_token"));
    };
    match identities.mail_code(token.expose_secret(), &origin).await {
        Ok(()) => Ok(see_other("/login/link?done=code_sent")),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            Ok(f.show_as(
                if status == StatusCode::OK {
                    StatusCode::BAD_REQUEST
                } else {
                    status
                },
                &ProofPage { f: &f },
            ))
        }
    }
}
