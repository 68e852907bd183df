//! Writes and reads the two tokens people hold.

use aws_lc_rs::digest::{SHA256, digest};
use chrono::{DateTime, Duration, Utc};
use common_jwt::{
    AccessClaims, KeyRing, RefreshClaims, Signer, SigningKey, TokenType, Verifier, VerifyingKey,
};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::{
    config::Config,
    domain::{
        session::{RefreshGrant, Session},
        user::{User, UserId},
    },
    error::{Error, Result},
    service::signing_keys::SigningKeys,
};

/// Signs access and refresh tokens.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    access: SigningKeys,
    refresh: Signer,
    refresh_verifier: Verifier,
    issuer: String,
    audience: String,
    access_life: Duration,
    refresh_life: Duration,
}

impl Tokens {
    /// Tokens as the configuration wants them; `access` signs access tokens.
    pub(crate) fn new(config: &Config, access: SigningKeys) -> Self {
        let refresh = config.jwt_refresh_secret.expose_secret().as_bytes();
        let ring = KeyRing::new([VerifyingKey::hs256(refresh)]);
        Self {
            access,
            refresh: Signer::new(SigningKey::hs256(refresh)),
            refresh_verifier: Verifier::new(ring, &config.jwt_issuer, &config.jwt_audience),
            issuer: config.jwt_issuer.clone(),
            audience: config.jwt_audience.clone(),
            access_life: seconds(config.access_life),
            refresh_life: seconds(config.refresh_life),
        }
    }

    /// An access token: who the user is now. It does not outlive the session.
    pub(crate) fn access(&self, user: &User, session: &Session, now: DateTime<Utc>) -> Result<String> {
        let expires_at = (now + self.access_life).min(session.ends_at);
        let claims = AccessClaims {
            iss: self.issuer.clone(),
            aud: self.audience.as_str().into(),
            sub: user.id.to_string(),
            sid: session.id.clone(),
            jti: Uuid::new_v4().to_string(),
            iat: now.timestamp(),
            nbf: now.timestamp(),
            exp: expires_at.timestamp(),
            kind: TokenType::Access,
            username: user.username.clone(),
            email: user.email.clone(),
            role: user.role,
            must_change_password: user.must_change_password,
        };
        self.access.sign(&claims, now)
    }

    /// The claims of a new refresh token for a session that ends at `ends_at`.
    pub(crate) fn grant(&self, ends_at: DateTime<Utc>, now: DateTime<Utc>) -> RefreshGrant {
        RefreshGrant {
            jti: Uuid::new_v4().to_string(),
            issued_at: whole_seconds(now),
            expires_at: whole_seconds((now + self.refresh_life).min(ends_at)),
        }
    }

    /// The refresh token of these claims: the same bytes each time.
    pub(crate) fn refresh(&self, session_id: &str, user_id: UserId, grant: &RefreshGrant) -> Result<String> {
        let claims = RefreshClaims {
            iss: self.issuer.clone(),
            aud: self.audience.as_str().into(),
            sub: user_id.to_string(),
            sid: session_id.to_owned(),
            jti: grant.jti.clone(),
            iat: grant.issued_at.timestamp(),
            exp: grant.expires_at.timestamp(),
            kind: TokenType::Refresh,
        };
        Ok(self.refresh.refresh(&claims)?)
    }

    /// The claims of a refresh token we signed and that has not expired.
    pub(crate) fn read_refresh(&self, token: &str, now: DateTime<Utc>) -> Result<RefreshClaims> {
        self.refresh_verifier.refresh(token, now).map_err(|reason| {
            tracing::debug!(%reason, "refresh token refused");
            Error::RefreshRefused
        })
    }
}

/// How refresh tokens are stored and compared.
pub(crate) fn hash_of(token: &str) -> String {
    hex::encode(digest(&SHA256, token.as_bytes()))
}

/// A configured length as the calendar counts; configuration keeps it far below what could overflow.
pub(crate) fn seconds(length: std::time::Duration) -> Duration {
    Duration::seconds(i64::try_from(length.as_secs()).unwrap_or(i64::MAX / 1_000))
}

fn whole_seconds(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(time)
}
