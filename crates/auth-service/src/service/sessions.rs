//! Opens, continues and ends sessions.

use chrono::{DateTime, Duration, Utc};
use common_http::{Clock, CurrentUser, Problem};
use uuid::Uuid;

use crate::{
    config::Config,
    domain::{
        origin::Origin,
        session::{Presented, Session},
        user::{SignInRule, User, UserId},
    },
    error::{Error, Result},
    metrics::AuthMetrics,
    service::{
        revocations::Revocations,
        tokens::{Tokens, hash_of, seconds},
    },
    store::{
        audit::{AuditEvent, AuditStore},
        sessions::SessionStore,
        users::UserStore,
    },
};

/// How often a refresh looks again after somebody else rotated the same token at the same moment. One look is enough
/// unless tokens are rotated faster than we can read.
const LOOKS_MAX: usize = 4;

/// Sessions and the tokens they hand out.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    store: SessionStore,
    users: UserStore,
    revocations: Revocations,
    tokens: Tokens,
    audit: AuditStore,
    metrics: AuthMetrics,
    clock: Clock,
    life: Duration,
    grace: Duration,
    per_user_max: usize,
    sign_in_rule: SignInRule,
}

/// What a client holds after it signed in or refreshed.
pub(crate) struct TokenPair {
    /// Sent with each request.
    pub(crate) access: String,
    /// Exchanged for the next pair.
    pub(crate) refresh: String,
    /// Whose they are, as of now.
    pub(crate) user: User,
    /// The session they belong to.
    pub(crate) session_id: String,
}

/// Why a session ends before its time; a label and a word in the audit trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// The user signed out.
    Logout,
    /// The user signed out everywhere.
    LogoutAll,
    /// A used-up refresh token came back.
    Reuse,
    /// The user's rights changed.
    RoleChange,
    /// The user chose another password.
    PasswordChange,
    /// The password was replaced by a mailed link or by an admin.
    PasswordReset,
    /// An admin took the second factor away.
    SecondFactorRemoved,
    /// The user was deleted, shut out or is no longer verified.
    UserGone,
    /// The session reached its greatest age.
    TooOld,
    /// The user opened more sessions than one may have.
    Cap,
}

impl EndReason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::LogoutAll => "logout_all",
            Self::Reuse => "reuse",
            Self::RoleChange => "role_change",
            Self::PasswordChange => "password_change",
            Self::PasswordReset => "password_reset",
            Self::SecondFactorRemoved => "second_factor_removed",
            Self::UserGone => "user_gone",
            Self::TooOld => "too_old",
            Self::Cap => "cap",
        }
    }
}

impl Sessions {
    /// Sessions as the configuration wants them.
    pub(crate) fn new(
        config: &Config,
        store: SessionStore,
        users: UserStore,
        revocations: Revocations,
        audit: AuditStore,
        metrics: AuthMetrics,
    ) -> Self {
        Self {
            store,
            users,
            revocations,
            tokens: Tokens::new(config),
            audit,
            metrics,
            clock: config.clock.clone(),
            life: seconds(config.session_life),
            grace: seconds(config.refresh_grace),
            per_user_max: config.sessions_per_user_max,
            sign_in_rule: config.sign_in_rule,
        }
    }

    /// Opens a session for somebody who has just proven who they are.
    ///
    /// The claims are read after the session is stored. So a change of rights either is in them, or finds the session
    /// and ends it.
    pub(crate) async fn open(&self, user_id: UserId, origin: &Origin) -> Result<TokenPair> {
        let now = self.clock.now();
        let id = Uuid::now_v7().to_string();
        let ends_at = now + self.life;
        let grant = self.tokens.grant(ends_at, now);
        let refresh = self.tokens.refresh(&id, user_id, &grant)?;
        let session = Session {
            token_hash: hash_of(&refresh),
            previous_hash: None,
            rotated_at: None,
            created_at: now,
            last_seen_at: now,
            origin: origin.clone(),
            id,
            user_id,
            grant,
            ends_at,
        };
        self.store.insert(&session).await?;
        self.end_surplus(user_id).await?;
        self.pair(&session, refresh, now)
            .await?
            .ok_or(Error::InvalidCredentials)
    }

    /// Exchanges a refresh token for the next pair (decision D3).
    pub(crate) async fn refresh(&self, token: &str, origin: &Origin) -> Result<TokenPair> {
        let result = self.try_refresh(token, origin).await;
        let outcome = match &result {
            Ok((outcome, _)) => outcome,
            Err(Error::RefreshRefused) => "refused",
            Err(_) => "failed",
        };
        self.metrics.refreshes.with_label_values(&[outcome]).inc();
        result?.1.ok_or(Error::RefreshRefused)
    }

    /// The outcome as the metric names it, and the pair when there is one.
    async fn try_refresh(&self, token: &str, origin: &Origin) -> Result<(&'static str, Option<TokenPair>)> {
        let now = self.clock.now();
        let claims = self.tokens.read_refresh(token, now)?;
        let presented = hash_of(token);
        for _ in 0..LOOKS_MAX {
            let session = self.store.find(&claims.sid).await?.ok_or(Error::RefreshRefused)?;
            if session.user_id.to_string() != claims.sub || self.revocations.contains(&session.id) {
                return Err(Error::RefreshRefused);
            }
            match session.judge(&presented, now, self.grace) {
                Presented::Current => {
                    if let Some(pair) = self.rotate(&session, &presented, now).await? {
                        return Ok(("rotated", Some(pair)));
                    }
                    // Somebody else rotated it between our look and our write; look again.
                }
                Presented::ReplayedInGrace => {
                    let successor = self
                        .tokens
                        .refresh(&session.id, session.user_id, &session.grant)?;
                    if hash_of(&successor) != session.token_hash {
                        // The signing secret or the issuer has changed since; nothing of the old kind is good now.
                        return Err(Error::RefreshRefused);
                    }
                    let pair = self.pair(&session, successor, now).await?;
                    return Ok(("replayed_in_grace", Some(pair.ok_or(Error::RefreshRefused)?)));
                }
                Presented::Reused => {
                    // Somebody holds a copy: the session ends, for the thief and for the owner, and nothing else does.
                    tracing::warn!(user.id = %session.user_id, session.id = session.id, "refresh token used twice");
                    self.end(&session.id, session.user_id, EndReason::Reuse, Some(origin))
                        .await?;
                    return Ok(("reuse_detected", None));
                }
                Presented::TooOld => {
                    self.end(&session.id, session.user_id, EndReason::TooOld, Some(origin))
                        .await?;
                    return Err(Error::RefreshRefused);
                }
            }
        }
        Err(Error::RefreshRefused)
    }

    /// Rotates the current token; `None` when another request was quicker.
    async fn rotate(
        &self,
        session: &Session,
        presented: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<TokenPair>> {
        let grant = self.tokens.grant(session.ends_at, now);
        let refresh = self.tokens.refresh(&session.id, session.user_id, &grant)?;
        let hash = hash_of(&refresh);
        if !self
            .store
            .rotate(&session.id, presented, &grant, &hash, now)
            .await?
        {
            return Ok(None);
        }
        let pair = self.pair(session, refresh, now).await?;
        pair.ok_or(Error::RefreshRefused).map(Some)
    }

    /// A pair with the user's claims as they are now. When the user may hold no session, this one ends.
    async fn pair(
        &self,
        session: &Session,
        refresh: String,
        now: DateTime<Utc>,
    ) -> Result<Option<TokenPair>> {
        let user = self.users.find(session.user_id).await?;
        let Some(user) = user.filter(|user| self.sign_in_rule.admits(user)) else {
            self.end(&session.id, session.user_id, EndReason::UserGone, None)
                .await?;
            return Ok(None);
        };
        let access = self.tokens.access(&user, session, now)?;
        Ok(Some(TokenPair {
            access,
            refresh,
            user,
            session_id: session.id.clone(),
        }))
    }

    /// Ends the session of this refresh token, whether it is still the current one or not. Says whether the token
    /// names a session at all; one that does not ends nothing.
    pub(crate) async fn end_by_refresh_token(&self, token: &str, origin: &Origin) -> Result<bool> {
        let Ok(claims) = self.tokens.read_refresh(token, self.clock.now()) else {
            return Ok(false);
        };
        let Some(user_id) = UserId::parse(&claims.sub) else {
            return Ok(false);
        };
        self.end(&claims.sid, user_id, EndReason::Logout, Some(origin))
            .await?;
        Ok(true)
    }

    /// Ends one session. The feed is told first: a crash in between leaves a session that can only be ended again.
    pub(crate) async fn end(
        &self,
        session_id: &str,
        user_id: UserId,
        reason: EndReason,
        origin: Option<&Origin>,
    ) -> Result<()> {
        self.end_listed(&[session_id.to_owned()], user_id, reason, origin)
            .await
    }

    /// Ends all of a user's sessions.
    pub(crate) async fn end_all(
        &self,
        user_id: UserId,
        reason: EndReason,
        origin: Option<&Origin>,
    ) -> Result<()> {
        let ids = self.store.list_ids(user_id).await?;
        self.end_listed(&ids, user_id, reason, origin).await
    }

    async fn end_surplus(&self, user_id: UserId) -> Result<()> {
        let ids = self.store.list_ids(user_id).await?;
        let surplus = ids.get(self.per_user_max..).unwrap_or_default();
        self.end_listed(surplus, user_id, EndReason::Cap, None).await
    }

    async fn end_listed(
        &self,
        ids: &[String],
        user_id: UserId,
        reason: EndReason,
        origin: Option<&Origin>,
    ) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        self.revocations.revoke(ids).await?;
        let ended = self.store.delete(ids).await?;
        self.metrics
            .sessions_revoked
            .with_label_values(&[reason.as_str()])
            .inc_by(ended);
        for id in ids.iter().take(usize::try_from(ended).unwrap_or(usize::MAX)) {
            let event = AuditEvent {
                action: "session_ended",
                outcome: reason.as_str(),
                actor: matches!(reason, EndReason::Logout | EndReason::LogoutAll).then_some(user_id),
                subject: Some(user_id),
                session_id: Some(id),
                origin,
            };
            self.audit.record(event, self.clock.now()).await;
        }
        Ok(())
    }

    /// Whether the session behind a valid access token still stands: this service knows before any feed does.
    pub(crate) async fn check(&self, user: &CurrentUser) -> Result<(), Problem> {
        let stands = match UserId::parse(&user.id) {
            Some(user_id) => self.store.exists(&user.session_id, user_id).await,
            None => Ok(false),
        };
        match stands {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::SessionEnded.problem()),
            Err(error) => {
                tracing::error!(?error, "a session could not be looked up");
                Err(error.problem())
            }
        }
    }
}
