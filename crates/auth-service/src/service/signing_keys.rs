//! The keys that access tokens are signed and checked with, exchanged while the service runs (decision D2).

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use chrono::{DateTime, Utc};
use common_http::Metrics;
use common_jwt::{AccessClaims, JwkSet, KeyRing, SharedKeyRing, Signer, SigningKey, Verifier, VerifyingKey};
use prometheus::IntGauge;
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use crate::{config::Config, domain::signing_keys::SigningKeyFile, error::Result, key_file::PrivateKeys};

/// How often the file is read again. A new key signs long after.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The keys of this moment. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct SigningKeys {
    current: Arc<RwLock<Arc<Keys>>>,
    /// The same keys, as verifiers look them up.
    ring: SharedKeyRing,
    /// Shared secrets, which verify beside the keys of the file.
    secrets: Arc<KeyRing>,
    file: Option<PathBuf>,
    issuer: String,
    audience: String,
    file_up: IntGauge,
    published: IntGauge,
}

/// One state of the keys.
#[derive(Debug)]
enum Keys {
    /// A shared secret signs; there is nothing to publish.
    Secret(Box<Signer>),
    /// Private keys, of which one signs, and their public halves.
    Private { file: SigningKeyFile, set: JwkSet },
}

impl SigningKeys {
    /// The keys that are configured.
    pub(crate) fn new(config: &Config, metrics: &Metrics) -> anyhow::Result<Self> {
        let file_up = IntGauge::new(
            "auth_key_file_up",
            "Whether the file of signing keys could be read when last looked at.",
        )?;
        let published = IntGauge::new("auth_signing_keys_published", "Public keys in the published set.")?;
        metrics.register(file_up.clone())?;
        metrics.register(published.clone())?;
        file_up.set(1);
        let secrets = [&config.jwt_access_secret, &config.jwt_access_secret_previous];
        let secrets = secrets.into_iter().flatten();
        let secrets =
            KeyRing::new(secrets.map(|secret| VerifyingKey::hs256(secret.expose_secret().as_bytes())));
        let keys = match (&config.jwt_private_keys, &config.jwt_access_secret) {
            (Some(source), _) => Keys::private(source.load()?),
            (None, Some(secret)) => Keys::Secret(Box::new(Signer::new(SigningKey::hs256(
                secret.expose_secret().as_bytes(),
            )))),
            (None, None) => anyhow::bail!("there is no key to sign access tokens with"),
        };
        let file = match &config.jwt_private_keys {
            Some(PrivateKeys::File(path)) => Some(path.clone()),
            Some(PrivateKeys::Text(_)) | None => None,
        };
        let signing_keys = Self {
            ring: SharedKeyRing::default(),
            secrets: Arc::new(secrets),
            current: Arc::new(RwLock::new(Arc::new(keys))),
            file,
            issuer: config.jwt_issuer.clone(),
            audience: config.jwt_audience.clone(),
            file_up,
            published,
        };
        signing_keys.show(&signing_keys.current())?;
        Ok(signing_keys)
    }

    /// An access token, signed by the key whose time it is.
    pub(crate) fn sign(&self, claims: &AccessClaims, now: DateTime<Utc>) -> Result<String> {
        let token = match &*self.current() {
            Keys::Secret(signer) => signer.access(claims),
            Keys::Private { file, .. } => Signer::new(file.signing(now).key.clone()).access(claims),
        };
        Ok(token?)
    }

    /// Checks access tokens with the keys of each moment.
    pub(crate) fn verifier(&self) -> Verifier {
        Verifier::new(self.ring.clone(), &self.issuer, &self.audience)
    }

    /// The public keys: those that sign, signed, or soon will.
    pub(crate) fn published(&self) -> JwkSet {
        match &*self.current() {
            Keys::Secret(_) => JwkSet { keys: Vec::new() },
            Keys::Private { set, .. } => set.clone(),
        }
    }

    /// Takes over what the file says, until `stop`. A file that cannot be used changes nothing.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let Some(path) = self.file.clone() else {
            return;
        };
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let source = PrivateKeys::File(path.clone());
            let read = tokio::task::spawn_blocking(move || source.load()).await;
            match read
                .map_err(anyhow::Error::from)
                .flatten()
                .and_then(|file| self.take_over(file))
            {
                Ok(()) => self.file_up.set(1),
                Err(error) => {
                    if self.file_up.get() == 1 {
                        tracing::error!(
                            ?error,
                            "the file of signing keys cannot be used; going on with the old keys"
                        );
                    }
                    self.file_up.set(0);
                }
            }
        }
    }

    /// Uses these keys from now on, if they are others.
    fn take_over(&self, file: SigningKeyFile) -> anyhow::Result<()> {
        let keys = Keys::private(file);
        if keys.dates() == self.current().dates() {
            return Ok(());
        }
        // What verifies comes before what signs.
        self.show(&keys)?;
        tracing::info!(keys = ?keys.dates(), "there are other signing keys");
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }

    /// Lets verifiers know these keys.
    fn show(&self, keys: &Keys) -> anyhow::Result<()> {
        let public = match keys {
            Keys::Secret(_) => KeyRing::default(),
            Keys::Private { set, .. } => KeyRing::from_jwk_set(set)?,
        };
        self.published
            .set(i64::try_from(public.len()).unwrap_or(i64::MAX));
        self.ring.replace(self.secrets.with(&public));
        Ok(())
    }

    fn current(&self) -> Arc<Keys> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Keys {
    fn private(file: SigningKeyFile) -> Self {
        let public = file.keys().iter().filter_map(|key| key.key.public_jwk().cloned());
        let set = JwkSet {
            keys: public.collect(),
        };
        Self::Private { file, set }
    }

    /// What tells one state from another.
    fn dates(&self) -> Vec<(String, Option<DateTime<Utc>>)> {
        match self {
            Self::Secret(_) => Vec::new(),
            Self::Private { file, .. } => {
                let keys = file.keys().iter();
                keys.map(|key| (key.key.kid().to_owned(), key.signs_from))
                    .collect()
            }
        }
    }
}
