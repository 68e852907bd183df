//! API keys: of oneself, and for administrators of others; and what our services ask about one.

use actix_web::{HttpResponse, web};
use common_http::{Access, ApiKeyVerification, Body, CurrentUser, Path, Routes, Timestamp};
use common_jwt::KeyScope;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        api_key::{ApiKey, KeyWish},
        origin::Origin,
        user::UserId,
    },
    error::{Error, Result},
    routes::bodies::Done,
    service::api_keys::ApiKeys,
};

/// The routes of this page.
pub(crate) fn routes(routes: &mut Routes<'_>) {
    routes
        .get("/api/keys", Access::User, list_own_keys)
        .post("/api/keys", Access::User, create_own_key)
        .delete("/api/keys/{key_id}", Access::User, revoke_own_key)
        .get("/api/admin/users/{user_id}/keys", Access::Admin, list_user_keys)
        .post("/api/admin/users/{user_id}/keys", Access::Admin, create_user_key)
        .delete(
            "/api/admin/users/{user_id}/keys/{key_id}",
            Access::Admin,
            revoke_user_key,
        )
        .post("/internal/api-keys/verify", Access::Service, verify_key);
}

/// `POST /api/keys`. Missing and null members mean no limit.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreateKey {
    name: String,
    scopes: Option<Vec<String>>,
    chatflows: Option<Vec<String>>,
    credit_cap: Option<i64>,
    rate: Option<i64>,
    expires_at: Option<String>,
}

/// `POST /internal/api-keys/verify`.
#[derive(Deserialize)]
pub(crate) struct VerifyKey {
    /// The SHA-256 of the key in hex.
    hash: String,
}

/// A key without its secret.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyBody<'a> {
    id: &'a str,
    name: &'a str,
    prefix: &'a str,
    scopes: &'a [KeyScope],
    chatflows: Option<&'a [String]>,
    credit_cap: Option<i64>,
    rate: Option<u32>,
    expires_at: Option<Timestamp>,
    last_used_at: Option<Timestamp>,
    created_at: Timestamp,
    created_by: String,
}

/// A key with its secret, which is told here and never again.
#[derive(Serialize)]
struct NewKeyBody<'a> {
    key: &'a str,
    #[serde(flatten)]
    body: KeyBody<'a>,
}

#[derive(Serialize)]
struct KeyList<'a> {
    keys: Vec<KeyBody<'a>>,
}

/// `POST /api/keys`: a key for the caller.
pub(crate) async fn create_own_key(
    user: CurrentUser,
    Body(body): Body<CreateKey>,
    origin: Origin,
    keys: web::Data<ApiKeys>,
) -> Result<HttpResponse> {
    let id = id_of(&user)?;
    create(&keys, id, body, id, &origin).await
}

/// `GET /api/keys`.
pub(crate) async fn list_own_keys(user: CurrentUser, keys: web::Data<ApiKeys>) -> Result<HttpResponse> {
    list(&keys, id_of(&user)?).await
}

/// `DELETE /api/keys/{key_id}`.
pub(crate) async fn revoke_own_key(
    user: CurrentUser,
    Path(key_id): Path<String>,
    origin: Origin,
    keys: web::Data<ApiKeys>,
) -> Result<HttpResponse> {
    let id = id_of(&user)?;
    revoke(&keys, &key_id, id, id, &origin).await
}

/// `POST /api/admin/users/{user_id}/keys`: a key for somebody else, or for a service account.
pub(crate) async fn create_user_key(
    admin: CurrentUser,
    Path(user_id): Path<String>,
    Body(body): Body<CreateKey>,
    origin: Origin,
    keys: web::Data<ApiKeys>,
) -> Result<HttpResponse> {
    let owner = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    create(&keys, owner, body, id_of(&admin)?, &origin).await
}

/// `GET /api/admin/users/{user_id}/keys`.
pub(crate) async fn list_user_keys(
    Path(user_id): Path<String>,
    keys: web::Data<ApiKeys>,
) -> Result<HttpResponse> {
    list(&keys, UserId::parse(&user_id).ok_or(Error::InvalidUserId)?).await
}

/// `DELETE /api/admin/users/{user_id}/keys/{key_id}`.
pub(crate) async fn revoke_user_key(
    admin: CurrentUser,
    Path((user_id, key_id)): Path<(String, String)>,
    origin: Origin,
    keys: web::Data<ApiKeys>,
) -> Result<HttpResponse> {
    let owner = UserId::parse(&user_id).ok_or(Error::InvalidUserId)?;
    revoke(&keys, &key_id, owner, id_of(&admin)?, &origin).await
}

/// `POST /internal/api-keys/verify`: what a key is good for, by its hash.
pub(crate) async fn verify_key(
    Body(body): Body<VerifyKey>,
    keys: web::Data<ApiKeys>,
) -> Result<HttpResponse> {
    let key = keys.verify(&body.hash).await?;
    Ok(HttpResponse::Ok().json(ApiKeyVerification { key }))
}

async fn create(
    keys: &ApiKeys,
    owner: UserId,
    body: CreateKey,
    actor: UserId,
    origin: &Origin,
) -> Result<HttpResponse> {
    let (key, secret) = keys.create(owner, body.into(), actor, origin).await?;
    Ok(HttpResponse::Created().json(NewKeyBody {
        key: secret.text(),
        body: KeyBody::from(&key),
    }))
}

async fn list(keys: &ApiKeys, owner: UserId) -> Result<HttpResponse> {
    let found = keys.list(owner).await?;
    Ok(HttpResponse::Ok().json(KeyList {
        keys: found.iter().map(KeyBody::from).collect(),
    }))
}

async fn revoke(
    keys: &ApiKeys,
    key_id: &str,
    owner: UserId,
    actor: UserId,
    origin: &Origin,
) -> Result<HttpResponse> {
    keys.revoke(key_id, owner, actor, origin).await?;
    Ok(HttpResponse::Ok().json(Done {
        message: "API key revoked",
    }))
}

fn id_of(user: &CurrentUser) -> Result<UserId> {
    UserId::parse(&user.id).ok_or(Error::UserNotFound)
}

impl From<CreateKey> for KeyWish {
    fn from(body: CreateKey) -> Self {
        Self {
            name: body.name,
            scopes: body.scopes,
            chatflows: body.chatflows,
            credit_cap: body.credit_cap,
            rate: body.rate,
            expires_at: body.expires_at,
        }
    }
}

impl<'a> From<&'a ApiKey> for KeyBody<'a> {
    fn from(key: &'a ApiKey) -> Self {
        Self {
            id: &key.id,
            name: &key.terms.name,
            prefix: &key.prefix,
            scopes: &key.terms.scopes,
            chatflows: key.terms.chatflows.as_deref(),
            credit_cap: key.terms.credit_cap,
            rate: key.terms.rate,
            expires_at: key.terms.expires_at.map(Timestamp),
            last_used_at: key.last_used_at.map(Timestamp),
            created_at: key.created_at.into(),
            created_by: key.created_by.to_string(),
        }
    }
}
