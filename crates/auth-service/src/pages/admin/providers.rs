//! Providers that people can sign in with.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use common_http::{CurrentUser, Path};

use crate::{
    domain::{origin::Origin, provider::Provider},
    error::{Error, FederationError, Result},
    pages::{
        door::see_other,
        forms::Form,
        frame::{Frame, id_of},
    },
    service::{
        federation::Federation,
        providers::{ProviderEdit, Providers},
    },
};

#[derive(Template)]
#[template(path = "admin/providers.html")]
struct ListPage<'a> {
    f: &'a Frame,
    providers: Vec<(Provider, u64)>,
}

#[derive(Template)]
#[template(path = "admin/provider.html")]
struct ProviderPage<'a> {
    f: &'a Frame,
    provider: Option<Known>,
}

/// One that there is.
struct Known {
    provider: Provider,
    connected: u64,
    callback: String,
}

impl Known {
    fn authorize_url(&self) -> &str {
        self.provider.authorize_url.as_ref().map_or("", url::Url::as_str)
    }

    fn token_url(&self) -> &str {
        self.provider.token_url.as_ref().map_or("", url::Url::as_str)
    }

    fn userinfo_url(&self) -> &str {
        self.provider.userinfo_url.as_ref().map_or("", url::Url::as_str)
    }
}

/// `GET /admin/providers`.
pub(super) async fn list(f: Frame, providers: web::Data<Providers>) -> Result<HttpResponse> {
    let providers = providers.list().await?;
    Ok(f.show(&ListPage { f: &f, providers }))
}

/// `GET /admin/providers/new`.
pub(super) async fn show_new(f: Frame) -> HttpResponse {
    f.show(&ProviderPage {
        f: &f,
        provider: None,
    })
}

/// `POST /admin/providers/new`.
pub(super) async fn create(
    f: Frame,
    admin: CurrentUser,
    form: Form,
    origin: Origin,
    providers: web::Data<Providers>,
) -> Result<HttpResponse> {
    match providers.create(edit_of(&form), id_of(&admin)?, &origin).await {
        Ok(provider) => Ok(see_other(&format!("/admin/providers/{}?done=saved", provider.id))),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            Ok(f.show_as(
                status,
                &ProviderPage {
                    f: &f,
                    provider: None,
                },
            ))
        }
    }
}

/// `GET /admin/providers/{provider_id}`.
pub(super) async fn show(
    f: Frame,
    Path(id): Path<String>,
    providers: web::Data<Providers>,
    federation: web::Data<Federation>,
) -> Result<HttpResponse> {
    provider_page(&f, StatusCode::OK, &id, &providers, &federation).await
}

async fn provider_page(
    f: &Frame,
    status: StatusCode,
    id: &str,
    providers: &Providers,
    federation: &Federation,
) -> Result<HttpResponse> {
    let all = providers.list().await?;
    let found = all.into_iter().find(|(provider, _)| provider.id == id);
    let (provider, connected) = found.ok_or(Error::Federation(FederationError::ProviderNotFound))?;
    let callback = federation.callback(&provider.name);
    let provider = Some(Known {
        provider,
        connected,
        callback,
    });
    Ok(f.show_as(status, &ProviderPage { f, provider }))
}

/// `POST /admin/providers/{provider_id}`: an empty secret leaves the one that is kept.
pub(super) async fn change(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<String>,
    form: Form,
    origin: Origin,
    providers: web::Data<Providers>,
    federation: web::Data<Federation>,
) -> Result<HttpResponse> {
    match providers
        .change(&id, edit_of(&form), id_of(&admin)?, &origin)
        .await
    {
        Ok(_) => Ok(see_other(&format!("/admin/providers/{id}?done=saved"))),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            provider_page(&f, status, &id, &providers, &federation).await
        }
    }
}

/// `POST /admin/providers/{provider_id}/delete`: not while people are connected with it.
pub(super) async fn delete(
    f: Frame,
    admin: CurrentUser,
    Path(id): Path<String>,
    form: Form,
    origin: Origin,
    providers: web::Data<Providers>,
    federation: web::Data<Federation>,
) -> Result<HttpResponse> {
    match providers.delete(&id, id_of(&admin)?, &origin).await {
        Ok(()) => Ok(see_other("/admin/providers?done=provider_deleted")),
        Err(error) => {
            let (f, status) = f.refused(&form, error)?;
            provider_page(&f, status, &id, &providers, &federation).await
        }
    }
}

fn edit_of(form: &Form) -> ProviderEdit {
    ProviderEdit {
        preset: form.given("preset"),
        name: form.given("name"),
        display_name: form.given("display_name"),
        icon: None,
        color: form.given("color"),
        kind: form.given("kind"),
        issuer: form.given("issuer"),
        client_id: form.given("client_id"),
        client_secret: form.given("client_secret").map(Into::into),
        authorize_url: form.given("authorize_url"),
        token_url: form.given("token_url"),
        userinfo_url: form.given("userinfo_url"),
        scope: form.given("scope"),
        is_active: Some(form.is_on("is_active")),
        auto_provision: Some(form.is_on("auto_provision")),
        default_role: form.given("default_role"),
        trust_email: Some(form.is_on("trust_email")),
        redirect_uris: None,
    }
}
