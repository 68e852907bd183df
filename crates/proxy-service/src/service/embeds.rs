//! Embeds: administrators make them, pages and visitors read them.
//!
//! What is read is remembered for a moment, so short that a change on another replica acts within five seconds; one on
//! this replica acts at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::TimeDelta;
use common_http::{Caller, Clock};
use moka::future::Cache;
use secrecy::SecretString;

use super::people::People;
use crate::{
    config::WidgetConfig,
    domain::{
        embed::{
            Backend, Budget, Circumstances, DEFAULT_ID, Embed, EmbedChange, LANGUAGE_DEFAULT, MessageLimits,
            RotatedKey, embed_id,
        },
        origin::Origin,
        person::Who,
    },
    error::{Error, Result},
    store::embeds::{EmbedStore, EmbedStoreError, IdTaken},
};

/// How long an embed is remembered.
const TTL: Duration = Duration::from_secs(4);

/// Embeds there may be; the list of all of them is held in memory.
const EMBEDS_MAX: i64 = 1_000;

/// Names that nobody has are remembered too, and anybody may ask for them.
const REMEMBERED_MAX: u64 = 4_000;

/// Tries to write a change while others write theirs.
const TRIES: usize = 4;

/// Makes, changes and finds embeds.
#[derive(Clone)]
pub(crate) struct Embeds {
    store: EmbedStore,
    people: People,
    configured: Option<Arc<Embed>>,
    n8n_origins: Arc<[Origin]>,
    key_overlap: TimeDelta,
    clock: Clock,
    found: Cache<(u64, String), Option<Arc<Embed>>>,
    all: Cache<u64, Arc<[Arc<Embed>]>>,
    /// Makes everything found before a change unfindable.
    epoch: Arc<AtomicU64>,
}

/// What a new embed begins with.
#[derive(Debug)]
pub(crate) struct NewEmbed {
    pub(crate) id: Option<String>,
    pub(crate) change: EmbedChange,
}

impl Embeds {
    /// Embeds of this store, and the one that the configuration describes.
    pub(crate) fn new(store: EmbedStore, people: People, config: &WidgetConfig, clock: Clock) -> Self {
        Self {
            store,
            people,
            configured: config.default_embed.clone().map(Arc::new),
            n8n_origins: config.n8n_origins.clone().into(),
            key_overlap: TimeDelta::from_std(config.key_overlap).unwrap_or_default(),
            clock,
            found: Cache::builder()
                .max_capacity(REMEMBERED_MAX)
                .time_to_live(TTL)
                .build(),
            all: Cache::builder().max_capacity(4).time_to_live(TTL).build(),
            epoch: Arc::default(),
        }
    }

    /// The embed of this id.
    pub(crate) async fn get(&self, id: &str) -> Result<Arc<Embed>> {
        if let Some(configured) = self.configured.as_ref().filter(|embed| embed.id == id) {
            return Ok(configured.clone());
        }
        let id = embed_id(id).or(Err(Error::EmbedNotFound))?;
        let key = (self.epoch.load(Ordering::Acquire), id.clone());
        let found = self.found.try_get_with(key, async {
            let found = self.store.find(&id).await;
            found.map(|embed| embed.map(Arc::new))
        });
        found.await.map_err(Error::Embeds)?.ok_or(Error::EmbedNotFound)
    }

    /// The embed `default`.
    pub(crate) async fn default(&self) -> Result<Arc<Embed>> {
        self.get(DEFAULT_ID).await
    }

    /// The embed that a page or a visitor names, else the default one, if it answers at all.
    pub(crate) async fn open(&self, id: Option<&str>) -> Result<Arc<Embed>> {
        let embed = match id {
            Some(id) => self.get(id).await?,
            None => self.default().await?,
        };
        if embed.is_active {
            Ok(embed)
        } else {
            Err(Error::EmbedNotFound)
        }
    }

    /// All of them, by id.
    pub(crate) async fn list(&self) -> Result<Arc<[Arc<Embed>]>> {
        let key = self.epoch.load(Ordering::Acquire);
        let all = self.all.try_get_with(key, async {
            let stored = self.store.list(EMBEDS_MAX).await?;
            let mut all: Vec<_> = stored.into_iter().map(Arc::new).collect();
            if let Some(configured) = &self.configured {
                all.retain(|embed| embed.id != configured.id);
                all.insert(0, configured.clone());
            }
            Ok::<_, EmbedStoreError>(Arc::from(all))
        });
        all.await.map_err(Error::Embeds)
    }

    /// Whether pages of this origin may show any embed.
    pub(crate) async fn is_known_origin(&self, origin: &Origin) -> Result<bool> {
        let all = self.list().await?;
        Ok(all.iter().any(|embed| embed.is_active && embed.allows(origin)))
    }

    /// Makes an embed. Its owner must be somebody that auth-service knows.
    pub(crate) async fn create(&self, admin: &Caller, new: NewEmbed) -> Result<Arc<Embed>> {
        let now = self.clock.now();
        let id = new.id.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let id = embed_id(&id)?;
        if self
            .configured
            .as_ref()
            .is_some_and(|configured| configured.id == id)
        {
            return Err(Error::EmbedIdTaken);
        }
        for (field, is_missing) in [
            ("name", new.change.name.is_none()),
            ("owner_id", new.change.owner_id.is_none()),
            ("backend", new.change.backend.is_none()),
        ] {
            if is_missing {
                return Err(Error::invalid(field, "is required"));
            }
        }
        let blank = Embed {
            id,
            name: String::new(),
            owner_id: String::new(),
            allowed_origins: Vec::new(),
            backend: Backend::Flowise {
                chatflow_id: String::new(),
            },
            price: 1,
            limits: MessageLimits {
                per_minute: Some(1_000),
                ..MessageLimits::default()
            },
            budget: Budget::default(),
            theme: [].into(),
            texts: [].into(),
            languages: vec![LANGUAGE_DEFAULT.to_owned()],
            requires_ticket: true,
            is_active: true,
            app_key: RotatedKey::default(),
            is_configured: false,
            created_at: now,
            updated_at: now,
        };
        let embed = new.change.apply(&blank, self.around())?;
        self.check_owner(admin, &embed.owner_id).await?;
        if self.store.count().await? >= EMBEDS_MAX.unsigned_abs() {
            return Err(Error::invalid(
                "id",
                format!("there may be at most {EMBEDS_MAX} embeds"),
            ));
        }
        let inserted = self.store.insert(&embed).await?;
        inserted.map_err(|IdTaken| Error::EmbedIdTaken)?;
        self.forget();
        Ok(Arc::new(embed))
    }

    /// Changes an embed.
    pub(crate) async fn update(&self, admin: &Caller, id: &str, change: EmbedChange) -> Result<Arc<Embed>> {
        let before = self.stored(id).await?;
        let embed = change.apply(&before, self.around())?;
        if embed.owner_id != before.owner_id {
            self.check_owner(admin, &embed.owner_id).await?;
        }
        self.write(&before, embed).await
    }

    /// Gives an embed a new key for apps, and returns it this once. The one before stays good for a while.
    pub(crate) async fn rotate_app_key(&self, id: &str) -> Result<(Arc<Embed>, SecretString)> {
        for _ in 0..TRIES {
            let before = self.stored(id).await?;
            let now = self.clock.now();
            let key = new_app_key();
            let mut embed = before.clone();
            embed.app_key.rotate(&key, now + self.key_overlap);
            embed.updated_at = now;
            match self.write(&before, embed).await {
                Err(Error::EmbedChanged) => {}
                written => return Ok((written?, SecretString::from(key))),
            }
        }
        Err(Error::EmbedChanged)
    }

    /// Removes an embed. Its visitors' sessions end with it: nothing is found behind them.
    pub(crate) async fn delete(&self, id: &str) -> Result<()> {
        let embed = self.stored(id).await?;
        self.store.delete(&embed.id).await?;
        self.forget();
        Ok(())
    }

    async fn write(&self, before: &Embed, embed: Embed) -> Result<Arc<Embed>> {
        let mut embed = embed;
        // Two changes in one millisecond are two.
        embed.updated_at = embed
            .updated_at
            .max(before.updated_at + TimeDelta::milliseconds(1));
        if !self.store.replace(&embed, before.updated_at).await? {
            return Err(Error::EmbedChanged);
        }
        self.forget();
        Ok(Arc::new(embed))
    }

    /// As the database has it now, if it is not the operator's.
    async fn stored(&self, id: &str) -> Result<Embed> {
        if self
            .configured
            .as_ref()
            .is_some_and(|configured| configured.id == id)
        {
            return Err(Error::EmbedConfigured);
        }
        let id = embed_id(id).or(Err(Error::EmbedNotFound))?;
        self.store.find(&id).await?.ok_or(Error::EmbedNotFound)
    }

    async fn check_owner(&self, admin: &Caller, owner_id: &str) -> Result<()> {
        self.people
            .sync(admin, &Who::Id(owner_id.to_owned()))
            .await
            .map(drop)
    }

    fn around(&self) -> Circumstances<'_> {
        Circumstances {
            n8n_origins: &self.n8n_origins,
            key_overlap: self.key_overlap,
            now: self.clock.now(),
        }
    }

    fn forget(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

/// A key with 244 random bits, and a beginning by which it is known when it is found where it should not be.
fn new_app_key() -> String {
    let random = || uuid::Uuid::new_v4().simple().to_string();
    format!("fgembed_{}{}", random(), random())
}
