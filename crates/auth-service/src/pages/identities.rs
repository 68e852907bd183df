//! The identities that are linked to one's account.

use actix_web::{HttpRequest, HttpResponse, ResponseError as _, http::StatusCode, web};
use askama::Template;
use common_http::{CurrentUser, Path};

use super::{
    door::see_other,
    forms::Form,
    frame::{Frame, id_of},
    providers::{Back, failed},
    sign_in::set,
    times::Shown,
};
use crate::{
    domain::{identity::Identity, origin::Origin, provider::Provider, sign_in_flow::Purpose},
    error::{Error, Result},
    routes::cookies::{Cookies, browser_of},
    service::{
        federation::{Federation, Holder, Wish},
        identities::Identities,
        limits::{Limit, Limits},
        providers::Providers,
    },
    store::{providers::ProviderStore, users::UserStore},
};

#[derive(Template)]
#[template(path = "identities.html")]
struct IdentitiesPage<'a> {
    f: &'a Frame,
    linked: Vec<Linked>,
    others: Vec<Provider>,
}

#[derive(Template)]
#[template(path = "onward.html")]
struct OnwardPage<'a> {
    f: &'a Frame,
    address: &'a str,
}

struct Linked {
    id: String,
    provider: String,
    email: String,
    since: Shown,
}

/// `GET /account/identities`.
pub(super) async fn list(
    f: Frame,
    user: CurrentUser,
    users: web::Data<UserStore>,
    providers: web::Data<Providers>,
    store: web::Data<ProviderStore>,
) -> Result<HttpResponse> {
    list_page(&f, StatusCode::OK, &user, &users, &providers, &store).await
}

async fn list_page(
    f: &Frame,
    status: StatusCode,
    user: &CurrentUser,
    users: &UserStore,
    providers: &Providers,
    store: &ProviderStore,
) -> Result<HttpResponse> {
    let user = users.find(id_of(user)?).await?.ok_or(Error::UserNotFound)?;
    let known = store.list().await?;
    let mut others = providers.list_active().await?;
    others.retain(|provider| {
        !user
            .identities
            .iter()
            .any(|identity| identity.provider_id == provider.id)
    });
    let name_of = |identity: &Identity| {
        let provider = known.iter().find(|provider| provider.id == identity.provider_id);
        provider.map_or_else(
            || identity.issuer.clone(),
            |provider| provider.display_name.clone(),
        )
    };
    let linked = user.identities.iter().map(|identity| Linked {
        id: identity.id.clone(),
        provider: name_of(identity),
        email: identity.email.clone().unwrap_or_default(),
        since: identity.connected_at.into(),
    });
    let page = IdentitiesPage {
        f,
        linked: linked.collect(),
        others,
    };
    Ok(f.show_as(status, &page))
}

/// `POST /account/identities/{provider}`: a page that leads on to the provider. A form may lead nowhere else itself.
#[expect(
    clippy::too_many_arguments,
    reason = "it begins a sign-in for somebody who is signed in"
)]
pub(super) async fn link(
    request: HttpRequest,
    f: Frame,
    user: CurrentUser,
    Path(provider): Path<String>,
    _form: Form,
    origin: Origin,
    federation: web::Data<Federation>,
    limits: web::Data<Limits>,
    cookies: web::Data<Cookies>,
) -> Result<HttpResponse> {
    limits.admit(Limit::ProviderSignIns, origin.address).await?;
    let purpose = Purpose::Link {
        user_id: id_of(&user)?,
        session_id: user.session_id.clone(),
    };
    let wish = Wish {
        next: Some("/account/identities/return".to_owned()),
        ..Wish::default()
    };
    let begun = federation
        .begin(&provider, wish, purpose, browser_of(&request))
        .await?;
    let mut response = f.show(&OnwardPage {
        f: &f,
        address: begun.authorization_url.as_str(),
    });
    if let Some(browser) = &begun.browser {
        set(&mut response, &cookies.browser(browser));
    }
    Ok(response)
}

/// `GET /account/identities/return`: back from the provider.
pub(super) async fn come_back(
    request: HttpRequest,
    user: CurrentUser,
    query: web::Query<Back>,
    origin: Origin,
    federation: web::Data<Federation>,
    identities: web::Data<Identities>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse> {
    limits.admit(Limit::Codes, origin.address).await?;
    let Some(code) = &query.code else {
        let code = query.error.as_deref().unwrap_or("invalid_sign_in_code");
        return Ok(failed("/account/identities", code));
    };
    let holder = Holder {
        browser: browser_of(&request),
        session: Some((id_of(&user)?, user.session_id.clone())),
        ..Holder::default()
    };
    let linked = async {
        let arrival = federation.collect(code, &holder).await?;
        // Somebody who wanted to sign in comes back elsewhere.
        if !matches!(arrival.purpose, Purpose::Link { .. }) {
            return Err(Error::Federation(
                crate::error::FederationError::InvalidSignInCode,
            ));
        }
        identities.settle(arrival, &origin).await
    };
    match linked.await {
        Ok(_) => Ok(see_other("/account/identities?done=linked")),
        Err(error) if error.status_code().is_server_error() => Err(error),
        Err(error) => Ok(failed("/account/identities", error.problem().code())),
    }
}

/// `POST /account/identities/{identity_id}/remove`: never the last way in.
#[expect(
    clippy::too_many_arguments,
    reason = "what was asked, whose it is, and what the page shows when it is refused"
)]
pub(super) async fn unlink(
    f: Frame,
    user: CurrentUser,
    Path(identity_id): Path<String>,
    form: Form,
    origin: Origin,
    identities: web::Data<Identities>,
    users: web::Data<UserStore>,
    providers: web::Data<Providers>,
    store: web::Data<ProviderStore>,
) -> Result<HttpResponse> {
    let id = id_of(&user)?;
    match identities.unlink(id, &identity_id, id, &origin).await {
        Ok(()) => Ok(see_other("/account/identities?done=unlinked")),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            list_page(&f, status, &user, &users, &providers, &store).await
        }
    }
}
