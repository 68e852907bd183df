//! Every token Flowgate knows: its claims, who signs it, and how it is checked.
//!
//! Four kinds exist and none is good for another's job: **access** (15 minutes, sent by people's clients to every
//! service), **refresh** (days, only auth-service can sign or read one), **service** (60 seconds, one service
//! calling another) and **pending** (5 minutes, a sign-in that lacks its second factor; auth-service alone). The crate is pure: no HTTP, no environment, no clock; the time is always an argument.

mod claims;
mod key_scope;
mod keys;
mod rights;
mod role;
mod signer;
mod verifier;

pub use claims::{AccessClaims, Audience, PendingClaims, RefreshClaims, ServiceClaims, TokenType};
pub use key_scope::KeyScope;
pub use keys::{KeyError, KeyRing, SharedKeyRing, SigningKey, VerifyingKey};
pub use rights::Right;
pub use role::Role;
pub use signer::{Signer, SigningError};
pub use verifier::{Invalid, LEEWAY_SECS, TOKEN_BYTES_MAX, Verifier};

/// A set of public keys as RFC 7517 writes it, for `/.well-known/jwks.json`.
pub use jsonwebtoken::jwk::JwkSet;

/// The issuer of people's tokens where `JWT_ISSUER` says nothing else.
pub const ISSUER_DEFAULT: &str = "flowgate";

/// The audience of people's tokens where `JWT_AUDIENCE` says nothing else.
pub const AUDIENCE_DEFAULT: &str = "flowgate";
