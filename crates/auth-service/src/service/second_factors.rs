//! The second factor: setting it up, proving it, giving it back.

use std::sync::Arc;

use common_http::Clock;
use qrcode::{EcLevel, QrCode, render::svg};
use rand::RngExt as _;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use url::Url;

use crate::{
    config::Config,
    domain::{
        origin::Origin,
        second_factor::{
            FREE_GUESSES, Guesses, Proof, RECOVERY_CODES, SECRET_BYTES, SETUP_LIFE, for_the_app,
            matching_step, recovery_code, typed_recovery_code,
        },
        user::{User, UserId},
    },
    error::{Error, Result},
    mailer::{Mail, Mailer},
    metrics::AuthMetrics,
    sealing::Sealing,
    service::{
        credentials::Credentials,
        sessions::{EndReason, Sessions},
    },
    store::{
        audit::{AuditEvent, AuditStore},
        second_factors::{SecondFactorStore, StoredFactor},
        users::UserStore,
    },
};

/// How often a guess is counted anew after somebody else's was counted at the same moment.
const COUNTS_MAX: usize = 8;

/// Pixels of a module of the QR code.
const MODULE_PIXELS: u32 = 4;

/// Second factors.
#[derive(Clone, Debug)]
pub(crate) struct SecondFactors {
    store: SecondFactorStore,
    users: UserStore,
    credentials: Arc<Credentials>,
    sessions: Arc<Sessions>,
    sealing: Sealing,
    audit: AuditStore,
    mailer: Mailer,
    metrics: AuthMetrics,
    issuer: String,
    public_url: Url,
    clock: Clock,
}

/// The stores and services that second factors work with.
pub(crate) struct Parts {
    /// Keeps them.
    pub(crate) store: SecondFactorStore,
    /// Whose they are.
    pub(crate) users: UserStore,
    /// Asks for the password.
    pub(crate) credentials: Arc<Credentials>,
    /// Ends sessions when an admin takes one away.
    pub(crate) sessions: Arc<Sessions>,
    /// Seals the secrets.
    pub(crate) sealing: Sealing,
    /// Remembers what happened.
    pub(crate) audit: AuditStore,
    /// Tells the owner.
    pub(crate) mailer: Mailer,
    /// Counts.
    pub(crate) metrics: AuthMetrics,
}

/// What an authenticator app has to be told.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The secret, to be typed.
    pub(crate) secret: SecretString,
    /// The same and more, to be scanned.
    pub(crate) uri: SecretString,
    /// A picture of that.
    pub(crate) qr_svg: SecretString,
}

/// Whether somebody has a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// Whether they have.
    pub(crate) is_enabled: bool,
    /// How many recovery codes are unused.
    pub(crate) recovery_codes_left: usize,
}

impl SecondFactors {
    /// Second factors as the configuration wants them.
    pub(crate) fn new(config: &Config, parts: Parts) -> Self {
        Self {
            store: parts.store,
            users: parts.users,
            credentials: parts.credentials,
            sessions: parts.sessions,
            sealing: parts.sealing,
            audit: parts.audit,
            mailer: parts.mailer,
            metrics: parts.metrics,
            issuer: config.totp_issuer.clone(),
            public_url: config.public_url.clone(),
            clock: config.clock.clone(),
        }
    }

    /// Whether the user has one.
    pub(crate) async fn status(&self, user_id: UserId) -> Result<Status> {
        let stored = self.store.find(user_id).await?;
        let enabled = stored.filter(|stored| stored.secret.is_some());
        Ok(Status {
            is_enabled: enabled.is_some(),
            recovery_codes_left: enabled.map_or(0, |stored| stored.recovery_codes_left),
        })
    }

    /// Draws a secret for the user's app. Nothing is asked at sign-in before a first code has come back.
    pub(crate) async fn set_up(
        &self,
        user_id: UserId,
        password: &SecretString,
        origin: &Origin,
    ) -> Result<Setup> {
        let user = self.credentials.prove(user_id, password, origin).await?;
        let bytes: [u8; SECRET_BYTES] = rand::rng().random();
        let secret = SecretSlice::from(bytes.to_vec());
        let sealed = self.sealing.seal(&context(user_id), secret.expose_secret())?;
        let (typed, uri) = for_the_app(&secret, &self.issuer, &user.email)?;
        let code = QrCode::with_error_correction_level(uri.expose_secret(), EcLevel::M)?;
        let qr_svg = code
            .render::<svg::Color<'_>>()
            .module_dimensions(MODULE_PIXELS, MODULE_PIXELS)
            .build();
        if !self.store.begin(user_id, &sealed, self.clock.now()).await? {
            return Err(Error::SecondFactorOn);
        }
        Ok(Setup {
            secret: typed,
            uri,
            qr_svg: qr_svg.into(),
        })
    }

    /// Takes the first code of a new app: from now on sign-ins ask for one. Returns the recovery codes, to be shown once.
    pub(crate) async fn enable(
        &self,
        user_id: UserId,
        code: &SecretString,
        origin: &Origin,
    ) -> Result<Vec<SecretString>> {
        let now = self.clock.now();
        let user = self.users.find(user_id).await?.ok_or(Error::UserNotFound)?;
        let stored = self
            .store
            .find(user_id)
            .await?
            .ok_or(Error::SecondFactorNotSetUp)?;
        if stored.secret.is_some() {
            return Err(Error::SecondFactorOn);
        }
        let sealed = match stored.pending {
            Some((sealed, since)) if now < since + SETUP_LIFE => sealed,
            Some(_) | None => return Err(Error::SecondFactorNotSetUp),
        };
        let secret = self.sealing.open(&context(user_id), &sealed)?;
        let step = matching_step(&secret, code, now).ok_or(Error::WrongCode)?;
        let (codes, hashes) = self.draw_recovery_codes(user_id);
        if !self.store.enable(user_id, &sealed, step, &hashes, now).await? {
            // Another request enabled this one or began anew.
            return Err(Error::SecondFactorNotSetUp);
        }
        self.note("enabled", Some(user_id), user_id, origin).await;
        self.mailer
            .send(Mail::second_factor_enabled(&user, origin, &self.public_url));
        Ok(codes)
    }

    /// Gives the second factor up.
    pub(crate) async fn disable(
        &self,
        user_id: UserId,
        password: &SecretString,
        proof: &Proof,
        origin: &Origin,
    ) -> Result<()> {
        let user = self.prove_both(user_id, password, proof, origin).await?;
        if !self.store.delete(user_id).await? {
            return Err(Error::SecondFactorOff);
        }
        self.note("disabled", Some(user_id), user_id, origin).await;
        self.mailer
            .send(Mail::second_factor_disabled(&user, origin, &self.public_url));
        Ok(())
    }

    /// Replaces all recovery codes. Returns the new ones, to be shown once.
    pub(crate) async fn renew_recovery_codes(
        &self,
        user_id: UserId,
        password: &SecretString,
        proof: &Proof,
        origin: &Origin,
    ) -> Result<Vec<SecretString>> {
        let user = self.prove_both(user_id, password, proof, origin).await?;
        let (codes, hashes) = self.draw_recovery_codes(user_id);
        if !self.store.set_recovery_codes(user_id, &hashes).await? {
            return Err(Error::SecondFactorOff);
        }
        self.note("recovery_codes_renewed", Some(user_id), user_id, origin)
            .await;
        self.mailer
            .send(Mail::recovery_codes_renewed(&user, origin, &self.public_url));
        Ok(codes)
    }

    /// Takes the second factor of somebody away who has lost it. Their sessions end: one of them may be the finder's.
    pub(crate) async fn remove(&self, user_id: UserId, actor: UserId, origin: &Origin) -> Result<()> {
        let user = self.users.find(user_id).await?.ok_or(Error::UserNotFound)?;
        if !self.store.delete(user_id).await? {
            return Err(Error::SecondFactorOff);
        }
        self.sessions
            .end_all(user_id, EndReason::SecondFactorRemoved, Some(origin))
            .await?;
        self.note("removed_by_admin", Some(actor), user_id, origin).await;
        self.mailer
            .send(Mail::second_factor_removed(&user, &self.public_url));
        Ok(())
    }

    async fn prove_both(
        &self,
        user_id: UserId,
        password: &SecretString,
        proof: &Proof,
        origin: &Origin,
    ) -> Result<User> {
        let user = self.credentials.prove(user_id, password, origin).await?;
        if !self.status(user_id).await?.is_enabled {
            return Err(Error::SecondFactorOff);
        }
        if !self.prove(&user, proof, origin).await? {
            return Err(Error::WrongCode);
        }
        Ok(user)
    }

    /// Refuses while this proof could not be looked at, because too many codes were wrong.
    pub(crate) async fn refuse_while_slowed(&self, user_id: UserId, proof: &Proof) -> Result<()> {
        let Proof::Totp(_) = proof else { return Ok(()) };
        let stored = self.store.find(user_id).await?;
        let wait = stored.and_then(|stored| stored.guesses.wait(self.clock.now()));
        wait.map_or(Ok(()), |wait| Err(self.slow_down(wait)))
    }

    /// Whether this is the user's second factor. What was right is used up: it is right once.
    pub(crate) async fn prove(&self, user: &User, proof: &Proof, origin: &Origin) -> Result<bool> {
        let stored = self.store.find(user.id).await?.ok_or(Error::SecondFactorOff)?;
        let sealed = stored.secret.clone().ok_or(Error::SecondFactorOff)?;
        let outcome = match proof {
            Proof::Totp(code) => self.prove_totp(user, stored, &sealed, code, origin).await?,
            Proof::Recovery(code) => self.prove_recovery(user, code, origin).await?,
        };
        let is_right = matches!(outcome, "ok" | "recovery_code");
        self.note(outcome, is_right.then_some(user.id), user.id, origin)
            .await;
        Ok(is_right)
    }

    async fn prove_totp(
        &self,
        user: &User,
        stored: StoredFactor,
        sealed: &str,
        code: &SecretString,
        origin: &Origin,
    ) -> Result<&'static str> {
        let guesses = self.count_guess(user.id, stored).await?;
        let secret = self.sealing.open(&context(user.id), sealed)?;
        let outcome = match matching_step(&secret, code, self.clock.now()) {
            Some(step) if self.store.use_step(user.id, sealed, step).await? => return Ok("ok"),
            Some(_) => "replayed",
            None => "wrong",
        };
        if guesses.count == FREE_GUESSES {
            self.mailer
                .send(Mail::second_factor_guessed(user, origin, &self.public_url));
        }
        Ok(outcome)
    }

    /// Counts a guess before its outcome is known, so that guesses made at once are all counted.
    async fn count_guess(&self, user_id: UserId, mut stored: StoredFactor) -> Result<Guesses> {
        for _ in 0..COUNTS_MAX {
            let now = self.clock.now();
            if let Some(wait) = stored.guesses.wait(now) {
                return Err(self.slow_down(wait));
            }
            let after = stored.guesses.with_one_more(now);
            if self.store.count_guess(user_id, stored.guesses, after).await? {
                return Ok(after);
            }
            stored = self.store.find(user_id).await?.ok_or(Error::SecondFactorOff)?;
        }
        Err(self.slow_down(chrono::Duration::zero()))
    }

    fn slow_down(&self, wait: chrono::Duration) -> Error {
        self.metrics
            .second_factors
            .with_label_values(&["throttled"])
            .inc();
        Error::SlowDown {
            retry_after_secs: u64::try_from(wait.num_seconds()).unwrap_or_default() + 1,
        }
    }

    async fn prove_recovery(
        &self,
        user: &User,
        code: &SecretString,
        origin: &Origin,
    ) -> Result<&'static str> {
        let Some(code) = typed_recovery_code(code) else {
            return Ok("wrong");
        };
        let hash = self
            .sealing
            .hash(&recovery_context(user.id), code.expose_secret());
        if !self.store.use_recovery_code(user.id, &hash).await? {
            return Ok("wrong");
        }
        let left = self.status(user.id).await?.recovery_codes_left;
        self.mailer
            .send(Mail::recovery_code_used(user, left, origin, &self.public_url));
        Ok("recovery_code")
    }

    fn draw_recovery_codes(&self, user_id: UserId) -> (Vec<SecretString>, Vec<String>) {
        let draw = || SecretString::from(recovery_code(|| rand::rng().random()));
        let codes: Vec<_> = (0..RECOVERY_CODES).map(|_| draw()).collect();
        let plain = codes.iter().filter_map(typed_recovery_code);
        let hashes = plain
            .map(|code| {
                self.sealing
                    .hash(&recovery_context(user_id), code.expose_secret())
            })
            .collect();
        (codes, hashes)
    }

    async fn note(&self, outcome: &'static str, actor: Option<UserId>, subject: UserId, origin: &Origin) {
        self.metrics.second_factors.with_label_values(&[outcome]).inc();
        let event = AuditEvent {
            action: "second_factor",
            outcome,
            actor,
            subject: Some(subject),
            session_id: None,
            origin: Some(origin),
        };
        self.audit.record(event, self.clock.now()).await;
    }
}

/// What a secret is sealed for.
fn context(user_id: UserId) -> String {
    format!("totp:{user_id}")
}

/// What a recovery code is hashed for.
fn recovery_context(user_id: UserId) -> String {
    format!("recovery:{user_id}")
}
