//! What a token is worth right now (RFC 7662), and giving one back (RFC 7009), for whoever holds any token of ours.

use std::sync::Arc;

use chrono::Duration;
use common_http::{Clock, Metrics};
use common_jwt::{AccessClaims, Audience, RefreshClaims, Role, TokenType, Verifier};
use prometheus::{IntCounterVec, Opts};

use crate::{
    domain::{
        origin::Origin,
        session::{Presented, Session},
        user::{User, UserId},
    },
    error::Result,
    service::{
        revocations::Revocations,
        sessions::{EndReason, Sessions},
        tokens::{Tokens, hash_of},
    },
    store::{sessions::SessionStore, users::UserStore},
};

/// Looks tokens up and ends their sessions.
#[derive(Clone, Debug)]
pub(crate) struct Introspection {
    /// Checks access tokens.
    pub(crate) verifier: Verifier,
    /// Checks refresh tokens.
    pub(crate) tokens: Arc<Tokens>,
    /// Ends sessions.
    pub(crate) sessions: Arc<Sessions>,
    /// Finds sessions.
    pub(crate) store: SessionStore,
    /// Finds their users.
    pub(crate) users: UserStore,
    /// Knows the sessions that have ended.
    pub(crate) revocations: Revocations,
    /// Counts.
    pub(crate) metrics: TokenMetrics,
    /// The time.
    pub(crate) clock: Clock,
    /// How long a refresh may be repeated.
    pub(crate) grace: Duration,
}

/// What is counted of both.
#[derive(Clone, Debug)]
pub(crate) struct TokenMetrics {
    introspections: IntCounterVec,
    revocations: IntCounterVec,
}

/// A token that is good, and whose it is.
#[derive(Debug)]
pub(crate) struct ActiveToken {
    /// Access or refresh.
    pub(crate) kind: TokenType,
    /// Who issued it.
    pub(crate) issuer: String,
    /// Whom it is for.
    pub(crate) audience: Audience,
    /// The session.
    pub(crate) session_id: String,
    /// The token's own id.
    pub(crate) id: String,
    /// Issued at, in seconds since 1970.
    pub(crate) issued_at: i64,
    /// Not good before.
    pub(crate) not_before: i64,
    /// Not good after.
    pub(crate) expires_at: i64,
    /// Whose it is.
    pub(crate) user: User,
    /// What the token grants; a refresh token grants what the user may at the next refresh.
    pub(crate) role: Role,
}

impl TokenMetrics {
    /// Registers all, each label at zero.
    pub(crate) fn new(metrics: &Metrics) -> Result<Self, prometheus::Error> {
        let counter = |name, help, outcomes: [&str; 2]| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), &["outcome"])?;
            for outcome in outcomes {
                counter.with_label_values(&[outcome]);
            }
            metrics.register(counter.clone())?;
            Ok(counter)
        };
        Ok(Self {
            introspections: counter(
                "auth_introspections_total",
                "Tokens asked about, by outcome.",
                ["active", "inactive"],
            )?,
            revocations: counter(
                "auth_token_revocations_total",
                "Tokens given back, by outcome.",
                ["ended", "nothing"],
            )?,
        })
    }
}

impl Introspection {
    /// What the token is worth, if it is worth anything.
    pub(crate) async fn introspect(&self, token: &str) -> Result<Option<ActiveToken>> {
        let now = self.clock.now();
        let active = if let Ok(claims) = self.verifier.access(token, now) {
            self.access(claims).await?
        } else if let Ok(claims) = self.tokens.read_refresh(token, now) {
            self.refresh(token, claims).await?
        } else {
            None
        };
        let outcome = if active.is_some() { "active" } else { "inactive" };
        self.metrics.introspections.with_label_values(&[outcome]).inc();
        Ok(active)
    }

    /// Ends the session of an access or a refresh token. Whoever holds a token may give it back; one that is not good
    /// any more ends nothing.
    pub(crate) async fn revoke(&self, token: &str, origin: &Origin) -> Result<()> {
        let access = self.verifier.access(token, self.clock.now());
        let has_ended = match access.map(|claims| (UserId::parse(&claims.sub), claims.sid)) {
            Ok((Some(user_id), session_id)) => {
                self.sessions
                    .end(&session_id, user_id, EndReason::Logout, Some(origin))
                    .await?;
                true
            }
            Ok((None, _)) => false,
            Err(_) => self.sessions.end_by_refresh_token(token, origin).await?,
        };
        let outcome = if has_ended { "ended" } else { "nothing" };
        self.metrics.revocations.with_label_values(&[outcome]).inc();
        Ok(())
    }

    async fn access(&self, claims: AccessClaims) -> Result<Option<ActiveToken>> {
        let standing = self.standing(&claims.sid, &claims.sub).await?;
        Ok(standing.map(|(_, user)| ActiveToken {
            kind: claims.kind,
            issuer: claims.iss,
            audience: claims.aud,
            session_id: claims.sid,
            id: claims.jti,
            issued_at: claims.iat,
            not_before: claims.nbf,
            expires_at: claims.exp,
            role: claims.role,
            user,
        }))
    }

    /// A refresh token is good while it could be exchanged; asking does not use it up, and a used one that comes here
    /// ends nothing: who asks may have found it in a log.
    async fn refresh(&self, token: &str, claims: RefreshClaims) -> Result<Option<ActiveToken>> {
        let Some((session, user)) = self.standing(&claims.sid, &claims.sub).await? else {
            return Ok(None);
        };
        let presented = session.judge(&hash_of(token), self.clock.now(), self.grace);
        let is_good = matches!(presented, Presented::Current | Presented::ReplayedInGrace);
        Ok(is_good.then_some(ActiveToken {
            kind: claims.kind,
            issuer: claims.iss,
            audience: claims.aud,
            session_id: claims.sid,
            id: claims.jti,
            issued_at: claims.iat,
            not_before: claims.iat,
            expires_at: claims.exp,
            role: user.role,
            user,
        }))
    }

    /// The session and its user, while both stand.
    async fn standing(&self, session_id: &str, user_id: &str) -> Result<Option<(Session, User)>> {
        if self.revocations.contains(session_id) {
            return Ok(None);
        }
        let Some(session) = self.store.find(session_id).await? else {
            return Ok(None);
        };
        if session.user_id.to_string() != user_id || self.clock.now() >= session.ends_at {
            return Ok(None);
        }
        let user = self.users.find(session.user_id).await?;
        Ok(user
            .filter(|user| self.sessions.admits(user))
            .map(|user| (session, user)))
    }
}
