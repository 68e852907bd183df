//! Embeds: the collection `embeds`.

use std::collections::BTreeMap;

use bson::{Document, doc};
use chrono::{DateTime, Utc};
use common_sealing::{Sealing, SealingFailed, Unopened};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database, error::Error};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::indexes::is_duplicate_key;
use crate::domain::{
    embed::{Backend, Budget, Embed, MessageLimits, RotatedKey, Texts, Webhook},
    origin::OriginPattern,
};

const COLLECTION: &str = "embeds";

/// Embeds, with their secrets sealed.
#[derive(Clone, Debug)]
pub(crate) struct EmbedStore {
    documents: Collection<Document>,
    sealing: Sealing,
}

/// Why an embed cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EmbedStoreError {
    /// The database.
    #[error("the database failed")]
    Database(#[from] Error),
    /// A key of an embed cannot be opened.
    #[error("a key of an embed cannot be opened")]
    Unopened(#[from] Unopened),
    /// A key could not be sealed.
    #[error("a key of an embed could not be sealed")]
    Sealing(#[from] SealingFailed),
    /// What stands in the database is no embed.
    #[error("the embed {0} in the database is damaged")]
    Damaged(String),
}

/// What a store of embeds returns.
type Result<T, E = EmbedStoreError> = std::result::Result<T, E>;

/// Another embed has this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdTaken;

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    owner_id: String,
    allowed_origins: Vec<String>,
    backend: BackendRow,
    price: i64,
    limits: LimitsRow,
    budget: BudgetRow,
    theme: BTreeMap<String, String>,
    texts: BTreeMap<String, Texts>,
    languages: Vec<String>,
    requires_ticket: bool,
    is_active: bool,
    app_key: AppKeyRow,
    created_at: bson::DateTime,
    updated_at: bson::DateTime,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum BackendRow {
    N8n {
        webhook_url: String,
        shown_nodes: Vec<String>,
        api_key: Option<String>,
        previous_api_key: Option<String>,
        previous_until: Option<bson::DateTime>,
    },
    Flowise {
        chatflow_id: String,
    },
}

#[derive(Deserialize)]
struct LimitsRow {
    #[serde(rename = "per_minute")]
    minute: Option<i64>,
    #[serde(rename = "per_hour")]
    hour: Option<i64>,
    #[serde(rename = "per_day")]
    day: Option<i64>,
}

#[derive(Deserialize)]
struct BudgetRow {
    per_day: Option<i64>,
    per_month: Option<i64>,
}

#[derive(Deserialize)]
struct AppKeyRow {
    current: Option<String>,
    previous: Option<String>,
    previous_until: Option<bson::DateTime>,
}

impl EmbedStore {
    /// Opens the collection.
    pub(crate) fn open(database: &Database, sealing: Sealing) -> Self {
        Self {
            documents: database.collection(COLLECTION),
            sealing,
        }
    }

    /// All of them by id, at most `limit`.
    pub(crate) async fn list(&self, limit: i64) -> Result<Vec<Embed>> {
        let rows = self.documents.clone_with_type::<Row>();
        let rows = rows.find(doc! {}).sort(doc! { "_id": 1 }).limit(limit).await?;
        let rows: Vec<Row> = rows.try_collect().await?;
        rows.into_iter().map(|row| self.read(row)).collect()
    }

    /// How many there are.
    pub(crate) async fn count(&self) -> Result<u64> {
        Ok(self.documents.count_documents(doc! {}).await?)
    }

    /// One of them.
    pub(crate) async fn find(&self, id: &str) -> Result<Option<Embed>> {
        let rows = self.documents.clone_with_type::<Row>();
        let row = rows.find_one(doc! { "_id": id }).await?;
        row.map(|row| self.read(row)).transpose()
    }

    /// Writes a new one.
    pub(crate) async fn insert(&self, embed: &Embed) -> Result<Result<(), IdTaken>> {
        let document = self.document(embed)?;
        match self.documents.insert_one(document).await {
            Ok(_) => Ok(Ok(())),
            Err(error) if is_duplicate_key(&error) => Ok(Err(IdTaken)),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a changed one, unless it has changed since `read_at`; says whether it did.
    pub(crate) async fn replace(&self, embed: &Embed, read_at: DateTime<Utc>) -> Result<bool> {
        let filter = doc! { "_id": &embed.id, "updated_at": bson::DateTime::from_chrono(read_at) };
        let replaced = self.documents.replace_one(filter, self.document(embed)?).await?;
        Ok(replaced.matched_count > 0)
    }

    /// Removes one; says whether it was there.
    pub(crate) async fn delete(&self, id: &str) -> Result<bool> {
        Ok(self.documents.delete_one(doc! { "_id": id }).await?.deleted_count > 0)
    }

    /// Takes somebody who is gone out of what they paid for: nothing answers there any more.
    pub(crate) async fn close_of(&self, owner_id: &str) -> Result<u64> {
        let update = doc! { "$set": { "is_active": false }, "$currentDate": { "updated_at": true } };
        let closed = self
            .documents
            .update_many(doc! { "owner_id": owner_id, "is_active": true }, update);
        Ok(closed.await?.modified_count)
    }

    fn document(&self, embed: &Embed) -> Result<Document> {
        let time = |time: &DateTime<Utc>| bson::DateTime::from_chrono(*time);
        let previous_app_key = embed.app_key.previous.as_ref();
        let origins: Vec<_> = embed
            .allowed_origins
            .iter()
            .map(OriginPattern::to_string)
            .collect();
        let limit = |limit: Option<u32>| limit.map(i64::from);
        let by_language = embed.texts.iter();
        let by_language =
            by_language.map(|(language, texts)| (language.clone(), texts_document(texts).into()));
        let by_language: Document = by_language.collect();
        Ok(doc! {
            "_id": &embed.id,
            "name": &embed.name,
            "owner_id": &embed.owner_id,
            "allowed_origins": origins,
            "backend": self.backend_document(&embed.id, &embed.backend)?,
            "price": embed.price,
            "limits": {
                "per_minute": limit(embed.limits.per_minute),
                "per_hour": limit(embed.limits.per_hour),
                "per_day": limit(embed.limits.per_day),
            },
            "budget": { "per_day": embed.budget.per_day, "per_month": embed.budget.per_month },
            "theme": texts_document(&embed.theme),
            "texts": by_language,
            "languages": &embed.languages,
            "requires_ticket": embed.requires_ticket,
            "is_active": embed.is_active,
            "app_key": {
                "current": &embed.app_key.current,
                "previous": previous_app_key.map(|(hash, _)| hash),
                "previous_until": previous_app_key.map(|(_, until)| time(until)),
            },
            "created_at": time(&embed.created_at),
            "updated_at": time(&embed.updated_at),
        })
    }

    fn backend_document(&self, id: &str, backend: &Backend) -> Result<Document> {
        let seal = |key: &SecretString| self.sealing.seal(&context(id), key.expose_secret().as_bytes());
        let webhook = match backend {
            Backend::Flowise { chatflow_id } => {
                return Ok(doc! { "type": "flowise", "chatflow_id": chatflow_id });
            }
            Backend::N8n(webhook) => webhook,
        };
        let previous = webhook.previous_api_key.as_ref();
        Ok(doc! {
            "type": "n8n",
            "webhook_url": webhook.url.as_str(),
            "shown_nodes": &webhook.shown_nodes,
            "api_key": webhook.api_key.as_ref().map(seal).transpose()?,
            "previous_api_key": previous.map(|(key, _)| seal(key)).transpose()?,
            "previous_until": previous.map(|(_, until)| bson::DateTime::from_chrono(*until)),
        })
    }

    fn read(&self, row: Row) -> Result<Embed> {
        let damaged = || EmbedStoreError::Damaged(row.id.clone());
        let origins = row.allowed_origins.iter().map(|origin| origin.parse());
        let origins = origins.collect::<Result<Vec<OriginPattern>, _>>();
        let limit = |limit: Option<i64>| limit.and_then(|limit| u32::try_from(limit).ok());
        let app_key = RotatedKey {
            current: row.app_key.current,
            previous: row
                .app_key
                .previous
                .zip(row.app_key.previous_until.map(bson::DateTime::to_chrono)),
        };
        let backend = match row.backend {
            BackendRow::Flowise { chatflow_id } => Backend::Flowise { chatflow_id },
            BackendRow::N8n {
                webhook_url,
                shown_nodes,
                api_key,
                previous_api_key,
                previous_until,
            } => {
                let open =
                    |sealed: Option<String>| sealed.map(|sealed| self.open_key(&row.id, &sealed)).transpose();
                Backend::N8n(Webhook {
                    url: webhook_url.parse().or(Err(damaged()))?,
                    shown_nodes,
                    api_key: open(api_key)?,
                    previous_api_key: open(previous_api_key)?
                        .zip(previous_until.map(bson::DateTime::to_chrono)),
                })
            }
        };
        Ok(Embed {
            allowed_origins: origins.or(Err(damaged()))?,
            id: row.id,
            name: row.name,
            owner_id: row.owner_id,
            backend,
            price: row.price,
            limits: MessageLimits {
                per_minute: limit(row.limits.minute),
                per_hour: limit(row.limits.hour),
                per_day: limit(row.limits.day),
            },
            budget: Budget {
                per_day: row.budget.per_day,
                per_month: row.budget.per_month,
            },
            theme: row.theme,
            texts: row.texts,
            languages: row.languages,
            requires_ticket: row.requires_ticket,
            is_active: row.is_active,
            app_key,
            is_configured: false,
            created_at: row.created_at.to_chrono(),
            updated_at: row.updated_at.to_chrono(),
        })
    }

    fn open_key(&self, id: &str, sealed: &str) -> Result<SecretString> {
        let key = self.sealing.open(&context(id), sealed)?;
        let key = String::from_utf8(key.expose_secret().to_vec());
        key.map(SecretString::from)
            .map_err(|_not_text| EmbedStoreError::Damaged(id.to_owned()))
    }
}

fn texts_document(texts: &Texts) -> Document {
    let texts = texts.iter();
    texts
        .map(|(name, text)| (name.clone(), text.as_str().into()))
        .collect()
}

/// What a key is sealed for.
fn context(id: &str) -> String {
    format!("embed:{id}:n8n")
}
