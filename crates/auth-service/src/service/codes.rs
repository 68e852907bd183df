//! Mailed codes of six digits: drawn, stored as keyed hashes, counted.

use std::sync::Arc;

use aws_lc_rs::hmac;
use chrono::Duration;
use common_http::Clock;
use rand::RngExt as _;
use secrecy::ExposeSecret as _;

use crate::{
    config::Config,
    domain::{
        user::UserId,
        verification::{CODES, Code, SentCodes},
    },
    error::{Error, Result},
    service::tokens::seconds,
    store::verifications::{CodeKind, Issued, TriedCode, VerificationStore},
};

/// Digits that somebody else has at the moment are drawn again. With half of all codes in use, one draw in 2^32 fails.
const DRAWS_MAX: usize = 32;

/// Mailed codes.
#[derive(Clone, Debug)]
pub(crate) struct Codes {
    store: VerificationStore,
    /// Codes are few: a plain hash of one is no secret.
    key: Arc<hmac::Key>,
    life: Duration,
    is_readable: bool,
    clock: Clock,
}

/// What became of the wish for a code.
pub(crate) enum Drawn {
    /// The only good one of its kind now.
    Code(Code),
    /// Enough were sent; or another request has just drawn one.
    TooSoon {
        /// When another may be sent.
        retry_after_secs: u64,
    },
}

impl Codes {
    /// Codes as the configuration wants them.
    pub(crate) fn new(config: &Config, store: VerificationStore) -> Self {
        let secret = hmac::Key::new(
            hmac::HMAC_SHA256,
            config.jwt_refresh_secret.expose_secret().as_bytes(),
        );
        let derived = hmac::sign(&secret, b"flowgate verification codes v1");
        Self {
            store,
            key: Arc::new(hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref())),
            life: seconds(config.verification_code_life),
            is_readable: config.testing_endpoints,
            clock: config.clock.clone(),
        }
    }

    /// How long a code is good.
    pub(crate) const fn life(&self) -> Duration {
        self.life
    }

    /// The codes as they are kept.
    pub(crate) const fn store(&self) -> &VerificationStore {
        &self.store
    }

    /// How long until another code of this kind may be sent, if that is not now.
    pub(crate) async fn wait_secs(
        &self,
        kind: CodeKind,
        user_id: UserId,
        email: &str,
    ) -> Result<Option<u64>> {
        let sent = self.store.find_sent(kind, user_id, email).await?;
        let now = self.clock.now();
        Ok(sent
            .filter(|sent| sent.next(now).is_none())
            .map(|sent| whole_secs(sent.wait(now))))
    }

    /// Replaces the open code of this kind by a new one, unless enough were sent.
    pub(crate) async fn draw(&self, kind: CodeKind, user_id: UserId, email: &str) -> Result<Drawn> {
        let now = self.clock.now();
        let before = self.store.find_sent(kind, user_id, email).await?;
        let Some(sent) = before.map_or(Some(SentCodes::first(now)), |before| before.next(now)) else {
            let wait = before.map_or(Duration::zero(), |before| before.wait(now));
            return Ok(Drawn::TooSoon {
                retry_after_secs: whole_secs(wait),
            });
        };
        for _ in 0..DRAWS_MAX {
            let code = Code::new(rand::rng().random_range(0..CODES));
            let stored = TriedCode {
                kind,
                user_id,
                email: email.to_owned(),
                code_hash: self.hash(&code),
            };
            let readable = self.is_readable.then(|| code.digits());
            let issued = self.store.issue(&stored, readable, now + self.life, before, sent);
            match issued.await? {
                Issued::Stored => return Ok(Drawn::Code(code)),
                Issued::Superseded => {
                    return Ok(Drawn::TooSoon {
                        retry_after_secs: whole_secs(sent.wait(now)),
                    });
                }
                Issued::DigitsInUse => {}
            }
        }
        Err(Error::CodesExhausted)
    }

    /// What a code is stored and looked up as.
    pub(crate) fn hash(&self, code: &Code) -> String {
        hex::encode(hmac::sign(&self.key, code.digits().as_bytes()))
    }

    /// Whether `code` is the one that was tried; compared in constant time.
    pub(crate) fn is_right(&self, code: &Code, tried: &TriedCode) -> bool {
        hex::decode(&tried.code_hash)
            .is_ok_and(|hash| hmac::verify(&self.key, code.digits().as_bytes(), &hash).is_ok())
    }
}

fn whole_secs(wait: Duration) -> u64 {
    u64::try_from(wait.num_seconds()).unwrap_or_default() + 1
}
