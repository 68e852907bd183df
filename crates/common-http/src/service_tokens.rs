//! How one of our services proves to another who it is.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use chrono::{DateTime, Utc};
use common_jwt::{ServiceClaims, Signer, SigningError, SigningKey, TokenType};
use secrecy::{ExposeSecret as _, SecretString};

/// How long a service token is good for.
const LIFETIME_SECS: i64 = 60;

/// A token is used again while at least this much of it is left.
const REUSE_SECS: i64 = 30;

/// Mints this service's tokens, one per callee at a time.
#[derive(Clone, Debug)]
pub struct ServiceTokens {
    name: &'static str,
    signer: Signer,
    minted: Arc<RwLock<HashMap<&'static str, (i64, String)>>>,
}

impl ServiceTokens {
    /// Tokens of the service `name`, signed with `SERVICE_JWT_SECRET`.
    pub fn new(name: &'static str, secret: &SecretString) -> Self {
        let signer = Signer::new(SigningKey::hs256(secret.expose_secret().as_bytes()));
        Self {
            name,
            signer,
            minted: Arc::default(),
        }
    }

    /// A token that `audience`, the service to be called, accepts.
    pub fn token(&self, audience: &'static str, now: DateTime<Utc>) -> Result<String, SigningError> {
        let now = now.timestamp();
        let minted = self.minted.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((expires_at, token)) = minted.get(audience)
            && (REUSE_SECS..=LIFETIME_SECS).contains(&(expires_at - now))
        {
            return Ok(token.clone());
        }
        drop(minted);
        let exp = now + LIFETIME_SECS;
        let claims = ServiceClaims {
            aud: audience.into(),
            sub: self.name.to_owned(),
            iat: now,
            exp,
            kind: TokenType::Service,
        };
        let token = self.signer.service(&claims)?;
        let mut minted = self.minted.write().unwrap_or_else(PoisonError::into_inner);
        minted.insert(audience, (exp, token.clone()));
        Ok(token)
    }
}
