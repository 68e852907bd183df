//! Signing in and out through us: auth-service decides, we pass on and act on it at once.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common_http::{Authenticator, CurrentUser, RevocationBody};
use common_jwt::AccessClaims;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::{
    auth::{AuthClient, Origin, SignInWith, SignedIn},
    error::{Error, Result},
};

/// Signs people in and out.
#[derive(Clone)]
pub(crate) struct SignIn {
    auth: AuthClient,
    authenticator: Authenticator,
}

/// A pair of tokens with what the access token says.
#[derive(Debug)]
pub(crate) struct Issued {
    /// What auth-service answered.
    pub(crate) signed_in: SignedIn,
    /// The new access token's claims.
    pub(crate) claims: AccessClaims,
    /// How long the access token is good for.
    pub(crate) expires_in_secs: i64,
}

/// What is to be revoked.
#[derive(Debug)]
pub(crate) enum Revoke {
    /// Every session of the caller.
    All,
    /// The session of this refresh token.
    Refresh(SecretString),
    /// The session or token of this id, which must be the caller's own.
    Id(String),
    /// The session the caller calls with.
    Own,
}

impl SignIn {
    /// Asks `auth`; reads new tokens with the keys of `authenticator`, and adds ended sessions to its revocations.
    pub(crate) fn new(auth: AuthClient, authenticator: Authenticator) -> Self {
        Self { auth, authenticator }
    }

    /// Signs a person in.
    pub(crate) async fn login(&self, with: &SignInWith<'_>, origin: &Origin) -> Result<Issued> {
        let signed_in = self.auth.login(with, origin).await?;
        self.issued(signed_in).await
    }

    /// Exchanges a refresh token for the next pair.
    pub(crate) async fn refresh(&self, refresh_token: &SecretString, origin: &Origin) -> Result<Issued> {
        let signed_in = self.auth.refresh(refresh_token, origin).await?;
        self.issued(signed_in).await
    }

    /// Ends sessions at auth-service, then here without waiting for its feed.
    pub(crate) async fn revoke(&self, user: &CurrentUser, what: &Revoke, origin: &Origin) -> Result<()> {
        match what {
            Revoke::All => self.auth.logout_all(user, origin).await?,
            Revoke::Refresh(token) => self.auth.logout(user, Some(token), origin).await?,
            Revoke::Id(id) if *id != user.session_id => return Err(Error::TokenNotFound),
            Revoke::Id(_) | Revoke::Own => self.auth.logout(user, None, origin).await?,
        }
        if let Revoke::Refresh(token) = what
            && session_of(token).is_some_and(|session_id| session_id != user.session_id)
        {
            // Another device of theirs: this one stays signed in.
            return Ok(());
        }
        let ended = RevocationBody {
            sid: user.session_id.clone(),
            expires_at: user.expires_at.timestamp(),
        };
        let now = self.authenticator.clock.now().timestamp();
        self.authenticator.revocations.extend([ended], now);
        Ok(())
    }

    async fn issued(&self, signed_in: SignedIn) -> Result<Issued> {
        let now = self.authenticator.clock.now();
        let token = signed_in.access_token.expose_secret();
        let claims = self.authenticator.access(token).await?;
        Ok(Issued {
            expires_in_secs: claims.exp.saturating_sub(now.timestamp()).max(0),
            claims,
            signed_in,
        })
    }
}

/// The session a refresh token claims to be of. Only auth-service can check its signature, so this may be a lie: it
/// decides only whether the caller's *own* session counts as ended here.
fn session_of(refresh_token: &SecretString) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        sid: String,
    }
    let payload = refresh_token.expose_secret().split('.').nth(1)?;
    let json = URL_SAFE_NO_PAD.decode(payload).ok()?;
    serde_json::from_slice(&json).ok().map(|Claims { sid }| sid)
}
