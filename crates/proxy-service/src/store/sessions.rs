//! Chat sessions: whose they are and which chatflow they talk to. The collection `chat_sessions`.

use bson::{Bson, Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt as _};
use mongodb::{Collection, Database, options::ReturnDocument};
use serde::Deserialize;

use super::{
    Result,
    indexes::{ensure_index, ensure_unique_index},
    messages::beyond,
    writer::{Change, WriteError, Writer},
};
use crate::domain::{
    page::{Cursor, TimedPage},
    session_name::SessionName,
    turn::{first_message_of, topic_of},
};

const COLLECTION: &str = "chat_sessions";

/// Sessions in one list, newest first.
const LISTED_MAX: i64 = 10_000;

/// A conversation.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The row's own id.
    pub(crate) row: ObjectId,
    pub(crate) id: String,
    pub(crate) chatflow_id: String,
    pub(crate) topic: Option<String>,
    pub(crate) first_message: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
    /// What a client calls it, where it does.
    pub(crate) name: Option<SessionName>,
}

impl Session {
    /// What a client calls the session and the chat in it.
    pub(crate) fn called(&self) -> (&str, &str) {
        let name = self.name.as_ref();
        name.map_or((&self.id, &self.id), |name| (&name.name, &name.chat_id))
    }
}

/// Which of a person's sessions are listed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted<'a> {
    pub(crate) chatflow_id: Option<&'a str>,
    /// What the topic or the first question says, in whatever case.
    pub(crate) text: Option<&'a str>,
}

/// A session in which nothing is said any more.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Silent {
    #[serde(rename = "session_id")]
    pub(crate) id: String,
    pub(crate) user_id: String,
}

#[derive(Deserialize)]
struct SessionRow {
    #[serde(rename = "_id")]
    row: ObjectId,
    #[serde(rename = "session_id")]
    id: String,
    chatflow_id: String,
    topic: Option<String>,
    first_message: Option<String>,
    created_at: bson::DateTime,
    client_name: Option<String>,
    client_chat_id: Option<String>,
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            row: row.row,
            id: row.id,
            chatflow_id: row.chatflow_id,
            topic: row.topic,
            first_message: row.first_message,
            created_at: row.created_at.to_chrono(),
            name: row
                .client_name
                .zip(row.client_chat_id)
                .map(|(name, chat_id)| SessionName { name, chat_id }),
        }
    }
}

/// Chat sessions.
#[derive(Clone, Debug)]
pub(crate) struct SessionStore {
    sessions: Collection<Document>,
    writer: Writer,
}

impl SessionStore {
    /// Opens the collection and makes sure of its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let sessions = database.collection(COLLECTION);
        ensure_unique_index(&sessions, doc! { "session_id": 1 }, "", doc! { "created_at": 1 }).await?;
        ensure_index(&sessions, doc! { "user_id": 1, "created_at": -1 }).await?;
        ensure_index(&sessions, doc! { "last_activity_at": 1, "created_at": 1 }).await?;
        Ok(Self {
            sessions,
            writer: Writer::open(database, COLLECTION),
        })
    }

    /// Whether this session is this person's and talks to this chatflow.
    pub(crate) async fn exists(&self, session_id: &str, user_id: &str, chatflow_id: &str) -> Result<bool> {
        let filter = doc! { "session_id": session_id, "user_id": user_id, "chatflow_id": chatflow_id };
        let id_only = doc! { "_id": 1 };
        Ok(self
            .sessions
            .find_one(filter)
            .projection(id_only)
            .await?
            .is_some())
    }

    /// Whether this session is this person's.
    pub(crate) async fn is_owned(&self, session_id: &str, user_id: &str) -> Result<bool> {
        let filter = doc! { "session_id": session_id, "user_id": user_id };
        let id_only = doc! { "_id": 1 };
        Ok(self
            .sessions
            .find_one(filter)
            .projection(id_only)
            .await?
            .is_some())
    }

    /// Writes a new session, which begins with `question`.
    pub(crate) async fn insert(
        &self,
        session_id: &str,
        user_id: &str,
        chatflow_id: &str,
        name: Option<&SessionName>,
        question: &str,
        now: DateTime<Utc>,
    ) -> Result<(), WriteError> {
        let mut document = doc! {
            "session_id": session_id,
            "user_id": user_id,
            "chatflow_id": chatflow_id,
            "topic": topic_of(question),
            "first_message": first_message_of(question),
            "is_active": true,
            "created_at": bson::DateTime::from_chrono(now),
            "last_activity_at": bson::DateTime::from_chrono(now),
        };
        if let Some(name) = name {
            document.insert("client_name", &name.name);
            document.insert("client_chat_id", &name.chat_id);
        }
        let change = Change::insert(ObjectId::new(), document);
        self.writer.write(change).await
    }

    /// Notes that something was said in one of the person's sessions.
    pub(crate) async fn touch(
        &self,
        session_id: &str,
        user_id: &str,
        now: DateTime<Utc>,
    ) -> Result<(), WriteError> {
        let filter = doc! { "session_id": session_id, "user_id": user_id };
        let set = doc! { "last_activity_at": bson::DateTime::from_chrono(now) };
        self.writer
            .write(Change::update(filter, doc! { "$set": set }))
            .await
    }

    /// Notes a question in one of the person's sessions. One that was made before anything was said begins with it, and
    /// is called after it unless it has a name. A client that calls the session by a name may call its chat otherwise now.
    pub(crate) async fn go_on(
        &self,
        session_id: &str,
        user_id: &str,
        name: Option<&SessionName>,
        question: &str,
        now: DateTime<Utc>,
    ) -> Result<(), WriteError> {
        let filter = doc! { "session_id": session_id, "user_id": user_id };
        // Sessions of older deployments lack the member altogether, and keep lacking it.
        let unless_null = |member: &str, text: String| {
            let is_null = doc! { "$eq": [{ "$type": member }, "null"] };
            doc! { "$cond": [is_null, { "$literal": text }, member] }
        };
        let mut set = doc! {
            "last_activity_at": bson::DateTime::from_chrono(now),
            "topic": unless_null("$topic", topic_of(question)),
            "first_message": unless_null("$first_message", first_message_of(question)),
        };
        if let Some(name) = name {
            set.insert("client_name", doc! { "$literal": &name.name });
            set.insert("client_chat_id", doc! { "$literal": &name.chat_id });
        }
        let change = Change::compute(filter, doc! { "$set": set });
        self.writer.write(change).await
    }

    /// The person's sessions, newest first.
    pub(crate) async fn list(&self, user_id: &str) -> Result<Vec<Session>> {
        let sessions = self.sessions.clone_with_type::<SessionRow>();
        let rows = sessions.find(doc! { "user_id": user_id });
        let rows = rows
            .sort(doc! { "created_at": -1, "_id": -1 })
            .limit(LISTED_MAX)
            .await?;
        rows.map_ok(Session::from).try_collect().await
    }

    /// One page of the person's sessions, newest first, with the next page's beginning.
    pub(crate) async fn list_page(
        &self,
        user_id: &str,
        wanted: Wanted<'_>,
        page: TimedPage,
    ) -> Result<(Vec<Session>, Option<Cursor>)> {
        let mut all = vec![doc! { "user_id": user_id }];
        if let Some(chatflow_id) = wanted.chatflow_id {
            all.push(doc! { "chatflow_id": chatflow_id });
        }
        if let Some(text) = wanted.text {
            let pattern = doc! { "$regex": escaped(text), "$options": "i" };
            all.push(doc! { "$or": [{ "topic": &pattern }, { "first_message": pattern }] });
        }
        if let Some(after) = page.after {
            all.push(beyond("$lt", after));
        }
        let sessions = self.sessions.clone_with_type::<SessionRow>();
        let rows = sessions
            .find(doc! { "$and": all })
            .sort(doc! { "created_at": -1, "_id": -1 })
            .limit(page.one_more())
            .await?;
        let sessions = rows.map_ok(Session::from).try_collect().await?;
        Ok(page.cut(sessions, |last: &Session| Cursor {
            at: last.created_at,
            id: last.row,
        }))
    }

    /// One of the person's sessions.
    pub(crate) async fn find(&self, session_id: &str, user_id: &str) -> Result<Option<Session>> {
        let sessions = self.sessions.clone_with_type::<SessionRow>();
        let filter = doc! { "session_id": session_id, "user_id": user_id };
        Ok(sessions.find_one(filter).await?.map(Session::from))
    }

    /// The person's sessions with a chatflow whose chat a client calls so, newest first.
    pub(crate) async fn list_of_chat(
        &self,
        user_id: &str,
        chatflow_id: &str,
        chat_id: &str,
        max: i64,
    ) -> Result<Vec<Session>> {
        let own = SessionName::parse(chat_id).and_then(|name| name.own_id());
        let called =
            doc! { "$or": [{ "client_chat_id": chat_id }, { "session_id": own.unwrap_or_default() }] };
        let theirs = doc! { "user_id": user_id, "chatflow_id": chatflow_id };
        let sessions = self.sessions.clone_with_type::<SessionRow>();
        let rows = sessions.find(doc! { "$and": [theirs, called] });
        let rows = rows.sort(doc! { "created_at": -1 }).limit(max).await?;
        rows.map_ok(Session::from).try_collect().await
    }

    /// Those of the person's sessions that have these ids.
    pub(crate) async fn list_named(&self, user_id: &str, session_ids: &[&str]) -> Result<Vec<Session>> {
        let sessions = self.sessions.clone_with_type::<SessionRow>();
        let rows = sessions.find(doc! { "user_id": user_id, "session_id": { "$in": session_ids } });
        rows.await?.map_ok(Session::from).try_collect().await
    }

    /// Writes a session in which nothing was said yet.
    pub(crate) async fn insert_empty(
        &self,
        session_id: &str,
        user_id: &str,
        chatflow_id: &str,
        topic: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<(), WriteError> {
        let now = bson::DateTime::from_chrono(now);
        let document = doc! {
            "session_id": session_id,
            "user_id": user_id,
            "chatflow_id": chatflow_id,
            "topic": topic,
            "first_message": Bson::Null,
            "is_active": true,
            "created_at": now,
            "last_activity_at": now,
        };
        self.writer.write(Change::insert(ObjectId::new(), document)).await
    }

    /// Calls one of the person's sessions something else, and gives it; `None` when there is none.
    pub(crate) async fn rename(
        &self,
        session_id: &str,
        user_id: &str,
        topic: &str,
    ) -> Result<Option<Session>> {
        let sessions = self.sessions.clone_with_type::<SessionRow>();
        let renamed = sessions
            .find_one_and_update(
                doc! { "session_id": session_id, "user_id": user_id },
                doc! { "$set": { "topic": topic } },
            )
            .return_document(ReturnDocument::After);
        Ok(renamed.await?.map(Session::from))
    }

    /// All of the person's sessions, oldest first, as they are read.
    pub(crate) async fn stream_of(
        &self,
        user_id: &str,
    ) -> Result<impl Stream<Item = Result<Session>> + use<>> {
        let sessions = self.sessions.clone_with_type::<SessionRow>();
        let rows = sessions.find(doc! { "user_id": user_id });
        Ok(rows.sort(doc! { "created_at": 1 }).await?.map_ok(Session::from))
    }

    /// Sessions in which nothing was said since `cutoff`, as far as they know themselves.
    pub(crate) async fn list_silent(&self, cutoff: DateTime<Utc>, max: i64) -> Result<Vec<Silent>> {
        let cutoff = bson::DateTime::from_chrono(cutoff);
        // Older services did not note when something was said.
        let filter = doc! { "$or": [
            { "last_activity_at": { "$lt": cutoff } },
            { "last_activity_at": Bson::Null, "created_at": { "$lt": cutoff } },
        ] };
        let sessions = self.sessions.clone_with_type::<Silent>();
        let rows = sessions.find(filter).limit(max).await?;
        rows.try_collect().await
    }

    /// The ids of all the person's sessions.
    pub(crate) async fn list_ids(&self, user_id: &str) -> Result<Vec<String>> {
        let ids = self
            .sessions
            .distinct("session_id", doc! { "user_id": user_id })
            .await?;
        Ok(ids
            .into_iter()
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect())
    }

    /// Deletes one of the person's sessions if it is not older than this.
    pub(crate) async fn delete_begun(
        &self,
        session_id: &str,
        user_id: &str,
        since: DateTime<Utc>,
    ) -> Result<()> {
        let since = bson::DateTime::from_chrono(since);
        let filter = doc! { "session_id": session_id, "user_id": user_id, "created_at": { "$gte": since } };
        self.sessions.delete_one(filter).await?;
        Ok(())
    }

    /// Deletes all sessions of somebody who is gone and says how many there were.
    pub(crate) async fn delete_of(&self, user_id: &str) -> Result<u64> {
        let filter = doc! { "user_id": user_id };
        Ok(self.sessions.delete_many(filter).await?.deleted_count)
    }

    /// Deletes these sessions of the person and says how many there were.
    pub(crate) async fn delete(&self, user_id: &str, session_ids: &[String]) -> Result<u64> {
        let filter = doc! { "user_id": user_id, "session_id": { "$in": session_ids } };
        Ok(self.sessions.delete_many(filter).await?.deleted_count)
    }
}

/// A pattern that means nothing but this text.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_punctuation() {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
