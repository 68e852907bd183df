//! Sessions of visitors: the collection `visitor_sessions`.

use std::time::Duration;

use bson::{Document, doc};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database, IndexModel, options::IndexOptions};
use serde::Deserialize;

use super::{Result, indexes::ensure_index};
use crate::domain::{
    origin::Origin,
    visitor::{Entry, Visitor},
};

const COLLECTION: &str = "visitor_sessions";

/// A row whose conversations could not be removed goes by itself after this long.
const KEPT_AT_MOST: Duration = Duration::from_hours(7 * 24);

/// Sessions. The secret of a cookie is kept as its hash.
#[derive(Clone, Debug)]
pub(crate) struct VisitorStore {
    documents: Collection<Document>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "_id")]
    id: String,
    embed_id: String,
    entry: String,
    site: Option<String>,
    page_url: Option<String>,
    fingerprint: String,
    message_count: i64,
    created_at: bson::DateTime,
    expires_at: bson::DateTime,
}

#[derive(Deserialize)]
struct IdRow {
    #[serde(rename = "_id")]
    id: String,
}

impl VisitorStore {
    /// Opens the collection and makes sure of its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let documents = database.collection(COLLECTION);
        let unique = IndexOptions::builder().unique(true).build();
        let by_secret = IndexModel::builder()
            .keys(doc! { "secret_hash": 1 })
            .options(unique);
        let expiry = IndexOptions::builder().expire_after(KEPT_AT_MOST).build();
        let expiry = IndexModel::builder()
            .keys(doc! { "expires_at": 1 })
            .options(expiry);
        documents
            .create_indexes([by_secret.build(), expiry.build()])
            .await?;
        ensure_index(&documents, doc! { "embed_id": 1, "expires_at": 1 }).await?;
        Ok(Self { documents })
    }

    /// Writes a new session.
    pub(crate) async fn insert(&self, visitor: &Visitor, secret_hash: &str) -> Result<()> {
        let document = doc! {
            "_id": &visitor.session_id,
            "secret_hash": secret_hash,
            "embed_id": &visitor.embed_id,
            "entry": visitor.entry.kind(),
            "site": visitor.entry.site().map(Origin::as_str),
            "page_url": &visitor.page_url,
            "fingerprint": &visitor.fingerprint,
            "message_count": visitor.message_count,
            "created_at": bson::DateTime::from_chrono(visitor.created_at),
            "expires_at": bson::DateTime::from_chrono(visitor.expires_at),
        };
        self.documents.insert_one(document).await.map(drop)
    }

    /// The session of a cookie, unless it is over.
    pub(crate) async fn find_by_secret(
        &self,
        secret_hash: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<Visitor>> {
        self.find_where(doc! { "secret_hash": secret_hash, "expires_at": after(now) })
            .await
    }

    /// The session of an id, unless it is over.
    pub(crate) async fn find(&self, session_id: &str, now: DateTime<Utc>) -> Result<Option<Visitor>> {
        self.find_where(doc! { "_id": session_id, "expires_at": after(now) })
            .await
    }

    async fn find_where(&self, filter: Document) -> Result<Option<Visitor>> {
        let rows = self.documents.clone_with_type::<Row>();
        let row = rows.find_one(filter).await?;
        Ok(row.and_then(Row::into_visitor))
    }

    /// Lets a session last until `expires_at`, and counts `messages` more; `false` when it is over.
    pub(crate) async fn prolong(
        &self,
        session_id: &str,
        messages: i64,
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let filter = doc! { "_id": session_id, "expires_at": after(now) };
        let update = doc! {
            "$inc": { "message_count": messages },
            "$max": { "expires_at": bson::DateTime::from_chrono(expires_at) },
        };
        Ok(self.documents.update_one(filter, update).await?.matched_count > 0)
    }

    /// Ends a session; what was said in it is removed by whoever finds it over.
    pub(crate) async fn end(&self, session_id: &str, now: DateTime<Utc>) -> Result<()> {
        let update = doc! { "$set": { "expires_at": bson::DateTime::from_chrono(now) } };
        self.documents
            .update_one(doc! { "_id": session_id }, update)
            .await
            .map(drop)
    }

    /// Removes a session that is over.
    pub(crate) async fn delete(&self, session_id: &str) -> Result<()> {
        self.documents
            .delete_one(doc! { "_id": session_id })
            .await
            .map(drop)
    }

    /// Some of the sessions that are over.
    pub(crate) async fn list_over(&self, now: DateTime<Utc>, limit: i64) -> Result<Vec<String>> {
        let rows = self.documents.clone_with_type::<IdRow>();
        let over = doc! { "expires_at": { "$lte": bson::DateTime::from_chrono(now) } };
        let rows = rows.find(over).projection(doc! { "_id": 1 }).limit(limit).await?;
        rows.map_ok(|row| row.id).try_collect().await
    }

    /// Sessions that are not over, of one embed or of all.
    pub(crate) async fn count(&self, embed_id: Option<&str>, now: DateTime<Utc>) -> Result<u64> {
        let mut filter = doc! { "expires_at": after(now) };
        if let Some(embed_id) = embed_id {
            filter.insert("embed_id", embed_id);
        }
        self.documents.count_documents(filter).await
    }
}

fn after(now: DateTime<Utc>) -> Document {
    doc! { "$gt": bson::DateTime::from_chrono(now) }
}

impl Row {
    /// A row that cannot be read is no session: its visitor begins another one.
    fn into_visitor(self) -> Option<Visitor> {
        let site = self.site.as_deref().map(Origin::parse).transpose().ok()?;
        let entry = match (self.entry.as_str(), site) {
            ("page", parent) => Entry::Page { parent },
            ("site", Some(origin)) => Entry::Site(origin),
            ("app", _) => Entry::App,
            _ => return None,
        };
        Some(Visitor {
            session_id: self.id,
            embed_id: self.embed_id,
            entry,
            page_url: self.page_url,
            fingerprint: self.fingerprint,
            message_count: self.message_count,
            created_at: self.created_at.to_chrono(),
            expires_at: self.expires_at.to_chrono(),
        })
    }
}
