//! API keys: what programs send in the place of an access token, and what auth-service says about one.
//!
//! A key is `fg-` and 256 random bits. Services ask auth-service by the key's SHA-256; the key itself goes no further
//! than the service that it was sent to.

use common_jwt::{KeyScope, Role};
use serde::{Deserialize, Serialize};

/// What every key begins with, and no token does.
pub const API_KEY_BEGINNING: &str = "fg-";

/// What a key is good for, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeyGrant {
    /// The key's id; no secret.
    pub id: String,
    /// What the feed of revocations calls the key as it stands now, in the place of a session.
    pub sid: String,
    /// Whose it is: 24 hex digits.
    pub user_id: String,
    /// The owner's name.
    pub username: String,
    /// The owner's address.
    pub email: String,
    /// The role that the key has: the owner's with the scope `admin`, else `enduser`.
    pub role: Role,
    /// What it may be used for.
    pub scopes: Vec<KeyScope>,
    /// The chatflows it may be used with; all of the owner's when `None`.
    pub chatflows: Option<Vec<String>>,
    /// The credits that may be spent with it in all; as many as the owner has when `None`.
    pub credit_cap: Option<i64>,
    /// Requests a minute; as many as the owner may send when `None`.
    pub rate: Option<u32>,
    /// Not good from then on, in seconds since 1970.
    pub expires_at: Option<i64>,
}

impl ApiKeyGrant {
    /// Whether the key may be used where one of these scopes is needed.
    pub fn has_any(&self, scopes: &[KeyScope]) -> bool {
        self.scopes.iter().any(|scope| scopes.contains(scope))
    }

    /// Whether the key may be used with this chatflow.
    pub fn allows_chatflow(&self, chatflow_id: &str) -> bool {
        self.chatflows
            .as_ref()
            .is_none_or(|allowed| allowed.iter().any(|one| one == chatflow_id))
    }
}

/// The answer of `POST /internal/api-keys/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKeyVerification {
    /// The key's grant; `None` when the key is good for nothing: unknown, revoked, expired, or its owner shut out.
    pub key: Option<ApiKeyGrant>,
}
