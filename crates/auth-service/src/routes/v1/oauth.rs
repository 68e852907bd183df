//! Signing in by way of a provider, and linking identities to one's account.
//!
//! No token is ever in an address. A client that fetches the callback itself gets its tokens in the answer's body; a
//! browser is sent on with a code that is good once, for a minute, for whoever began the sign-in.

pub(super) mod bodies;

use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, http::header, web};
use common_http::{Body, Caller, CurrentUser, OptionalBody, Path, Query};
use secrecy::{ExposeSecret as _, SecretString};

use self::bodies::{
    AuthorizationUrl, CallbackBody, ConfirmLink, LinkQuery, LinkTokenBody, ProviderList, RedeemCode, WishBody,
};
use super::bodies::{LoggedIn, Person, PersonEnvelope};
use crate::{
    domain::{
        origin::Origin,
        sign_in_flow::{Purpose, with_parameter},
        user::UserId,
    },
    error::{Error, Result},
    routes::{
        bodies::Done,
        cookies::{Cookies, browser_of},
        second_factors::{proof_of, second_factor_needed},
    },
    service::{
        federation::{Begun, Federation, Holder, ProviderAnswer, Wish},
        identities::{Identities, LinkProof, Settled},
        invitations::hash_of_invitation,
        limits::{Limit, Limits},
        providers::Providers,
    },
};

/// `GET /api/v1/auth/oauth/providers`: what the log-in page shows as buttons.
pub(crate) async fn list_active_providers(providers: web::Data<Providers>) -> Result<HttpResponse> {
    let active = providers.list_active().await?;
    Ok(HttpResponse::Ok().json(ProviderList::new(&active)))
}

/// `GET /api/v1/auth/oauth/{provider}/authorize`: begins a sign-in.
pub(crate) async fn begin_sign_in(
    request: HttpRequest,
    Path(provider): Path<String>,
    Query(wish): Query<WishBody>,
    origin: Origin,
    federation: web::Data<Federation>,
    limits: web::Data<Limits>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    limits.admit(Limit::ProviderSignIns, origin.address).await?;
    let browser = browser_of(&request);
    let purpose = Purpose::SignIn {
        invitation: hash_of_invitation(wish.invitation.as_deref())?,
    };
    let begun = federation.begin(&provider, wish.into(), purpose, browser).await?;
    Ok(sent_there(&cookies, &begun))
}

/// `GET /api/v1/auth/oauth/{provider}/callback`: where the provider sends people back.
pub(crate) async fn receive_answer(
    request: HttpRequest,
    Path(provider): Path<String>,
    Query(query): Query<LinkQuery>,
    origin: Origin,
    federation: web::Data<Federation>,
    identities: web::Data<Identities>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse> {
    limits.admit(Limit::Codes, origin.address).await?;
    let holder = Holder {
        browser: browser_of(&request),
        ..Holder::default()
    };
    finish(
        &federation,
        &identities,
        &provider,
        &query.answer(),
        &holder,
        &origin,
    )
    .await
}

/// `POST /api/v1/auth/oauth/{provider}/callback`: the same for a client that received the provider's answer itself.
pub(crate) async fn redeem_answer(
    request: HttpRequest,
    Path(provider): Path<String>,
    Body(body): Body<CallbackBody>,
    origin: Origin,
    federation: web::Data<Federation>,
    identities: web::Data<Identities>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse> {
    limits.admit(Limit::Codes, origin.address).await?;
    let holder = Holder {
        browser: browser_of(&request),
        verifier: body.code_verifier.clone(),
        session: None,
    };
    finish(
        &federation,
        &identities,
        &provider,
        &body.answer(),
        &holder,
        &origin,
    )
    .await
}

/// `POST /api/v1/auth/oauth/token`: exchanges the code that our callback sent a browser on with.
pub(crate) async fn redeem_code(
    request: HttpRequest,
    Body(body): Body<RedeemCode>,
    origin: Origin,
    federation: web::Data<Federation>,
    identities: web::Data<Identities>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse> {
    limits.admit(Limit::Codes, origin.address).await?;
    let holder = Holder {
        browser: browser_of(&request),
        verifier: body.code_verifier,
        session: None,
    };
    let arrival = federation.collect(&body.code, &holder).await?;
    Ok(settled(identities.settle(arrival, &origin).await?))
}

/// `POST /api/v1/auth/oauth/connect/{provider}`: begins linking an identity to the caller's account.
pub(crate) async fn begin_link(
    request: HttpRequest,
    user: CurrentUser,
    Path(provider): Path<String>,
    OptionalBody(wish): OptionalBody<WishBody>,
    federation: web::Data<Federation>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    let (user_id, session_id) = session_of(&user)?;
    let purpose = Purpose::Link { user_id, session_id };
    let browser = browser_of(&request);
    let begun = federation.begin(&provider, wish.into(), purpose, browser).await?;
    Ok(sent_there(&cookies, &begun))
}

/// `GET /api/v1/auth/oauth/{provider}/link`: without a `state` begins as above; with one, finishes for the caller.
#[expect(
    clippy::too_many_arguments,
    reason = "it begins and it finishes; the documented route is one"
)]
pub(crate) async fn link_identity(
    request: HttpRequest,
    user: CurrentUser,
    Path(provider): Path<String>,
    Query(query): Query<LinkQuery>,
    origin: Origin,
    federation: web::Data<Federation>,
    identities: web::Data<Identities>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    let session = session_of(&user)?;
    if query.state.is_none() {
        let (user_id, session_id) = session;
        let purpose = Purpose::Link { user_id, session_id };
        let begun = federation
            .begin(&provider, query.wish(), purpose, browser_of(&request))
            .await?;
        return Ok(sent_there(&cookies, &begun));
    }
    let holder = Holder {
        session: Some(session),
        ..Holder::default()
    };
    finish(
        &federation,
        &identities,
        &provider,
        &query.answer(),
        &holder,
        &origin,
    )
    .await
}

/// `POST /api/v1/auth/oauth/link/mail`: mails the code that proves that an account is the caller's.
pub(crate) async fn mail_link_code(
    Body(body): Body<LinkTokenBody>,
    origin: Origin,
    identities: web::Data<Identities>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse> {
    limits.admit(Limit::Mails, origin.address).await?;
    identities
        .mail_code(body.link_token.expose_secret(), &origin)
        .await?;
    Ok(HttpResponse::Ok().json(Done {
        message: "A confirmation code is on its way",
    }))
}

/// `POST /api/v1/auth/oauth/link/confirm`: proves that an account is the caller's, links, and signs in.
pub(crate) async fn confirm_link(
    Body(body): Body<ConfirmLink>,
    caller: Option<Caller>,
    origin: Origin,
    identities: web::Data<Identities>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse> {
    limits.admit(Limit::Codes, origin.address).await?;
    let given = |secret: &SecretString| !secret.expose_secret().is_empty();
    let second = proof_of(body.totp_code, body.recovery_code)?;
    let proof = match (body.password.filter(given), body.mail_code.filter(given), caller) {
        (Some(password), None, _) => LinkProof::Password(password, second),
        (None, Some(code), _) => LinkProof::MailedCode(code),
        (None, None, Some(Caller::User(user))) if !user.must_change_password => {
            LinkProof::Session(session_of(&user)?.0)
        }
        _ => {
            return Err(Error::invalid(
                "password",
                "is required, or a mail_code, or to be signed in",
            ));
        }
    };
    let settling = identities.confirm(body.link_token.expose_secret(), proof, &origin);
    Ok(settled(settling.await?))
}

/// `DELETE /api/v1/auth/account/oauth/{identity_id}`: takes an identity off the caller's account.
pub(crate) async fn unlink_own_identity(
    user: CurrentUser,
    Path(identity_id): Path<String>,
    origin: Origin,
    identities: web::Data<Identities>,
) -> Result<HttpResponse> {
    let (id, _) = session_of(&user)?;
    identities.unlink(id, &identity_id, id, &origin).await?;
    Ok(HttpResponse::Ok().json(Done {
        message: "OAuth account removed successfully",
    }))
}

async fn finish(
    federation: &Federation,
    identities: &Identities,
    provider: &str,
    answer: &ProviderAnswer,
    holder: &Holder,
    origin: &Origin,
) -> Result<HttpResponse> {
    let (state, returned) = federation.take(provider, answer, holder).await?;
    let identified = federation.identify(&state, &returned, answer).await;
    let Some(next) = returned.next().map(str::to_owned) else {
        let arrival = returned.into_arrival(identified?);
        return Ok(settled(identities.settle(arrival, origin).await?));
    };
    let sent_on = match identified {
        Ok(identity) => {
            let code = federation.keep(&returned.into_arrival(identity)).await?;
            with_parameter(&next, "code", code.text())
        }
        Err(error) => with_parameter(&next, "error", error.problem().code()),
    };
    Ok(HttpResponse::SeeOther()
        .insert_header((header::LOCATION, sent_on))
        .finish())
}

/// What somebody gets who is known now.
fn settled(settled: Settled) -> HttpResponse {
    match settled {
        Settled::SignedIn(pair) => HttpResponse::Ok().json(LoggedIn::from(*pair)),
        Settled::Pending(pending) => second_factor_needed(&pending),
        Settled::Linked(user) => HttpResponse::Ok().json(PersonEnvelope {
            message: Some("Account linked successfully"),
            user: Person::from(*user),
        }),
    }
}

fn sent_there(cookies: &Cookies, begun: &Begun) -> HttpResponse {
    let mut response: HttpResponseBuilder = HttpResponse::Ok();
    if let Some(browser) = &begun.browser {
        response.cookie(cookies.browser(browser));
    }
    response.json(AuthorizationUrl {
        authorization_url: begun.authorization_url.as_str(),
    })
}

fn session_of(user: &CurrentUser) -> Result<(UserId, String)> {
    let id = UserId::parse(&user.id).ok_or(Error::UserNotFound)?;
    Ok((id, user.session_id.clone()))
}

impl From<WishBody> for Wish {
    fn from(body: WishBody) -> Self {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            redirect_uri: given(body.redirect_uri),
            next: given(body.next),
            code_challenge: given(body.code_challenge),
            code_challenge_method: given(body.code_challenge_method),
        }
    }
}
