//! Writes tokens.

use jsonwebtoken::{Header, encode};
use serde::Serialize;

use crate::{
    claims::{AccessClaims, Claims, PendingClaims, RefreshClaims, ServiceClaims},
    keys::SigningKey,
};

/// The library could not write a token; the key is not of its algorithm.
#[derive(Debug, thiserror::Error)]
#[error("the token could not be signed")]
pub struct SigningError(#[from] jsonwebtoken::errors::Error);

/// Signs with one key. Several may verify, one signs.
#[derive(Clone, Debug)]
pub struct Signer {
    key: SigningKey,
}

impl Signer {
    /// Signs with `key` from now on.
    pub fn new(key: SigningKey) -> Self {
        Self { key }
    }

    /// An access token (`typ: at+jwt`, RFC 9068).
    pub fn access(&self, claims: &AccessClaims) -> Result<String, SigningError> {
        self.sign(claims)
    }

    /// A refresh token. The same claims give the same bytes, which is how a repeated refresh gets the same successor.
    pub fn refresh(&self, claims: &RefreshClaims) -> Result<String, SigningError> {
        self.sign(claims)
    }

    /// A service token.
    pub fn service(&self, claims: &ServiceClaims) -> Result<String, SigningError> {
        self.sign(claims)
    }

    /// A token of a sign-in that lacks its second factor.
    pub fn pending(&self, claims: &PendingClaims) -> Result<String, SigningError> {
        self.sign(claims)
    }

    fn sign<C: Claims + Serialize>(&self, claims: &C) -> Result<String, SigningError> {
        let mut header = Header::new(self.key.algorithm);
        header.typ = Some(C::HEADER_TYPE.to_owned());
        header.kid = Some(self.key.kid.clone());
        Ok(encode(&header, claims, &self.key.encoding)?)
    }
}
