//! Opens, continues and ends sessions.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use common_http::{Clock, CurrentUser, Problem};
use uuid::Uuid;

use crate::{
    config::Config,
    domain::{
        origin::Origin,
        session::{AuthMethod, Presented, Session},
        user::{User, UserId},
    },
    error::{Error, Result},
    metrics::AuthMetrics,
    service::{
        new_devices::NewDevices,
        revocations::Revocations,
        settings::RuntimeSettings,
        tokens::{Tokens, hash_of, seconds},
    },
    store::{
        api_keys::ApiKeyStore,
        audit::{AuditEvent, AuditStore},
        sessions::{SessionOwner, SessionStore},
        users::UserStore,
    },
};

/// How often a refresh looks again after somebody else rotated the same token at the same moment. One look is enough
/// unless tokens are rotated faster than we can read.
const LOOKS_MAX: usize = 4;

/// Sessions ended in one go when all are.
const CHUNK: i64 = 500;

/// Sessions and the tokens they hand out.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    store: SessionStore,
    users: UserStore,
    revocations: Revocations,
    new_devices: NewDevices,
    tokens: Arc<Tokens>,
    audit: AuditStore,
    metrics: AuthMetrics,
    clock: Clock,
    life: Duration,
    grace: Duration,
    per_user_max: usize,
    settings: RuntimeSettings,
    api_keys: ApiKeyStore,
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
    /// The user ended it from another one.
    Revoked,
    /// The user ended all, from one of them.
    RevokedAll,
    /// An administrator ended it.
    Admin,
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
            Self::Revoked => "revoked",
            Self::RevokedAll => "revoked_all",
            Self::Admin => "admin",
        }
    }

    /// Whether the user whose session it is ends it.
    const fn is_own_act(self) -> bool {
        matches!(
            self,
            Self::Logout | Self::LogoutAll | Self::Revoked | Self::RevokedAll
        )
    }
}

impl Sessions {
    /// Sessions as the configuration wants them.
    #[expect(
        clippy::too_many_arguments,
        reason = "the one caller names every part; a struct would repeat the fields"
    )]
    pub(crate) fn new(
        config: &Config,
        tokens: Arc<Tokens>,
        store: SessionStore,
        users: UserStore,
        revocations: Revocations,
        new_devices: NewDevices,
        audit: AuditStore,
        metrics: AuthMetrics,
        settings: RuntimeSettings,
        api_keys: ApiKeyStore,
    ) -> Self {
        Self {
            store,
            users,
            revocations,
            new_devices,
            tokens,
            audit,
            metrics,
            clock: config.clock.clone(),
            life: seconds(config.session_life),
            grace: seconds(config.refresh_grace),
            per_user_max: config.sessions_per_user_max,
            settings,
            api_keys,
        }
    }

    /// Whether the user may hold a session here.
    pub(crate) fn admits(&self, user: &User) -> bool {
        self.settings.sign_in_rule().admits(user)
    }

    /// Opens a session for somebody who has just proven who they are.
    ///
    /// The claims are read after the session is stored. So a change of rights either is in them, or finds the session
    /// and ends it.
    pub(crate) async fn open(
        &self,
        user_id: UserId,
        auth_method: AuthMethod,
        origin: &Origin,
    ) -> Result<TokenPair> {
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
            auth_method,
            id,
            user_id,
            grant,
            ends_at,
        };
        self.store.insert(&session).await?;
        self.end_surplus(user_id).await?;
        let pair = self.pair(&session, refresh, now).await?;
        let pair = pair.ok_or(Error::InvalidCredentials)?;
        self.new_devices.note(&pair.user, &pair.session_id, origin);
        Ok(pair)
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
        let Some(user) = user.filter(|user| self.admits(user)) else {
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
        let session = SessionOwner::new(session_id.to_owned(), user_id);
        self.end_listed(&[session], reason, None, origin).await.map(drop)
    }

    /// Ends all of a user's sessions; says how many there were. What other services remember of the user's API keys is
    /// void too: they ask again, and hear what the rights are now.
    pub(crate) async fn end_all(
        &self,
        user_id: UserId,
        reason: EndReason,
        origin: Option<&Origin>,
    ) -> Result<u64> {
        let keys = self.api_keys.list_sids(user_id).await?;
        if !keys.is_empty() {
            self.revocations.revoke(&keys).await?;
            self.api_keys.renew_epochs(user_id).await?;
        }
        let ids = self.store.list_ids(user_id).await?;
        self.end_listed(&owned(ids, user_id), reason, None, origin).await
    }

    /// Ends one of the caller's own sessions. Somebody else's is none.
    pub(crate) async fn end_own(&self, session_id: &str, user_id: UserId, origin: &Origin) -> Result<()> {
        let found = self.store.find_of(session_id, user_id, self.clock.now()).await?;
        let session = found.ok_or(Error::SessionNotFound)?;
        self.end(&session.id, user_id, EndReason::Revoked, Some(origin))
            .await
    }

    /// Ends all of a user's sessions but this one.
    pub(crate) async fn end_others(&self, kept: &str, user_id: UserId, origin: &Origin) -> Result<u64> {
        let mut ids = self.store.list_ids(user_id).await?;
        ids.retain(|id| id != kept);
        let others = owned(ids, user_id);
        self.end_listed(&others, EndReason::Revoked, None, Some(origin))
            .await
    }

    /// Ends a session of whomever, for an administrator.
    pub(crate) async fn end_as_admin(&self, session_id: &str, admin: UserId, origin: &Origin) -> Result<()> {
        let found = self.store.find_owner(session_id).await?;
        let session = found.ok_or(Error::SessionNotFound)?;
        self.end_listed(&[session], EndReason::Admin, Some(admin), Some(origin))
            .await
            .map(drop)
    }

    /// Ends all sessions of somebody, for an administrator.
    pub(crate) async fn end_all_as_admin(
        &self,
        user_id: UserId,
        admin: UserId,
        origin: &Origin,
    ) -> Result<u64> {
        let ids = self.store.list_ids(user_id).await?;
        let sessions = owned(ids, user_id);
        self.end_listed(&sessions, EndReason::Admin, Some(admin), Some(origin))
            .await
    }

    /// Ends everybody's sessions but the one the administrator asks with. What is opened meanwhile stays.
    pub(crate) async fn end_everybodys(&self, kept: &str, admin: UserId, origin: &Origin) -> Result<u64> {
        let (mut ended, begun_at) = (0, self.clock.now());
        loop {
            let sessions = self.store.list_others(kept, begun_at, CHUNK).await?;
            if sessions.is_empty() {
                return Ok(ended);
            }
            ended += self
                .end_listed(&sessions, EndReason::Admin, Some(admin), Some(origin))
                .await?;
        }
    }

    async fn end_surplus(&self, user_id: UserId) -> Result<()> {
        let ids = self.store.list_ids(user_id).await?;
        let surplus = ids.into_iter().skip(self.per_user_max).collect();
        let surplus = owned(surplus, user_id);
        self.end_listed(&surplus, EndReason::Cap, None, None)
            .await
            .map(drop)
    }

    /// `admin` is who ends sessions of others; what people end themselves is their own act.
    async fn end_listed(
        &self,
        sessions: &[SessionOwner],
        reason: EndReason,
        admin: Option<UserId>,
        origin: Option<&Origin>,
    ) -> Result<u64> {
        if sessions.is_empty() {
            return Ok(0);
        }
        let ids: Vec<_> = sessions.iter().map(|session| session.id.clone()).collect();
        self.revocations.revoke(&ids).await?;
        let ended = self.store.delete(&ids).await?;
        self.metrics
            .sessions_revoked
            .with_label_values(&[reason.as_str()])
            .inc_by(ended);
        let ended_now = sessions.iter().take(usize::try_from(ended).unwrap_or(usize::MAX));
        let events: Vec<_> = ended_now
            .map(|session| AuditEvent {
                action: "session_ended",
                outcome: reason.as_str(),
                actor: admin.or_else(|| reason.is_own_act().then(|| session.user_id())),
                subject: Some(session.user_id()),
                session_id: Some(&session.id),
                origin,
            })
            .collect();
        self.audit.record_all(&events, self.clock.now()).await;
        Ok(ended)
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

fn owned(ids: Vec<String>, user_id: UserId) -> Vec<SessionOwner> {
    ids.into_iter().map(|id| SessionOwner::new(id, user_id)).collect()
}
