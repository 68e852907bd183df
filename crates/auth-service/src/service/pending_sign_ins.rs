//! Sign-ins that have the password right and lack the second factor. Their token finishes this one sign-in, once, within
//! five minutes, as long as the password stays what it was. It opens nothing else.

use std::sync::Arc;

use aws_lc_rs::hmac;
use chrono::Duration;
use common_http::Clock;
use common_jwt::{KeyRing, PendingClaims, Signer, SigningKey, TokenType, Verifier, VerifyingKey};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::{
    config::Config,
    domain::{
        origin::Origin,
        second_factor::Proof,
        session::AuthMethod,
        user::{User, UserId},
    },
    error::{Error, Result},
    service::{second_factors::SecondFactors, settings::RuntimeSettings},
    store::{pending_sign_ins::PendingSignInStore, users::UserStore},
};

/// Long enough to find the phone.
const LIFE: Duration = Duration::minutes(5);

/// Sign-ins that lack their second factor.
#[derive(Clone, Debug)]
pub(crate) struct PendingSignIns {
    store: PendingSignInStore,
    users: UserStore,
    second_factors: Arc<SecondFactors>,
    settings: RuntimeSettings,
    signer: Signer,
    verifier: Verifier,
    issuer: String,
    audience: String,
    clock: Clock,
}

/// What somebody is given who has the password right.
#[derive(Debug)]
pub(crate) struct PendingSignIn {
    /// To be sent back with the second factor.
    pub(crate) token: SecretString,
    /// How long it is good.
    pub(crate) expires_in_secs: i64,
}

/// A token that was presented and is good so far.
struct Presented {
    user_id: UserId,
    id: String,
    password_version: i32,
}

/// What became of the question for a second factor.
pub(crate) enum Asked {
    /// There is none to ask for.
    Nothing,
    /// It came with the password, and was right.
    Answered,
    /// It is still lacking.
    Later(PendingSignIn),
}

impl PendingSignIns {
    /// Pending sign-ins as the configuration wants them. Their key is derived, so that nothing that reads another kind of
    /// token could read theirs, not even by mistake.
    pub(crate) fn new(
        config: &Config,
        store: PendingSignInStore,
        users: UserStore,
        second_factors: Arc<SecondFactors>,
        settings: RuntimeSettings,
    ) -> Self {
        let secret = config.jwt_refresh_secret.expose_secret().as_bytes();
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let key = hmac::sign(&secret, b"flowgate pending sign-ins v1");
        let ring = KeyRing::new([VerifyingKey::hs256(key.as_ref())]);
        Self {
            store,
            users,
            second_factors,
            settings,
            signer: Signer::new(SigningKey::hs256(key.as_ref())),
            verifier: Verifier::new(ring, &config.jwt_issuer, &config.jwt_audience),
            issuer: config.jwt_issuer.clone(),
            audience: config.jwt_audience.clone(),
            clock: config.clock.clone(),
        }
    }

    /// Asks somebody who was just found to be who they say, by `method`, for their second factor, where they have one. `None` when
    /// nothing is lacking, be it that `proof` was right.
    pub(crate) async fn ask(
        &self,
        user: &User,
        method: &AuthMethod,
        proof: Option<&Proof>,
        origin: &Origin,
    ) -> Result<Asked> {
        if !self.second_factors.status(user.id).await?.is_enabled {
            return Ok(Asked::Nothing);
        }
        let Some(proof) = proof else {
            return self.issue(user, method).await.map(Asked::Later);
        };
        self.require(user, proof, origin).await?;
        Ok(Asked::Answered)
    }

    /// Whose sign-in the token finishes, now that the second factor is there, and how it was begun. The token has served
    /// then.
    pub(crate) async fn finish(
        &self,
        token: &str,
        proof: &Proof,
        origin: &Origin,
    ) -> Result<(User, AuthMethod)> {
        let presented = self.read(token)?;
        let user = self.users.find(presented.user_id).await?;
        let rule = self.settings.sign_in_rule();
        let user = user
            .filter(|user| rule.admits(user))
            .ok_or(Error::InvalidPendingToken)?;
        // Before the try is counted: who has to wait loses none.
        self.second_factors.refuse_while_slowed(user.id, proof).await?;
        self.count_try(&presented, &user).await?;
        self.require(&user, proof, origin).await?;
        let method = self.store.consume(&presented.id).await?;
        Ok((user, method.ok_or(Error::InvalidPendingToken)?))
    }

    async fn require(&self, user: &User, proof: &Proof, origin: &Origin) -> Result<()> {
        if self.second_factors.prove(user, proof, origin).await? {
            return Ok(());
        }
        Err(Error::SecondFactorRefused)
    }

    async fn issue(&self, user: &User, method: &AuthMethod) -> Result<PendingSignIn> {
        let now = self.clock.now();
        let claims = PendingClaims {
            iss: self.issuer.clone(),
            aud: self.audience.as_str().into(),
            sub: user.id.to_string(),
            jti: Uuid::new_v4().to_string(),
            password_version: user.password_version,
            iat: now.timestamp(),
            exp: (now + LIFE).timestamp(),
            kind: TokenType::Pending,
        };
        self.store
            .insert(&claims.jti, user.id, method, now + LIFE)
            .await?;
        Ok(PendingSignIn {
            token: self.signer.pending(&claims)?.into(),
            expires_in_secs: LIFE.num_seconds(),
        })
    }

    /// Whose sign-in the token is of, by its signature.
    fn read(&self, token: &str) -> Result<Presented> {
        let claims = self.verifier.pending(token, self.clock.now()).map_err(|reason| {
            tracing::debug!(%reason, "pending token refused");
            Error::InvalidPendingToken
        })?;
        Ok(Presented {
            user_id: UserId::parse(&claims.sub).ok_or(Error::InvalidPendingToken)?,
            id: claims.jti,
            password_version: claims.password_version,
        })
    }

    /// Takes one of the token's tries, if it is still the token of this user's password.
    async fn count_try(&self, presented: &Presented, user: &User) -> Result<()> {
        let is_current = presented.password_version == user.password_version;
        let now = self.clock.now();
        if is_current && self.store.count_try(&presented.id, user.id, now).await? {
            return Ok(());
        }
        Err(Error::InvalidPendingToken)
    }
}
