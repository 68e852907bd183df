//! The public keys of an issuer, and whether one of them has signed something.
//!
//! Each key is good for the algorithms of its kind only, and for one of those where it says so. Shared secrets are no
//! keys here, whatever a document calls them: nobody can be made to check a signature with a public key as a password.

use aws_lc_rs::{
    rsa::PublicKeyComponents,
    signature::{
        self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
        RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
        RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, UnparsedPublicKey,
        VerificationAlgorithm,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

/// More keys than any issuer publishes.
const KEYS_MAX: usize = 64;

/// An issuer's keys.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    /// The one algorithm it may be used with, where it says so.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Why no key vouches for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsigned {
    /// No key has this id and can be used with this algorithm: there may be new keys.
    UnknownKey,
    /// The signature is none of theirs.
    Wrong,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a document of keys (RFC 7517). Keys of kinds that we do not know are left out; `None` when it is no such
    /// document.
    pub fn parse(document: serde_json::Value) -> Option<Self> {
        let document: Document = serde_json::from_value(document).ok()?;
        let keys = document.keys.into_iter().take(KEYS_MAX);
        Some(Self(keys.filter_map(Key::parse).collect()))
    }

    /// Whether one of these keys has signed `message`.
    pub fn check(
        &self,
        algorithm: &str,
        key_id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Unsigned> {
        let mut result = Err(Unsigned::UnknownKey);
        for key in &self.0 {
            let is_named = key_id.is_none_or(|id| key.id.as_deref() == Some(id));
            if !is_named || !key.may_use(algorithm) {
                continue;
            }
            if key.has_signed(algorithm, message, signature) {
                return Ok(());
            }
            result = Err(Unsigned::Wrong);
        }
        result
    }
}

impl Key {
    fn parse(value: serde_json::Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
        let material = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => Material::Rsa {
                modulus: bytes(&jwk.n)?,
                exponent: bytes(&jwk.e)?,
            },
            ("EC", Some("P-256")) => Material::P256(point(&bytes(&jwk.x)?, &bytes(&jwk.y)?, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(&bytes(&jwk.x)?, &bytes(&jwk.y)?, 48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(bytes(&jwk.x)?),
            _ => return None,
        };
        Some(Self {
            id: jwk.kid,
            algorithm: jwk.alg,
            material,
        })
    }

    /// Whether the key is for this algorithm.
    fn may_use(&self, algorithm: &str) -> bool {
        let fits = match &self.material {
            Material::Rsa { .. } => rsa(algorithm).is_some(),
            Material::P256(_) => algorithm == "ES256",
            Material::P384(_) => algorithm == "ES384",
            Material::Ed25519(_) => matches!(algorithm, "EdDSA" | "Ed25519"),
        };
        fits && self.algorithm.as_deref().is_none_or(|own| own == algorithm)
    }

    fn has_signed(&self, algorithm: &str, message: &[u8], signature: &[u8]) -> bool {
        let check = |algorithm: &'static dyn VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(algorithm, key).verify(message, signature)
        };
        let checked = match &self.material {
            Material::Rsa { modulus, exponent } => match rsa(algorithm) {
                Some(parameters) => PublicKeyComponents {
                    n: modulus,
                    e: exponent,
                }
                .verify(parameters, message, signature),
                None => return false,
            },
            Material::P256(key) => check(&ECDSA_P256_SHA256_FIXED, key),
            Material::P384(key) => check(&ECDSA_P384_SHA384_FIXED, key),
            Material::Ed25519(key) => check(&ED25519, key),
        };
        checked.is_ok()
    }
}

/// What an RSA key does under this name. Keys below 2,048 bits are good for nothing.
fn rsa(algorithm: &str) -> Option<&'static RsaParameters> {
    let parameters: &signature::RsaParameters = match algorithm {
        "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &RSA_PSS_2048_8192_SHA256,
        "PS384" => &RSA_PSS_2048_8192_SHA384,
        "PS512" => &RSA_PSS_2048_8192_SHA512,
        _ => return None,
    };
    Some(parameters)
}

/// A point of a curve, uncompressed.
fn point(x: &[u8], y: &[u8], bytes: usize) -> Option<Vec<u8>> {
    (x.len() == bytes && y.len() == bytes).then(|| [&[4], x, y].concat())
}
