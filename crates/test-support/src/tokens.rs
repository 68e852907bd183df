//! Tokens of every kind, as auth-service and the services mint them.

use chrono::{DateTime, Duration, Utc};
use common_jwt::{
    AUDIENCE_DEFAULT, AccessClaims, ISSUER_DEFAULT, Role, ServiceClaims, Signer, SigningKey, TokenType,
};
use uuid::Uuid;

/// What access tokens are signed with in tests.
pub const ACCESS_SECRET: &str = "access-3f9c1b7de24a58069bd1c7ef035a";
/// What refresh tokens are signed with in tests.
pub const REFRESH_SECRET: &str = "refresh-8a02d4f6b1c97e35d80f6a2bc41e";
/// What service tokens are signed with in tests.
pub const SERVICE_SECRET: &str = "service-d51e7c09fa3b2846c7e1095bd82f";

/// Somebody a test acts as.
#[derive(Clone, Debug)]
pub struct Person {
    /// 24 hex digits.
    pub id: String,
    /// The name.
    pub username: String,
    /// The address.
    pub email: String,
    /// The role.
    pub role: Role,
    /// The session, for revoking it.
    pub session_id: String,
}

impl Person {
    /// A new person with this name and role.
    pub fn new(username: &str, role: Role) -> Self {
        let id: String = Uuid::new_v4().simple().to_string().chars().take(24).collect();
        Self {
            id,
            username: username.to_owned(),
            email: format!("{username}@example.com"),
            role,
            session_id: Uuid::new_v4().to_string(),
        }
    }
}

/// Mints tokens with the test secrets.
#[derive(Clone, Debug)]
pub struct TestTokens {
    access: Signer,
    service: Signer,
    now: DateTime<Utc>,
}

impl TestTokens {
    /// Tokens issued at `now`.
    pub fn at(now: DateTime<Utc>) -> Self {
        let signer = |secret: &str| Signer::new(SigningKey::hs256(secret.as_bytes()));
        Self {
            access: signer(ACCESS_SECRET),
            service: signer(SERVICE_SECRET),
            now,
        }
    }

    /// The claims of a 15-minute access token, to be bent by a test.
    pub fn access_claims(&self, person: &Person) -> AccessClaims {
        let now = self.now.timestamp();
        AccessClaims {
            iss: ISSUER_DEFAULT.to_owned(),
            aud: AUDIENCE_DEFAULT.into(),
            sub: person.id.clone(),
            sid: person.session_id.clone(),
            jti: Uuid::new_v4().to_string(),
            iat: now,
            nbf: now,
            exp: now + Duration::minutes(15).num_seconds(),
            kind: TokenType::Access,
            username: person.username.clone(),
            email: person.email.clone(),
            role: person.role,
            must_change_password: false,
        }
    }

    /// An access token.
    pub fn access(&self, person: &Person) -> String {
        self.sign(&self.access_claims(person))
    }

    /// An access token of bent claims, with a good signature.
    pub fn sign(&self, claims: &AccessClaims) -> String {
        self.access.access(claims).expect("claims can be signed")
    }

    /// A service token: `caller` calls `audience`.
    pub fn service(&self, caller: &str, audience: &str) -> String {
        let now = self.now.timestamp();
        let claims = ServiceClaims {
            aud: audience.into(),
            sub: caller.to_owned(),
            iat: now,
            exp: now + 60,
            kind: TokenType::Service,
        };
        self.service.service(&claims).expect("claims can be signed")
    }
}
