//! What was said in chat sessions. The collection `chat_messages`.

mod ratings;

use std::collections::HashMap;

use bson::{Bson, Document, doc, oid::ObjectId};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{Stream, TryStreamExt as _};
use mongodb::{Collection, Database};
use serde::Deserialize;

use super::{
    Result,
    indexes::ensure_index,
    writer::{Change, WriteError, Writer},
};

pub(crate) use self::ratings::{Listed, Rated, Rating, RatingChange};
use crate::domain::visitor::{TALKERS_END, TALKERS_FIRST};
use crate::domain::{
    page::{Cursor, TimedPage},
    turn::first_message_of,
};

const COLLECTION: &str = "chat_messages";

/// Messages of one session in one list.
const LISTED_MAX: i64 = 10_000;

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) chatflow_id: String,
    pub(crate) role: String,
    pub(crate) content: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) session_id: String,
    pub(crate) file_ids: Option<Vec<String>>,
}

impl Message {
    /// Its place in a list.
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor {
            at: self.created_at,
            // It was one when it was read.
            id: ObjectId::parse_str(&self.id).unwrap_or_default(),
        }
    }
}

/// How far the turn of a question has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuestionStatus {
    /// The answer is being waited for.
    Pending,
    /// The answer is whole.
    Answered,
    /// There is no answer, or a part of one.
    Failed,
    /// The person stopped the answer.
    Stopped,
}

impl QuestionStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }
}

/// Whose message it is, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) turn: &'a str,
    pub(crate) user: &'a str,
    pub(crate) chatflow: &'a str,
    pub(crate) session: &'a str,
}

#[derive(Deserialize)]
struct MessageRow {
    #[serde(rename = "_id")]
    id: ObjectId,
    role: String,
    content: String,
    created_at: bson::DateTime,
    session_id: String,
    file_ids: Option<Vec<String>>,
    chatflow_id: Option<String>,
}

#[derive(Deserialize)]
struct FirstRow {
    #[serde(rename = "_id")]
    session_id: String,
    content: String,
}

impl From<MessageRow> for Message {
    fn from(row: MessageRow) -> Self {
        Self {
            id: row.id.to_hex(),
            chatflow_id: row.chatflow_id.unwrap_or_default(),
            role: row.role,
            content: row.content,
            created_at: row.created_at.to_chrono(),
            session_id: row.session_id,
            file_ids: row.file_ids,
        }
    }
}

/// Chat messages.
#[derive(Clone, Debug)]
pub(crate) struct MessageStore {
    messages: Collection<Document>,
    writer: Writer,
}

impl MessageStore {
    /// Opens the collection and makes sure of its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let messages = database.collection(COLLECTION);
        ensure_index(&messages, doc! { "user_id": 1, "session_id": 1, "created_at": 1 }).await?;
        ensure_index(&messages, doc! { "user_id": 1, "created_at": -1, "_id": -1 }).await?;
        Ok(Self {
            messages,
            writer: Writer::open(database, COLLECTION),
        })
    }

    /// Writes a question whose answer is being waited for.
    pub(crate) async fn insert_question(
        &self,
        id: ObjectId,
        place: Place<'_>,
        question: &str,
        file_ids: &[String],
        now: DateTime<Utc>,
    ) -> Result<(), WriteError> {
        let mut document = message(place, "user", question, now);
        document.insert("status", QuestionStatus::Pending.as_str());
        if !file_ids.is_empty() {
            document.insert("file_ids", file_ids);
            document.insert("has_files", true);
        }
        self.writer.write(Change::insert(id, document)).await
    }

    /// Says what became of a question.
    pub(crate) async fn update_question(
        &self,
        id: ObjectId,
        status: QuestionStatus,
    ) -> Result<(), WriteError> {
        let update = doc! { "$set": { "status": status.as_str() } };
        self.writer
            .write(Change::update(doc! { "_id": id }, update))
            .await
    }

    /// What `role` said in a turn, if it was stored.
    pub(crate) async fn find_said(&self, place: Place<'_>, role: &str) -> Result<Option<Message>> {
        let filter = doc! {
            "user_id": place.user, "session_id": place.session, "turn_id": place.turn, "role": role,
        };
        let messages = self.messages.clone_with_type::<MessageRow>();
        let said = messages.find_one(filter).projection(doc! { "metadata": 0 });
        Ok(said.await?.map(Message::from))
    }

    /// Whether the question of a turn still waits for its answer.
    pub(crate) async fn has_pending_question(&self, place: Place<'_>) -> Result<bool> {
        Ok(self.messages.find_one(pending_question(place)).await?.is_some())
    }

    /// Says of the question of a turn that died that it has no whole answer.
    pub(crate) async fn fail_question(&self, place: Place<'_>) -> Result<()> {
        let update = doc! { "$set": { "status": QuestionStatus::Failed.as_str() } };
        self.messages.update_many(pending_question(place), update).await?;
        Ok(())
    }

    /// Writes an answer with the events that came beside its text (a JSON array). `asked_at` is when the question was
    /// written: an answer is always later, also one that came within the same millisecond.
    pub(crate) async fn insert_answer(
        &self,
        place: Place<'_>,
        content: &str,
        notes: &str,
        asked_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<(), WriteError> {
        let id = ObjectId::new();
        let answered_at = now.max(asked_at + TimeDelta::milliseconds(1));
        let mut document = message(place, "assistant", content, answered_at);
        let notes = notes_to_bson(notes);
        if let Some(upstream_id) = ratings::upstream_id(&notes) {
            document.insert("upstream_id", upstream_id);
        }
        document.insert("metadata", notes);
        match self.writer.write(Change::insert(id, document)).await {
            Err(WriteError::Refused(code)) => {
                // Flowise's JSON may be what the database does not take (nested too deeply, odd names); the answer
                // itself always is.
                tracing::warn!(code, "the events beside an answer could not be stored");
                let document = message(place, "assistant", content, answered_at);
                self.writer.write(Change::insert(id, document)).await
            }
            outcome => outcome,
        }
    }

    /// The messages of one session of the person, oldest first.
    pub(crate) async fn list(&self, user_id: &str, session_id: &str) -> Result<Vec<Message>> {
        let messages = self.messages.clone_with_type::<MessageRow>();
        let rows = messages.find(doc! { "user_id": user_id, "session_id": session_id });
        let rows = rows.projection(doc! { "metadata": 0 });
        let rows = rows
            .sort(doc! { "created_at": 1, "_id": 1 })
            .limit(LISTED_MAX)
            .await?;
        rows.map_ok(Message::from).try_collect().await
    }

    /// One page of a session of the person, oldest first, with the next page's beginning.
    pub(crate) async fn list_page(
        &self,
        user_id: &str,
        session_id: &str,
        page: TimedPage,
    ) -> Result<(Vec<Message>, Option<Cursor>)> {
        let mut filter = doc! { "user_id": user_id, "session_id": session_id };
        if let Some(after) = page.after {
            filter.extend(beyond("$gt", after));
        }
        let messages = self.messages.clone_with_type::<MessageRow>();
        let rows = messages
            .find(filter)
            .projection(doc! { "metadata": 0 })
            .sort(doc! { "created_at": 1, "_id": 1 })
            .limit(page.one_more())
            .await?;
        let messages = rows.map_ok(Message::from).try_collect().await?;
        Ok(page.cut(messages, Message::cursor))
    }

    /// So many messages of a session from number `offset` on, oldest first, and how many it has.
    pub(crate) async fn list_from(
        &self,
        user_id: &str,
        session_id: &str,
        offset: u64,
        limit: i64,
    ) -> Result<(Vec<Message>, u64)> {
        let filter = doc! { "user_id": user_id, "session_id": session_id };
        let messages = self.messages.clone_with_type::<MessageRow>();
        let rows = messages
            .find(filter.clone())
            .projection(doc! { "metadata": 0 })
            .sort(doc! { "created_at": 1, "_id": 1 })
            .skip(offset)
            .limit(limit)
            .await?;
        let page = rows.map_ok(Message::from).try_collect().await?;
        Ok((page, self.messages.count_documents(filter).await?))
    }

    /// Messages of visitors that were written since a moment.
    pub(crate) async fn count_of_visitors(&self, since: DateTime<Utc>) -> Result<u64> {
        let of_visitors = doc! { "$gte": TALKERS_FIRST, "$lt": TALKERS_END };
        let since = doc! { "$gte": bson::DateTime::from_chrono(since) };
        let filter = doc! { "user_id": of_visitors, "created_at": since };
        self.messages.count_documents(filter).await
    }

    /// The person's messages from one place back, newest first, as they are read.
    pub(crate) async fn stream_back(
        &self,
        user_id: &str,
        chatflow_id: Option<&str>,
        before: Option<Cursor>,
    ) -> Result<impl Stream<Item = Result<Message>> + use<>> {
        let mut filter = doc! { "user_id": user_id };
        if let Some(chatflow_id) = chatflow_id {
            filter.insert("chatflow_id", chatflow_id);
        }
        if let Some(before) = before {
            filter.extend(beyond("$lt", before));
        }
        let messages = self.messages.clone_with_type::<MessageRow>();
        let rows = messages
            .find(filter)
            .projection(doc! { "metadata": 0 })
            .sort(doc! { "created_at": -1, "_id": -1 });
        Ok(rows.await?.map_ok(Message::from))
    }

    /// When the last message of a session of the person was written.
    pub(crate) async fn find_newest(&self, user_id: &str, session_id: &str) -> Result<Option<DateTime<Utc>>> {
        let messages = self.messages.clone_with_type::<MessageRow>();
        let newest = messages
            .find_one(doc! { "user_id": user_id, "session_id": session_id })
            .projection(doc! { "metadata": 0 })
            .sort(doc! { "created_at": -1 });
        Ok(newest.await?.map(|message| message.created_at.to_chrono()))
    }

    /// All of the person's messages, conversation by conversation, as they are read.
    pub(crate) async fn stream_of(
        &self,
        user_id: &str,
    ) -> Result<impl Stream<Item = Result<Message>> + use<>> {
        let messages = self.messages.clone_with_type::<MessageRow>();
        let rows = messages
            .find(doc! { "user_id": user_id })
            .projection(doc! { "metadata": 0 });
        let rows = rows.sort(doc! { "session_id": 1, "created_at": 1 }).await?;
        Ok(rows.map_ok(Message::from))
    }

    /// The first question in each of these sessions of the person.
    pub(crate) async fn list_first_questions(
        &self,
        user_id: &str,
        session_ids: &[&str],
    ) -> Result<HashMap<String, String>> {
        let questions = doc! { "user_id": user_id, "session_id": { "$in": session_ids }, "role": "user" };
        let pipeline = [
            doc! { "$match": questions },
            doc! { "$sort": { "session_id": 1, "created_at": 1, "_id": 1 } },
            doc! { "$group": { "_id": "$session_id", "content": { "$first": "$content" } } },
        ];
        let rows = self.messages.aggregate(pipeline).with_type::<FirstRow>().await?;
        rows.map_ok(|row| (row.session_id, first_message_of(&row.content)))
            .try_collect()
            .await
    }

    /// Deletes all messages of somebody who is gone and says how many there were.
    pub(crate) async fn delete_of(&self, user_id: &str) -> Result<u64> {
        let filter = doc! { "user_id": user_id };
        Ok(self.messages.delete_many(filter).await?.deleted_count)
    }

    /// Deletes the person's messages in these sessions and says how many there were.
    pub(crate) async fn delete(&self, user_id: &str, session_ids: &[String]) -> Result<u64> {
        let filter = doc! { "user_id": user_id, "session_id": { "$in": session_ids } };
        Ok(self.messages.delete_many(filter).await?.deleted_count)
    }
}

/// What comes before or after a place in a list that is ordered by time.
pub(super) fn beyond(operator: &str, place: Cursor) -> Document {
    let at = bson::DateTime::from_chrono(place.at);
    doc! { "$or": [
        { "created_at": { operator: at } },
        { "created_at": at, "_id": { operator: place.id } },
    ] }
}

fn pending_question(place: Place<'_>) -> Document {
    doc! {
        "user_id": place.user,
        "session_id": place.session,
        "turn_id": place.turn,
        "status": QuestionStatus::Pending.as_str(),
    }
}

fn message(place: Place<'_>, role: &str, content: &str, now: DateTime<Utc>) -> Document {
    doc! {
        "chatflow_id": place.chatflow,
        "session_id": place.session,
        "user_id": place.user,
        "turn_id": place.turn,
        "role": role,
        "content": content,
        "metadata": Bson::Null,
        "file_ids": Bson::Null,
        "has_files": false,
        "created_at": bson::DateTime::from_chrono(now),
    }
}

fn notes_to_bson(notes: &str) -> Bson {
    let value: Option<serde_json::Value> = serde_json::from_str(notes).ok();
    let bson = value.and_then(|value| bson::serialize_to_bson(&value).ok());
    bson.unwrap_or(Bson::Null)
}
