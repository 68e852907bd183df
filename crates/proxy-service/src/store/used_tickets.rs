//! Page tickets that were used: the collection `used_page_tickets`. Each is there until it would have run out anyway.

use std::time::Duration;

use bson::{Document, doc};
use chrono::{DateTime, Utc};
use mongodb::{Collection, Database, IndexModel, options::IndexOptions};

use super::{Result, indexes::is_duplicate_key};

const COLLECTION: &str = "used_page_tickets";

/// Tickets that are good no more.
#[derive(Clone, Debug)]
pub(crate) struct UsedTicketStore {
    documents: Collection<Document>,
}

impl UsedTicketStore {
    /// Opens the collection and makes sure of its index.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let documents = database.collection(COLLECTION);
        let expiry = IndexOptions::builder().expire_after(Duration::ZERO).build();
        let expiry = IndexModel::builder()
            .keys(doc! { "expires_at": 1 })
            .options(expiry);
        documents.create_index(expiry.build()).await?;
        Ok(Self { documents })
    }

    /// Notes that a ticket is used; `false` when it was before.
    pub(crate) async fn insert(&self, id: &str, expires_at: DateTime<Utc>) -> Result<bool> {
        let document = doc! { "_id": id, "expires_at": bson::DateTime::from_chrono(expires_at) };
        match self.documents.insert_one(document).await {
            Ok(_) => Ok(true),
            Err(error) if is_duplicate_key(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
