//! Tokens as the OAuth standards handle them: the keys that check them, what one is worth, giving one back.

use actix_web::{HttpResponse, http::header, web};
use common_http::FormOrJson;
use common_jwt::{Audience, Role, TokenType};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    domain::origin::Origin,
    error::Result,
    service::{
        introspection::{ActiveToken, Introspection},
        signing_keys::SigningKeys,
    },
};

/// How long the key set may be kept. A new key signs only after twice as long.
const KEYS_CACHE: &str = "public, max-age=60";

/// A token to be looked at or given back.
#[derive(Debug, Deserialize)]
pub(crate) struct TokenRequest {
    /// The token.
    token: SecretString,
    /// Checked to be a text and not needed: ours can be told apart.
    #[serde(default, rename = "token_type_hint")]
    _hint: String,
}

/// What RFC 7662 section 2.2 says of a token that is good.
#[derive(Debug, Serialize)]
struct Introspected {
    active: bool,
    sub: String,
    username: String,
    email: String,
    role: Role,
    sid: String,
    jti: String,
    iss: String,
    aud: Audience,
    iat: i64,
    nbf: i64,
    exp: i64,
    token_type: &'static str,
    #[serde(rename = "type")]
    kind: TokenType,
}

/// `GET /.well-known/jwks.json`: the public keys, none where a shared secret signs.
pub(crate) async fn list_keys(keys: web::Data<SigningKeys>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, KEYS_CACHE))
        .json(keys.published())
}

/// `POST /api/auth/introspect`: says what a token is worth, and nothing at all of one that is not good.
pub(crate) async fn introspect_token(
    FormOrJson(body): FormOrJson<TokenRequest>,
    introspection: web::Data<Introspection>,
) -> Result<HttpResponse> {
    let active = introspection
        .introspect(body.token.expose_secret().trim())
        .await?;
    Ok(active.map_or_else(
        || HttpResponse::Ok().json(json!({ "active": false })),
        |token| HttpResponse::Ok().json(Introspected::from(token)),
    ))
}

/// `POST /api/auth/revoke`: ends the session of the token. The answer does not say whether there was one.
pub(crate) async fn revoke_token(
    FormOrJson(body): FormOrJson<TokenRequest>,
    origin: Origin,
    introspection: web::Data<Introspection>,
) -> Result<HttpResponse> {
    introspection
        .revoke(body.token.expose_secret().trim(), &origin)
        .await?;
    Ok(HttpResponse::Ok().json(json!({})))
}

impl From<ActiveToken> for Introspected {
    fn from(token: ActiveToken) -> Self {
        Self {
            active: true,
            sub: token.user.id.to_string(),
            username: token.user.username,
            email: token.user.email,
            role: token.role,
            sid: token.session_id,
            jti: token.id,
            iss: token.issuer,
            aud: token.audience,
            iat: token.issued_at,
            nbf: token.not_before,
            exp: token.expires_at,
            token_type: if token.kind == TokenType::Access {
                "Bearer"
            } else {
                "refresh_token"
            },
            kind: token.kind,
        }
    }
}
