//! The token by which a workflow knows that a message comes from us, just now: n8n's own check of tokens looks at neither
//! audience nor use, so the workflow is to look at `aud`, `type` and `jti`.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, errors::Error};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use uuid::Uuid;

use super::message::N8nMessage;

/// Whom the token is for. No token of ours for people or services has this audience.
const AUDIENCE: &str = "n8n";

/// What it is good for.
const TYPE: &str = "n8n_chat";

/// Signs one token for each try of each message (HS256).
#[derive(Clone)]
pub(super) struct TokenSigner {
    key: EncodingKey,
    life: Duration,
}

impl TokenSigner {
    pub(super) fn new(secret: &SecretString, life: Duration) -> Self {
        Self {
            key: EncodingKey::from_secret(secret.expose_secret().as_bytes()),
            life,
        }
    }

    /// Says who asks. What was said before is not in it: tokens end up in logs.
    pub(super) fn sign(&self, message: &N8nMessage<'_>, now: DateTime<Utc>) -> Result<String, Error> {
        let issued_at = now.timestamp();
        let claims = json!({
            "iss": "flowgate",
            "aud": AUDIENCE,
            "type": TYPE,
            "jti": Uuid::new_v4(),
            "iat": issued_at,
            "exp": issued_at.saturating_add_unsigned(self.life.as_secs()),
            "session_id": message.session_id,
            "origin_domain": message.origin_domain,
            "page_url": message.page_url,
            "client_ip": message.client_ip,
            "user_agent": message.user_agent,
            "timestamp": issued_at,
            "session_metadata": { "message_count": message.message_count },
        });
        encode(&Header::new(Algorithm::HS256), &claims, &self.key)
    }
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner")
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}
