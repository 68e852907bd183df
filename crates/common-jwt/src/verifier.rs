//! Reads tokens: signature, kind, issuer, audience and times, in that order, and trusts nothing before.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::Algorithm;
use serde::{Deserialize, de::DeserializeOwned, de::IgnoredAny};

use crate::{
    claims::{AccessClaims, Claims, PendingClaims, RefreshClaims, ServiceClaims},
    keys::{KID_BYTES_MAX, KeyRing, SharedKeyRing, is_plausible_kid},
};

/// How far two services' clocks may be apart.
pub const LEEWAY_SECS: i64 = 30;

/// Longer than any token of ours by a factor of five; more is refused unread.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// Why a token is refused. For logs; the caller is told only that it is not valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Too long, not three parts, not base64, not JSON, or claims missing or of a wrong type.
    #[error("the token is malformed")]
    Malformed,
    /// The header asks for something we do not do (`crit`, `b64`, encryption).
    #[error("the token's header is not supported")]
    UnsupportedHeader,
    /// No key of that `kid` and algorithm.
    #[error("the token names no key of ours")]
    UnknownKey,
    /// The `kid` may be that of a published key we have not heard of yet: worth a look, if one is allowed now.
    #[error("the token names a key that is not known yet")]
    UnknownKid,
    /// No published key has been fetched yet, so the token can be neither trusted nor refused. The verifier itself never
    /// says this; whoever fetches the keys does.
    #[error("there are no keys yet to check the token with")]
    NoKeys,
    /// The signature is not ours.
    #[error("the token's signature is wrong")]
    Signature,
    /// A refresh token as an access token, say.
    #[error("the token is of another kind")]
    Kind,
    /// Another issuer.
    #[error("the token is of another issuer")]
    Issuer,
    /// Not for us.
    #[error("the token is for another audience")]
    Audience,
    /// `nbf` lies ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `exp` has passed.
    #[error("the token has expired")]
    Expired,
}

/// Checks tokens of one issuer for one audience.
#[derive(Clone, Debug)]
pub struct Verifier {
    ring: SharedKeyRing,
    /// `None` where the token has no issuer of its own (service tokens).
    issuer: Option<String>,
    audience: String,
}

/// The header's members that decide anything; the rest (`jku`, `x5u`, `jwk` ...) is never read.
#[derive(Deserialize)]
struct Header<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow)]
    kid: Option<Cow<'a, str>>,
    crit: Option<IgnoredAny>,
    b64: Option<IgnoredAny>,
    enc: Option<IgnoredAny>,
}

impl Verifier {
    /// Checks people's tokens: access or refresh.
    pub fn new(ring: impl Into<SharedKeyRing>, issuer: &str, audience: &str) -> Self {
        Self {
            ring: ring.into(),
            issuer: Some(issuer.to_owned()),
            audience: audience.to_owned(),
        }
    }

    /// Checks service tokens addressed to `audience`, the name of the service that checks.
    pub fn for_services(ring: impl Into<SharedKeyRing>, audience: &str) -> Self {
        Self {
            ring: ring.into(),
            issuer: None,
            audience: audience.to_owned(),
        }
    }

    /// The claims of a valid access token.
    pub fn access(&self, token: &str, now: DateTime<Utc>) -> Result<AccessClaims, Invalid> {
        self.verify(token, now)
    }

    /// The claims of a valid refresh token.
    pub fn refresh(&self, token: &str, now: DateTime<Utc>) -> Result<RefreshClaims, Invalid> {
        self.verify(token, now)
    }

    /// The claims of a valid service token.
    pub fn service(&self, token: &str, now: DateTime<Utc>) -> Result<ServiceClaims, Invalid> {
        self.verify(token, now)
    }

    /// The claims of a valid token of a sign-in that lacks its second factor.
    pub fn pending(&self, token: &str, now: DateTime<Utc>) -> Result<PendingClaims, Invalid> {
        self.verify(token, now)
    }

    fn verify<C: Claims + DeserializeOwned>(&self, token: &str, now: DateTime<Utc>) -> Result<C, Invalid> {
        let claims: C = self.signed(token)?;
        let registered = claims.registered();
        if registered.kind != C::KIND {
            return Err(Invalid::Kind);
        }
        if self.issuer.is_some() && registered.issuer != self.issuer.as_deref() {
            return Err(Invalid::Issuer);
        }
        if !registered.audience.contains(&self.audience) {
            return Err(Invalid::Audience);
        }
        if registered.subject.is_empty() {
            return Err(Invalid::Malformed);
        }
        let now = now.timestamp();
        if registered.not_before > now.saturating_add(LEEWAY_SECS) {
            return Err(Invalid::NotYetValid);
        }
        if registered.expires_at.saturating_add(LEEWAY_SECS) < now {
            return Err(Invalid::Expired);
        }
        Ok(claims)
    }

    /// The claims behind a signature of ours. The library's `decode` would read header and claims twice each, and the
    /// system's clock for the times.
    fn signed<C: DeserializeOwned>(&self, token: &str) -> Result<C, Invalid> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Invalid::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(Invalid::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(Invalid::Malformed)?;
        if payload.contains('.') {
            return Err(Invalid::Malformed);
        }
        let json = URL_SAFE_NO_PAD.decode(header).or(Err(Invalid::Malformed))?;
        let header: Header<'_> = serde_json::from_slice(&json).or(Err(Invalid::Malformed))?;
        if header.crit.is_some() || header.b64.is_some() || header.enc.is_some() {
            return Err(Invalid::UnsupportedHeader);
        }
        if header.kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
            return Err(Invalid::UnknownKey);
        }
        check_signature(&self.ring.current(), &header, message, signature)?;
        let json = URL_SAFE_NO_PAD.decode(payload).or(Err(Invalid::Malformed))?;
        serde_json::from_slice(&json).or(Err(Invalid::Malformed))
    }
}

/// Tries the keys that the header allows, each with the one algorithm it has.
fn check_signature(
    ring: &KeyRing,
    header: &Header<'_>,
    message: &str,
    signature: &str,
) -> Result<(), Invalid> {
    let signature = URL_SAFE_NO_PAD.decode(signature).or(Err(Invalid::Malformed))?;
    let mut was_tried = false;
    for key in ring
        .candidates(header.kid.as_deref())
        .filter(|key| algorithm_name(key.algorithm) == header.alg)
    {
        if key.has_signed(message.as_bytes(), &signature) {
            return Ok(());
        }
        was_tried = true;
    }
    Err(if was_tried {
        Invalid::Signature
    } else {
        unknown(header, ring)
    })
}

/// As RFC 7518 section 3.1 and RFC 8037 write the two algorithms we have keys for.
fn algorithm_name(algorithm: Algorithm) -> &'static str {
    if algorithm == Algorithm::HS256 {
        "HS256"
    } else {
        "EdDSA"
    }
}

/// Why no key was tried. Shared secrets are configured, never fetched, so only the other algorithm is worth a look.
fn unknown(header: &Header<'_>, ring: &KeyRing) -> Invalid {
    let kid = header.kid.as_deref().unwrap_or_default();
    if header.alg == algorithm_name(Algorithm::EdDSA) && is_plausible_kid(kid) && !ring.knows(kid) {
        Invalid::UnknownKid
    } else {
        Invalid::UnknownKey
    }
}

#[cfg(test)]
mod tests;
