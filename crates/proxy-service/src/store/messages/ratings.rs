//! What people think of the answers they got: kept with the answer, and gone with it.

use bson::{Bson, Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use serde::Deserialize;

use super::{MessageStore, Result};

/// Thumbs up or down, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rated {
    pub(crate) is_good: bool,
    /// In the person's words; empty where they said nothing.
    pub(crate) content: String,
}

/// What of it is to be different.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RatingChange {
    pub(crate) is_good: Option<bool>,
    pub(crate) content: Option<String>,
}

/// The same, noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rating {
    pub(crate) id: String,
    pub(crate) rated: Rated,
    pub(crate) at: DateTime<Utc>,
}

/// A message as clients of Flowise's API list it.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Flowise's id of an answer, where it is known; else ours.
    pub(crate) id: String,
    pub(crate) role: String,
    pub(crate) content: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) session_id: String,
    pub(crate) chatflow_id: String,
}

#[derive(Deserialize)]
struct ListedRow {
    #[serde(rename = "_id")]
    row: ObjectId,
    role: String,
    content: String,
    created_at: bson::DateTime,
    session_id: String,
    chatflow_id: Option<String>,
    upstream_id: Option<String>,
}

impl From<ListedRow> for Listed {
    fn from(row: ListedRow) -> Self {
        Self {
            id: row.upstream_id.unwrap_or_else(|| row.row.to_hex()),
            role: row.role,
            content: row.content,
            created_at: row.created_at.to_chrono(),
            session_id: row.session_id,
            chatflow_id: row.chatflow_id.unwrap_or_default(),
        }
    }
}

impl MessageStore {
    /// The person's messages in a chatflow, in these sessions or in all: so many from number `offset` on.
    pub(crate) async fn list_in(
        &self,
        user_id: &str,
        chatflow_id: &str,
        session_ids: Option<&[String]>,
        newest_first: bool,
        (offset, limit): (u64, i64),
    ) -> Result<Vec<Listed>> {
        let mut filter = doc! { "user_id": user_id, "chatflow_id": chatflow_id };
        if let Some(ids) = session_ids {
            filter.insert("session_id", doc! { "$in": ids });
        }
        let order = if newest_first { -1 } else { 1 };
        let messages = self.messages.clone_with_type::<ListedRow>();
        let rows = messages
            .find(filter)
            .projection(doc! { "metadata": 0 })
            .sort(doc! { "created_at": order, "_id": order })
            .skip(offset)
            .limit(limit)
            .await?;
        rows.map_ok(Listed::from).try_collect().await
    }

    /// Notes what the person thinks of an answer in one of these sessions; `false` when there is none of this id.
    pub(crate) async fn rate(
        &self,
        user_id: &str,
        session_ids: &[String],
        message_id: &str,
        rating: &Rating,
    ) -> Result<bool> {
        let mut named = vec![doc! { "upstream_id": message_id }];
        if let Ok(row) = ObjectId::parse_str(message_id) {
            named.push(doc! { "_id": row });
        }
        let filter = doc! {
            "user_id": user_id,
            "session_id": { "$in": session_ids },
            "role": "assistant",
            "$or": named,
        };
        let set = doc! { "rating": {
            "id": &rating.id,
            "is_good": rating.rated.is_good,
            "content": &rating.rated.content,
            "at": bson::DateTime::from_chrono(rating.at),
        } };
        let updated = self.messages.update_one(filter, doc! { "$set": set }).await?;
        Ok(updated.matched_count > 0)
    }

    /// Changes what the person thinks of an answer; `false` when they did not say anything under this id.
    pub(crate) async fn change_rating(
        &self,
        user_id: &str,
        rating_id: &str,
        change: &RatingChange,
    ) -> Result<bool> {
        // Said again, so that there is always something to set.
        let mut set = doc! { "rating.id": rating_id };
        if let Some(is_good) = change.is_good {
            set.insert("rating.is_good", is_good);
        }
        if let Some(content) = &change.content {
            set.insert("rating.content", content);
        }
        let filter = doc! { "user_id": user_id, "rating.id": rating_id };
        let updated = self.messages.update_one(filter, doc! { "$set": set }).await?;
        Ok(updated.matched_count > 0)
    }
}

/// Flowise's id of the answer whose events these are.
pub(super) fn upstream_id(notes: &Bson) -> Option<&str> {
    let mut events = notes.as_array()?.iter().filter_map(Bson::as_document);
    let is_metadata = |event: &&Document| event.get_str("event").is_ok_and(|name| name == "metadata");
    let data = events.rfind(is_metadata)?.get_document("data").ok()?;
    data.get_str("chatMessageId").ok()
}
