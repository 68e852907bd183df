//! Seals secrets that have to be read again, so that a copy of the database alone gives none of them away.
//!
//! AES-256-GCM under a key that is derived from the operator's. Each secret is sealed for a purpose and an owner, and opens for no
//! other: moved to another document it is worthless.

use std::{fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Salt},
    hmac,
};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

/// Before everything that is sealed in this way; another way will have another.
const VERSION: &str = "v1.";

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Not opened: sealed with another key, for another purpose, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stored secret cannot be opened; was the key changed that it was sealed with?")]
pub struct Unopened;

/// The cryptographic library refused; it does not say why.
pub use aws_lc_rs::error::Unspecified as SealingFailed;

/// Seals and opens.
#[derive(Clone)]
pub struct Sealing {
    key: Arc<RandomizedNonceKey>,
    hashing: Arc<hmac::Key>,
}

/// The length that HKDF is asked for.
struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

impl Sealing {
    /// Seals with keys derived from `secret` (HKDF, RFC 5869).
    pub fn new(secret: &SecretString) -> Result<Self, Unspecified> {
        let material =
            Salt::new(HKDF_SHA256, b"flowgate sealing v1").extract(secret.expose_secret().as_bytes());
        let derive = |purpose: &[u8]| {
            let mut key = [0; KEY_BYTES];
            material.expand(&[purpose], Length)?.fill(&mut key)?;
            Ok::<_, Unspecified>(key)
        };
        Ok(Self {
            key: Arc::new(RandomizedNonceKey::new(&AES_256_GCM, &derive(b"encrypt")?)?),
            hashing: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &derive(b"hash")?)),
        })
    }

    /// `secret` as text to be stored. `context` says what it is and whose.
    pub fn seal(&self, context: &str, secret: &[u8]) -> Result<String, Unspecified> {
        let mut bytes = secret.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut bytes)?;
        Ok(format!(
            "{VERSION}{}{}",
            hex::encode(nonce.as_ref()),
            hex::encode(bytes)
        ))
    }

    /// The secret behind what [`Sealing::seal`] gave for the same `context`.
    pub fn open(&self, context: &str, sealed: &str) -> Result<SecretSlice<u8>, Unopened> {
        let bytes = sealed
            .strip_prefix(VERSION)
            .and_then(|text| hex::decode(text).ok());
        let bytes = bytes.ok_or(Unopened)?;
        let (nonce, rest) = bytes.split_first_chunk::<NONCE_LEN>().ok_or(Unopened)?;
        let mut rest = rest.to_vec();
        let secret = self
            .key
            .open_in_place(Nonce::from(nonce), Aad::from(context.as_bytes()), &mut rest)
            .or(Err(Unopened))?;
        Ok(SecretSlice::from(secret.to_vec()))
    }

    /// A keyed hash, for secrets that are only compared: too short to be safe under a plain one.
    pub fn hash(&self, context: &str, secret: &str) -> String {
        let mut hash = hmac::Context::with_key(&self.hashing);
        // A byte between the two that neither holds: nothing moves from one into the other.
        for part in [context.as_bytes(), &[0], secret.as_bytes()] {
            hash.update(part);
        }
        hex::encode(hash.sign())
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealing(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealing(secret: &str) -> Sealing {
        Sealing::new(&SecretString::from(secret)).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_its_context_only() {
        let ours = sealing("a secret of the operator, long enough");
        let sealed = ours.seal("totp:ada", b"the secret").unwrap();

        assert_eq!(
            ours.open("totp:ada", &sealed).unwrap().expose_secret(),
            b"the secret"
        );
        assert_eq!(ours.open("totp:bob", &sealed).err(), Some(Unopened));
        assert_eq!(sealing("another").open("totp:ada", &sealed).err(), Some(Unopened));
        assert!(!sealed.contains(&hex::encode("the secret")));
        assert_ne!(
            ours.seal("totp:ada", b"the secret").unwrap(),
            sealed,
            "a new nonce each time"
        );
    }

    #[test]
    fn what_is_damaged_does_not_open() {
        let ours = sealing("a secret of the operator, long enough");
        let sealed = ours.seal("totp:ada", b"the secret").unwrap();
        let flipped = format!(
            "{}{}",
            &sealed[..sealed.len() - 1],
            if sealed.ends_with('0') { '1' } else { '0' }
        );
        for bad in ["", "v1.", "v2.00", "v1.zz", &flipped, &sealed[..20], &sealed[3..]] {
            assert_eq!(ours.open("totp:ada", bad).err(), Some(Unopened), "{bad}");
        }
    }

    #[test]
    fn hashes_differ_by_context_and_key() {
        let ours = sealing("one");
        assert_eq!(ours.hash("a", "x"), ours.hash("a", "x"));
        assert_ne!(ours.hash("a", "x"), ours.hash("b", "x"));
        assert_ne!(ours.hash("a", "x"), sealing("two").hash("a", "x"));
        assert_ne!(ours.hash("a", "bx"), ours.hash("ab", "x"));
    }
}
