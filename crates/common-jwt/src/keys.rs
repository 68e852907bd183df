//! Keys: one algorithm each, found by `kid`, never chosen by what a token says of itself.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac,
    signature::{ED25519, ParsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, EncodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse, ThumbprintHash},
};

/// A `kid` longer than this names no key of ours and is not looked up.
pub(crate) const KID_BYTES_MAX: usize = 128;

/// A key that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not a PKCS#8 PEM with an Ed25519 private key.
    #[error("the private key is not an Ed25519 key in PKCS#8 PEM form")]
    PrivateKey(#[source] jsonwebtoken::errors::Error),
    /// A JWK that is not an Ed25519 public key with a `kid`.
    #[error("the key set holds a key that is not an Ed25519 public key with a kid")]
    PublicKey,
}

/// A key that signs.
#[derive(Clone)]
pub struct SigningKey {
    pub(crate) kid: String,
    pub(crate) algorithm: Algorithm,
    pub(crate) encoding: EncodingKey,
    jwk: Option<Jwk>,
}

impl SigningKey {
    /// A shared secret (HS256): the raw bytes of the text, as the documented services use it.
    pub fn hs256(secret: &[u8]) -> Self {
        Self {
            kid: secret_kid(secret),
            algorithm: Algorithm::HS256,
            encoding: EncodingKey::from_secret(secret),
            jwk: None,
        }
    }

    /// An Ed25519 private key (EdDSA) in PKCS#8 PEM form; its `kid` is the RFC 7638 thumbprint.
    pub fn ed25519_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let encoding = EncodingKey::from_ed_pem(pem).map_err(KeyError::PrivateKey)?;
        let mut jwk = Jwk::from_encoding_key(&encoding, Algorithm::EdDSA).map_err(KeyError::PrivateKey)?;
        let kid = jwk
            .thumbprint(ThumbprintHash::SHA256)
            .map_err(KeyError::PrivateKey)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self {
            kid,
            algorithm: Algorithm::EdDSA,
            encoding,
            jwk: Some(jwk),
        })
    }

    /// The name by which tokens say what signed them.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half for a key set; `None` for a shared secret, which has none.
    pub fn public_jwk(&self) -> Option<&Jwk> {
        self.jwk.as_ref()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// A key that verifies, bound to its one algorithm. It is made ready once: the library would read it anew for each token,
/// which takes longer than the rest of a verification.
#[derive(Clone)]
pub struct VerifyingKey {
    pub(crate) kid: String,
    pub(crate) algorithm: Algorithm,
    ready: Ready,
}

#[derive(Clone)]
enum Ready {
    Hs256(Box<hmac::Key>),
    Ed25519(ParsedPublicKey),
}

impl VerifyingKey {
    /// A shared secret (HS256).
    pub fn hs256(secret: &[u8]) -> Self {
        Self {
            kid: secret_kid(secret),
            algorithm: Algorithm::HS256,
            ready: Ready::Hs256(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret))),
        }
    }

    /// An Ed25519 public key out of a key set.
    pub fn ed25519_jwk(jwk: &Jwk) -> Result<Self, KeyError> {
        let AlgorithmParameters::OctetKeyPair(parameters) = &jwk.algorithm else {
            return Err(KeyError::PublicKey);
        };
        let (Some(kid), EllipticCurve::Ed25519) = (&jwk.common.key_id, &parameters.curve) else {
            return Err(KeyError::PublicKey);
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(&parameters.x)
            .or(Err(KeyError::PublicKey))?;
        let key = ParsedPublicKey::new(&ED25519, bytes).or(Err(KeyError::PublicKey))?;
        Ok(Self {
            kid: kid.clone(),
            algorithm: Algorithm::EdDSA,
            ready: Ready::Ed25519(key),
        })
    }

    /// Whether this key signed `message`; takes the same time wherever a signature differs.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.ready {
            Ready::Hs256(key) => hmac::verify(key, message, signature).is_ok(),
            Ready::Ed25519(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// The keys that may verify; while a key is being rotated there are several.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    keys: Vec<VerifyingKey>,
}

impl KeyRing {
    /// A ring of these keys.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
        }
    }

    /// The Ed25519 keys of a published set; fails when one of them is anything else.
    pub fn from_jwk_set(set: &JwkSet) -> Result<Self, KeyError> {
        set.keys
            .iter()
            .map(VerifyingKey::ed25519_jwk)
            .collect::<Result<_, _>>()
            .map(|keys| Self { keys })
    }

    /// These keys and those of `other`.
    pub fn with(&self, other: &Self) -> Self {
        Self::new(self.keys.iter().chain(&other.keys).cloned())
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a key is named `kid`.
    pub fn knows(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid == kid)
    }

    /// The keys a token naming `kid` may have been signed with: that one, or all when it names none.
    pub(crate) fn candidates(&self, kid: Option<&str>) -> impl Iterator<Item = &VerifyingKey> {
        self.keys
            .iter()
            .filter(move |key| kid.is_none_or(|kid| kid == key.kid))
    }
}

/// A key ring that can be exchanged while tokens are being checked. Clones share it; whoever looks never waits for more
/// than the exchange of a pointer.
#[derive(Clone, Debug, Default)]
pub struct SharedKeyRing {
    current: Arc<RwLock<Arc<KeyRing>>>,
}

impl SharedKeyRing {
    /// The keys of this moment.
    pub fn current(&self) -> Arc<KeyRing> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other keys from now on.
    pub fn replace(&self, ring: KeyRing) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }
}

impl From<KeyRing> for SharedKeyRing {
    fn from(ring: KeyRing) -> Self {
        Self {
            current: Arc::new(RwLock::new(Arc::new(ring))),
        }
    }
}

/// Whether `kid` could name a published key at all: short, and of the letters of base64url and the dot.
pub(crate) fn is_plausible_kid(kid: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=KID_BYTES_MAX).contains(&kid.len()) && kid.bytes().all(is_plain)
}

/// Names a secret without giving it away: 96 bits of a hash that nothing else uses.
fn secret_kid(secret: &[u8]) -> String {
    let named = [b"flowgate kid v1:".as_slice(), secret].concat();
    let hash = digest(&SHA256, &named);
    URL_SAFE_NO_PAD.encode(hash.as_ref().get(..12).unwrap_or_default())
}
