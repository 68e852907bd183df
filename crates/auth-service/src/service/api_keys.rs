//! API keys: made, listed and revoked by their owners and by administrators, and verified for our other services.
//!
//! Whatever those remember of a key they know by its `sid`, which stands in the feed of revocations as soon as it is
//! good for nothing any more: when the key is revoked, and whenever the rights of its owner change. A key whose owner
//! may use it again goes on under another `sid`.

use common_http::{ApiKeyGrant, Clock};
use rand::RngExt as _;
use url::Url;
use uuid::Uuid;

use crate::{
    config::Config,
    domain::{
        api_key::{ApiKey, KeySecret, KeyTerms, KeyWish, is_key_hash},
        origin::Origin,
        user::{User, UserId},
    },
    error::{ApiKeyError, Error, Result, field_error},
    mailer::{Mail, Mailer},
    service::{revocations::Revocations, settings::RuntimeSettings},
    store::{
        api_keys::ApiKeyStore,
        audit::{AuditEvent, AuditStore},
        users::UserStore,
    },
};

/// API keys.
#[derive(Clone, Debug)]
pub(crate) struct ApiKeys {
    store: ApiKeyStore,
    users: UserStore,
    revocations: Revocations,
    settings: RuntimeSettings,
    audit: AuditStore,
    mailer: Mailer,
    public_url: Url,
    clock: Clock,
}

/// The stores and services that keys are made with.
pub(crate) struct Parts {
    /// The keys.
    pub(crate) store: ApiKeyStore,
    /// Their owners.
    pub(crate) users: UserStore,
    /// Tells the other services.
    pub(crate) revocations: Revocations,
    /// Who may use anything.
    pub(crate) settings: RuntimeSettings,
    /// Remembers what happened.
    pub(crate) audit: AuditStore,
    /// Tells the owner.
    pub(crate) mailer: Mailer,
}

impl ApiKeys {
    /// Keys as the configuration wants them.
    pub(crate) fn new(config: &Config, parts: Parts) -> Self {
        Self {
            store: parts.store,
            users: parts.users,
            revocations: parts.revocations,
            settings: parts.settings,
            audit: parts.audit,
            mailer: parts.mailer,
            public_url: config.public_url.clone(),
            clock: config.clock.clone(),
        }
    }

    /// Makes a key for `owner`, and tells them by mail. The secret is returned here and never again.
    pub(crate) async fn create(
        &self,
        owner: UserId,
        wish: KeyWish,
        actor: UserId,
        origin: &Origin,
    ) -> Result<(ApiKey, KeySecret)> {
        let user = self.users.find(owner).await?.ok_or(Error::UserNotFound)?;
        let now = self.clock.now();
        let terms = KeyTerms::parse(wish, user.role, now).map_err(|mistakes| {
            let errors = mistakes.into_iter();
            Error::Invalid(errors.map(|(field, why)| field_error(field, why)).collect())
        })?;
        let secret = KeySecret::new(rand::rng().random());
        let key = ApiKey {
            id: Uuid::now_v7().to_string(),
            user_id: owner,
            prefix: secret.prefix(),
            terms,
            epoch: 0,
            created_at: now,
            created_by: actor,
            last_used_at: None,
        };
        self.store.insert(&key, &secret.hash()).await?;
        // Whoever was deleted meanwhile has taken along the keys they had until then.
        if self.users.find(owner).await?.is_none() {
            self.store.delete(&key.id).await?;
            return Err(Error::UserNotFound);
        }
        self.record("api_key_created", &key, actor, origin).await;
        self.mailer.send(Mail::api_key_created(
            &user,
            &key,
            actor == owner,
            origin,
            &self.public_url,
        ));
        Ok((key, secret))
    }

    /// The keys of somebody who exists.
    pub(crate) async fn list(&self, owner: UserId) -> Result<Vec<ApiKey>> {
        let keys = self.store.list_of(owner).await?;
        if keys.is_empty() && self.users.find(owner).await?.is_none() {
            return Err(Error::UserNotFound);
        }
        Ok(keys)
    }

    /// Makes a key of `owner` good for nothing, here at once and in the other services within two seconds. Somebody
    /// else's is none. What breaks off may be done again: the row goes last.
    pub(crate) async fn revoke(
        &self,
        id: &str,
        owner: UserId,
        actor: UserId,
        origin: &Origin,
    ) -> Result<ApiKey> {
        let key = self.store.begin_revocation(id, owner, self.clock.now()).await?;
        let key = key.ok_or(ApiKeyError::NotFound)?;
        self.revocations.revoke(&[key.sid()]).await?;
        if !self.store.delete(&key.id).await? {
            // The same request, sent twice: the other one has done it.
            return Err(ApiKeyError::NotFound.into());
        }
        self.record("api_key_revoked", &key, actor, origin).await;
        Ok(key)
    }

    /// What the key with this hash is good for, if it is good for anything. The key is read before its owner: see
    /// [`ApiKeyStore::renew_epochs`].
    pub(crate) async fn verify(&self, key_hash: &str) -> Result<Option<ApiKeyGrant>> {
        if !is_key_hash(key_hash) {
            return Err(Error::invalid("hash", "must be 64 lower-case hex digits"));
        }
        let now = self.clock.now();
        let Some(key) = self.store.find_by_hash(key_hash).await? else {
            return Ok(None);
        };
        if key.is_expired(now) {
            return Ok(None);
        }
        let owner = self.users.find(key.user_id).await?;
        let Some(owner) = owner.filter(|owner| self.admits(owner)) else {
            return Ok(None);
        };
        self.store.touch(&key, now).await?;
        Ok(Some(grant_of(key, owner)))
    }

    /// Whether the keys of this person are good for anything.
    fn admits(&self, owner: &User) -> bool {
        !owner.must_change_password && self.settings.sign_in_rule().opens(owner)
    }

    async fn record(&self, action: &'static str, key: &ApiKey, actor: UserId, origin: &Origin) {
        let scopes: Vec<_> = key.terms.scopes.iter().map(|scope| scope.as_str()).collect();
        let scopes = scopes.join(" ");
        let details = [
            ("key", key.id.as_str()),
            ("prefix", key.prefix.as_str()),
            ("scopes", scopes.as_str()),
        ];
        let event = AuditEvent {
            action,
            outcome: "ok",
            actor: Some(actor),
            subject: Some(key.user_id),
            session_id: None,
            origin: Some(origin),
        };
        self.audit.record_with(event, &details, self.clock.now()).await;
    }
}

fn grant_of(key: ApiKey, owner: User) -> ApiKeyGrant {
    ApiKeyGrant {
        sid: key.sid(),
        role: key.role(owner.role),
        scopes: key.scopes(owner.role),
        user_id: owner.id.to_string(),
        username: owner.username,
        email: owner.email,
        id: key.id,
        chatflows: key.terms.chatflows,
        credit_cap: key.terms.credit_cap,
        rate: key.terms.rate,
        expires_at: key.terms.expires_at.map(|end| end.timestamp()),
    }
}
