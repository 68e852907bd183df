//! ID tokens: what an issuer says about somebody who has just signed in there (OpenID Connect Core, section 3.1.3.7).

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};

use super::{
    identity::SUBJECT_BYTES_MAX,
    jwks::{KeySet, Unsigned},
};

/// Longer than the token of anybody with a hundred groups.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// How far our clock and the issuer's may be apart.
const LEEWAY_SECS: i64 = 30;

/// A token is checked right after it was issued; one that is older was kept by somebody.
const AGE_SECS_MAX: i64 = 600;

/// What a token must say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Who must have issued it, to the letter.
    pub issuer: &'a str,
    /// Whom it must be for: us.
    pub client_id: &'a str,
    /// The SHA-256 of what must stand in `nonce`, hex.
    pub nonce_hash: &'a str,
}

/// Why a token is refused. For logs; the caller is told only that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not three parts, not base64, not JSON, or a claim missing or of a wrong type.
    #[error("it is malformed")]
    Malformed,
    /// It asks for something that we do not do.
    #[error("its header is not supported")]
    Header,
    /// Signed with a key that we have not heard of, or with none.
    #[error("it names no key of the issuer")]
    UnknownKey,
    /// The signature is not the issuer's.
    #[error("its signature is wrong")]
    Signature,
    /// Another issuer.
    #[error("it is of another issuer")]
    Issuer,
    /// For another client.
    #[error("it is for another client")]
    Audience,
    /// Of another sign-in.
    #[error("it is of another sign-in")]
    Nonce,
    /// Expired, from the future, or kept for long.
    #[error("its time is over, or has not come")]
    Time,
}

/// The header's members that decide anything; `jku`, `jwk`, `x5c` and the like are never read.
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

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    azp: Option<String>,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    nonce: String,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// A token that was found good.
#[derive(Clone, Debug)]
pub struct IdToken {
    /// Who they are.
    pub subject: String,
    /// What else it says.
    pub claims: Map<String, Value>,
}

/// Checks signature, issuer, audience, times and nonce, in that order; nothing is believed before.
pub fn verify(
    token: &str,
    keys: &KeySet,
    expected: &Expected<'_>,
    now: DateTime<Utc>,
) -> Result<IdToken, Refused> {
    let claims = signed(token, keys)?;
    if claims.iss != expected.issuer {
        return Err(Refused::Issuer);
    }
    let is_for_us = match &claims.aud {
        Audience::One(one) => one == expected.client_id,
        // With several, the one it was issued to has to be named.
        Audience::Several(all) => {
            all.iter().any(|one| one == expected.client_id) && (all.len() == 1 || claims.azp.is_some())
        }
    };
    if !is_for_us || claims.azp.as_deref().is_some_and(|azp| azp != expected.client_id) {
        return Err(Refused::Audience);
    }
    let now = now.timestamp();
    let has_come = |time: i64| time <= now.saturating_add(LEEWAY_SECS);
    let is_in_time = claims.exp.saturating_add(LEEWAY_SECS) >= now
        && has_come(claims.iat)
        && claims.iat.saturating_add(AGE_SECS_MAX) >= now
        && claims.nbf.is_none_or(has_come);
    if !is_in_time {
        return Err(Refused::Time);
    }
    if hash_of(&claims.nonce) != expected.nonce_hash {
        return Err(Refused::Nonce);
    }
    if claims.sub.is_empty() || claims.sub.len() > SUBJECT_BYTES_MAX {
        return Err(Refused::Malformed);
    }
    Ok(IdToken {
        subject: claims.sub,
        claims: claims.others,
    })
}

fn signed(token: &str, keys: &KeySet) -> Result<Claims, Refused> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refused::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Refused::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(Refused::Malformed)?;
    if payload.contains('.') {
        return Err(Refused::Malformed);
    }
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).or(Err(Refused::Malformed));
    let json = decoded(header)?;
    let header: Header<'_> = serde_json::from_slice(&json).or(Err(Refused::Malformed))?;
    if header.crit.is_some() || header.b64.is_some() || header.enc.is_some() {
        return Err(Refused::Header);
    }
    let checked = keys.check(
        &header.alg,
        header.kid.as_deref(),
        message.as_bytes(),
        &decoded(signature)?,
    );
    checked.map_err(|unsigned| match unsigned {
        Unsigned::UnknownKey => Refused::UnknownKey,
        Unsigned::Wrong => Refused::Signature,
    })?;
    serde_json::from_slice(&decoded(payload)?).or(Err(Refused::Malformed))
}

/// The hash under which nonces are kept.
pub fn hash_of(nonce: &str) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, nonce.as_bytes());
    hex::encode(hash)
}

#[cfg(test)]
mod tests;
