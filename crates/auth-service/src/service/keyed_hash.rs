//! Names for things that must not stand in the database as they are. What people type as a user name may be their
//! password by mistake, and addresses are few enough to be tried out; so what is stored is a hash under a secret key.

use std::sync::Arc;

use aws_lc_rs::hmac;
use secrecy::ExposeSecret as _;

use crate::config::Config;

/// Bytes of a hash that become a name: no two are ever equal by chance.
const NAME_BYTES: usize = 16;

/// Hashes under a key of its own.
#[derive(Clone, Debug)]
pub(crate) struct KeyedHash(Arc<hmac::Key>);

impl KeyedHash {
    /// Hashes for one `purpose`: those of two have nothing in common.
    pub(crate) fn new(config: &Config, purpose: &str) -> Self {
        let secret = config.jwt_refresh_secret.expose_secret().as_bytes();
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = hmac::sign(&secret, format!("flowgate {purpose} v1").as_bytes());
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())))
    }

    /// A name for these parts together.
    pub(crate) fn name(&self, parts: &[&str]) -> String {
        let tag = self.tag(parts);
        let bytes = tag.as_ref();
        hex::encode(bytes.get(..NAME_BYTES).unwrap_or(bytes))
    }

    /// A number for these parts together.
    pub(crate) fn number(&self, parts: &[&str]) -> u64 {
        let tag = self.tag(parts);
        let bytes = tag.as_ref().first_chunk().copied();
        u64::from_be_bytes(bytes.unwrap_or_default())
    }

    /// Each part is preceded by its length: no two lists of parts read alike.
    fn tag(&self, parts: &[&str]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign()
    }
}
