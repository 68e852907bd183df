//! Providers, and the identities of others: what administrators see and change.

use actix_web::{HttpResponse, web};
use common_http::{Body, CurrentUser, Path, Timestamp};
use common_jwt::Role;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::bodies::LinkedAccount;
use crate::{
    domain::{origin::Origin, provider::Provider, user::UserId},
    error::{Error, Result},
    routes::bodies::Done,
    service::{
        federation::Federation,
        identities::Identities,
        providers::{HIDDEN_SECRET, ProviderEdit, Providers},
    },
    store::{providers::ProviderStore, users::UserStore},
};

/// `POST` and `PUT /api/v1/admin/oauth-providers`. Missing, null and empty members leave things as they are.
#[derive(Deserialize)]
pub(crate) struct ProviderSettings {
    preset: Option<String>,
    name: Option<String>,
    display_name: Option<String>,
    icon: Option<String>,
    color: Option<String>,
    kind: Option<String>,
    issuer: Option<String>,
    client_id: Option<String>,
    client_secret: Option<SecretString>,
    authorize_url: Option<String>,
    token_url: Option<String>,
    userinfo_url: Option<String>,
    scope: Option<String>,
    is_active: Option<bool>,
    auto_provision: Option<bool>,
    default_role: Option<String>,
    trust_email: Option<bool>,
    redirect_uris: Option<Vec<String>>,
}

/// A provider as administrators see it: whole, but for the secret.
#[derive(Serialize)]
struct ProviderBody {
    id: String,
    name: String,
    display_name: String,
    icon: String,
    color: String,
    kind: &'static str,
    issuer: String,
    client_id: String,
    client_secret: &'static str,
    authorize_url: Option<String>,
    token_url: Option<String>,
    userinfo_url: Option<String>,
    scope: String,
    is_active: bool,
    auto_provision: bool,
    default_role: Role,
    trust_email: bool,
    redirect_uris: Vec<String>,
    /// What has to be registered at the provider.
    callback_url: String,
    connected_users: u64,
    created_at: Timestamp,
    updated_at: Timestamp,
}

#[derive(Serialize)]
struct ProviderListBody {
    providers: Vec<ProviderBody>,
}

#[derive(Serialize)]
struct ProviderEnvelope {
    message: &'static str,
    provider: ProviderBody,
}

#[derive(Serialize)]
struct IdentitiesOf {
    user_id: String,
    username: String,
    oauth_accounts: Vec<LinkedAccount>,
}

/// `GET /api/v1/admin/oauth-providers`.
pub(crate) async fn list_providers(
    providers: web::Data<Providers>,
    federation: web::Data<Federation>,
) -> Result<HttpResponse> {
    let listed = providers.list().await?;
    let bodies = listed
        .into_iter()
        .map(|(provider, connected)| body_of(provider, connected, &federation));
    Ok(HttpResponse::Ok().json(ProviderListBody {
        providers: bodies.collect(),
    }))
}

/// `POST /api/v1/admin/oauth-providers`.
pub(crate) async fn create_provider(
    admin: CurrentUser,
    Body(body): Body<ProviderSettings>,
    origin: Origin,
    providers: web::Data<Providers>,
    federation: web::Data<Federation>,
) -> Result<HttpResponse> {
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    let provider = providers.create(body.into(), actor, &origin).await?;
    Ok(HttpResponse::Created().json(ProviderEnvelope {
        message: "OAuth provider created successfully",
        provider: body_of(provider, 0, &federation),
    }))
}

/// `PUT /api/v1/admin/oauth-providers/{provider_id}`: an empty secret keeps the one there is.
pub(crate) async fn update_provider(
    admin: CurrentUser,
    Path(provider_id): Path<String>,
    Body(body): Body<ProviderSettings>,
    origin: Origin,
    providers: web::Data<Providers>,
    users: web::Data<UserStore>,
    federation: web::Data<Federation>,
) -> Result<HttpResponse> {
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    let provider = providers
        .change(&provider_id, body.into(), actor, &origin)
        .await?;
    let connected = users.count_connected(&provider.id).await?;
    Ok(HttpResponse::Ok().json(ProviderEnvelope {
        message: "OAuth provider updated successfully",
        provider: body_of(provider, connected, &federation),
    }))
}

/// `DELETE /api/v1/admin/oauth-providers/{provider_id}`: only while nobody is connected.
pub(crate) async fn delete_provider(
    admin: CurrentUser,
    Path(provider_id): Path<String>,
    origin: Origin,
    providers: web::Data<Providers>,
) -> Result<HttpResponse> {
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    providers.delete(&provider_id, actor, &origin).await?;
    Ok(HttpResponse::Ok().json(Done {
        message: "OAuth provider deleted successfully",
    }))
}

/// `GET /api/v1/users/{user_id}/oauth-accounts`.
pub(crate) async fn list_identities(
    Path(user_id): Path<String>,
    users: web::Data<UserStore>,
    providers: web::Data<ProviderStore>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    let user = users.find(id).await?.ok_or(Error::UserNotFound)?;
    let names = providers.list_names().await?;
    Ok(HttpResponse::Ok().json(IdentitiesOf {
        user_id: user.id.to_string(),
        oauth_accounts: LinkedAccount::all(&user, &names),
        username: user.username,
    }))
}

/// `DELETE /api/v1/users/{user_id}/oauth-accounts/{identity_id}`: the last way in stays, for admins too.
pub(crate) async fn unlink_identity(
    admin: CurrentUser,
    Path((user_id, identity_id)): Path<(String, String)>,
    origin: Origin,
    identities: web::Data<Identities>,
) -> Result<HttpResponse> {
    let id = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    let actor = UserId::parse(&admin.id).ok_or(Error::UserNotFound)?;
    identities.unlink(id, &identity_id, actor, &origin).await?;
    Ok(HttpResponse::Ok().json(Done {
        message: "OAuth account removed successfully",
    }))
}

fn body_of(provider: Provider, connected_users: u64, federation: &Federation) -> ProviderBody {
    ProviderBody {
        callback_url: federation.callback(&provider.name),
        id: provider.id,
        name: provider.name,
        display_name: provider.display_name,
        icon: provider.icon,
        color: provider.color,
        kind: provider.kind.as_str(),
        issuer: provider.issuer,
        client_id: provider.client_id,
        client_secret: HIDDEN_SECRET,
        authorize_url: provider.authorize_url.map(Into::into),
        token_url: provider.token_url.map(Into::into),
        userinfo_url: provider.userinfo_url.map(Into::into),
        scope: provider.scope,
        is_active: provider.is_active,
        auto_provision: provider.auto_provision,
        default_role: provider.default_role,
        trust_email: provider.trust_email,
        redirect_uris: provider.redirect_uris,
        connected_users,
        created_at: provider.created_at.into(),
        updated_at: provider.updated_at.into(),
    }
}

impl From<ProviderSettings> for ProviderEdit {
    fn from(body: ProviderSettings) -> Self {
        Self {
            preset: body.preset,
            name: body.name,
            display_name: body.display_name,
            icon: body.icon,
            color: body.color,
            kind: body.kind,
            issuer: body.issuer,
            client_id: body.client_id,
            client_secret: body.client_secret,
            authorize_url: body.authorize_url,
            token_url: body.token_url,
            userinfo_url: body.userinfo_url,
            scope: body.scope,
            is_active: body.is_active,
            auto_provision: body.auto_provision,
            default_role: body.default_role,
            trust_email: body.trust_email,
            redirect_uris: body.redirect_uris,
        }
    }
}
