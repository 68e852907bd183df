//! Telling a repeated request from a new one.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::ids::Actor;

/// The longest key a client may choose, in bytes.
pub const KEY_BYTES_MAX: usize = 255;

/// A key that a client gave to a request, in the scope of who sent it where, with a fingerprint of what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Caller and route: other people's keys, and keys of other routes, are other keys.
    pub scope: String,
    /// What the client chose.
    pub key: String,
    /// Fingerprint of the request's meaning.
    pub fingerprint: Vec<u8>,
}

impl IdempotencyKey {
    /// The key `key` of `caller` at `route`, for a request that means `body`. The fingerprint is taken of what was
    /// understood, so white space, the order of members and members nobody reads make no difference.
    pub fn new(
        caller: &Actor,
        route: &str,
        key: String,
        body: &impl Serialize,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            scope: format!("{caller} {route}"),
            key,
            fingerprint: Sha256::digest(serde_json::to_vec(body)?).to_vec(),
        })
    }
}
