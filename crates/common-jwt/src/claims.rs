//! The claims of each kind of token, as RFC 7519 and RFC 9068 name them.

use serde::{Deserialize, Serialize};

use crate::Role;

/// What a token is good for; the claim `type`, which clients of the documented API read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenType {
    /// Sent with each request.
    Access,
    /// Exchanged for the next pair.
    Refresh,
    /// One service calling another.
    Service,
    /// A sign-in that still lacks its second factor.
    Pending,
}

/// Whom a token is for. We write one name; a list is read, as RFC 7519 section 4.1.3 allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// The usual form.
    One(String),
    /// Also legal.
    Many(Vec<String>),
}

impl Audience {
    /// Whether `name` is among those the token is for.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::One(one) => one == name,
            Self::Many(many) => many.iter().any(|one| one == name),
        }
    }
}

impl From<&str> for Audience {
    fn from(name: &str) -> Self {
        Self::One(name.to_owned())
    }
}

/// Who somebody is, for the length of one access token. Times are whole seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// Who issued the token.
    pub iss: String,
    /// Whom it is for.
    pub aud: Audience,
    /// The user id: 24 hex digits.
    pub sub: String,
    /// The session (one sign-in on one device); what revocation names.
    pub sid: String,
    /// This token's own id.
    pub jti: String,
    /// Issued at.
    pub iat: i64,
    /// Not good before.
    pub nbf: i64,
    /// Not good after.
    pub exp: i64,
    /// Always [`TokenType::Access`].
    #[serde(rename = "type")]
    pub kind: TokenType,
    /// The name the user signs in with.
    pub username: String,
    /// The user's address, lower case.
    pub email: String,
    /// What the user may administer.
    pub role: Role,
    /// Whether the user has to choose another password before anything else; the claim is there only then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_change_password: bool,
}

/// The right to continue one session. Carries nothing about the person: claims are read anew at each refresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshClaims {
    /// Who issued the token.
    pub iss: String,
    /// Whom it is for.
    pub aud: Audience,
    /// The user id.
    pub sub: String,
    /// The session it continues.
    pub sid: String,
    /// This token's own id.
    pub jti: String,
    /// Issued at.
    pub iat: i64,
    /// Not good after.
    pub exp: i64,
    /// Always [`TokenType::Refresh`].
    #[serde(rename = "type")]
    pub kind: TokenType,
}

/// The right to finish one sign-in with the second factor, and to do nothing else. No session exists yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingClaims {
    /// Who issued the token.
    pub iss: String,
    /// Whom it is for.
    pub aud: Audience,
    /// The user id.
    pub sub: String,
    /// This token's own id: by it tries are counted, and the one success.
    pub jti: String,
    /// Which of the user's passwords was right; another password makes the token worthless.
    pub password_version: i32,
    /// Issued at.
    pub iat: i64,
    /// Not good after.
    pub exp: i64,
    /// Always [`TokenType::Pending`].
    #[serde(rename = "type")]
    pub kind: TokenType,
}

/// One service calling another: `sub` calls `aud`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceClaims {
    /// The service that is called.
    pub aud: Audience,
    /// The service that calls, such as `proxy-service`.
    pub sub: String,
    /// Issued at.
    pub iat: i64,
    /// Not good after.
    pub exp: i64,
    /// Always [`TokenType::Service`].
    #[serde(rename = "type")]
    pub kind: TokenType,
}

/// What the verifier checks in every kind.
pub(crate) struct Registered<'a> {
    pub(crate) kind: TokenType,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) audience: &'a Audience,
    pub(crate) subject: &'a str,
    pub(crate) not_before: i64,
    pub(crate) expires_at: i64,
}

pub(crate) trait Claims {
    const KIND: TokenType;
    /// The JOSE header's `typ`.
    const HEADER_TYPE: &'static str;

    fn registered(&self) -> Registered<'_>;
}

impl Claims for AccessClaims {
    const KIND: TokenType = TokenType::Access;
    const HEADER_TYPE: &'static str = "at+jwt";

    fn registered(&self) -> Registered<'_> {
        Registered {
            kind: self.kind,
            issuer: Some(&self.iss),
            audience: &self.aud,
            subject: &self.sub,
            not_before: self.nbf,
            expires_at: self.exp,
        }
    }
}

impl Claims for RefreshClaims {
    const KIND: TokenType = TokenType::Refresh;
    const HEADER_TYPE: &'static str = "JWT";

    fn registered(&self) -> Registered<'_> {
        Registered {
            kind: self.kind,
            issuer: Some(&self.iss),
            audience: &self.aud,
            subject: &self.sub,
            not_before: self.iat,
            expires_at: self.exp,
        }
    }
}

impl Claims for PendingClaims {
    const KIND: TokenType = TokenType::Pending;
    const HEADER_TYPE: &'static str = "pending+jwt";

    fn registered(&self) -> Registered<'_> {
        Registered {
            kind: self.kind,
            issuer: Some(&self.iss),
            audience: &self.aud,
            subject: &self.sub,
            not_before: self.iat,
            expires_at: self.exp,
        }
    }
}

impl Claims for ServiceClaims {
    const KIND: TokenType = TokenType::Service;
    const HEADER_TYPE: &'static str = "JWT";

    fn registered(&self) -> Registered<'_> {
        Registered {
            kind: self.kind,
            issuer: None,
            audience: &self.aud,
            subject: &self.sub,
            not_before: self.iat,
            expires_at: self.exp,
        }
    }
}
