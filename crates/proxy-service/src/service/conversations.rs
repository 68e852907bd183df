//! What a person said before: sessions and their messages.

mod exporting;
mod searching;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use common_http::{Clock, CurrentUser};

pub(crate) use self::{
    exporting::Format,
    searching::{Found, Search},
};
use super::{access::Access, files::Files};
use crate::{
    domain::{
        page::{Cursor, TimedPage},
        turn::new_session_id,
    },
    error::{Error, Result},
    store::{
        files::StoredFile,
        messages::{Message, MessageStore},
        sessions::{Session, SessionStore, Wanted},
        turn_events::TurnEventStore,
        turns::TurnStore,
    },
};

/// Sessions and messages of one person at a time.
#[derive(Clone)]
pub(crate) struct Conversations {
    sessions: SessionStore,
    messages: MessageStore,
    turns: TurnStore,
    events: TurnEventStore,
    files: Files,
    access: Access,
    clock: Clock,
}

/// A message with its files.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) message: Message,
    pub(crate) files: Vec<StoredFile>,
}

/// How much was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deleted {
    pub(crate) sessions: u64,
    pub(crate) messages: u64,
}

impl Conversations {
    /// Over these stores.
    pub(crate) fn new(
        sessions: SessionStore,
        messages: MessageStore,
        turns: TurnStore,
        events: TurnEventStore,
        files: Files,
        access: Access,
        clock: Clock,
    ) -> Self {
        Self {
            sessions,
            messages,
            turns,
            events,
            files,
            access,
            clock,
        }
    }

    /// The person's sessions, newest first.
    pub(crate) async fn list(&self, user_id: &str) -> Result<Vec<Session>> {
        let mut sessions = self.sessions.list(user_id).await?;
        self.add_first_messages(user_id, &mut sessions).await?;
        Ok(sessions)
    }

    /// Sessions of older deployments do not have their first message in themselves.
    async fn add_first_messages(&self, user_id: &str, sessions: &mut [Session]) -> Result<()> {
        let without = sessions.iter().filter(|session| session.first_message.is_none());
        let without: Vec<&str> = without.map(|session| session.id.as_str()).collect();
        if without.is_empty() {
            return Ok(());
        }
        let mut questions = self.messages.list_first_questions(user_id, &without).await?;
        for session in sessions {
            if session.first_message.is_none() {
                session.first_message = questions.remove(&session.id);
            }
        }
        Ok(())
    }

    /// The messages of one of the person's sessions, oldest first.
    pub(crate) async fn history(&self, user_id: &str, session_id: &str) -> Result<Vec<Said>> {
        let files = self.files.list_of_session(user_id, session_id).await?;
        let messages = self.messages.list(user_id, session_id).await?;
        Ok(with_files(messages, files))
    }

    /// One page of a session of the person, oldest first, with the next page's beginning.
    pub(crate) async fn history_page(
        &self,
        user_id: &str,
        session_id: &str,
        page: TimedPage,
    ) -> Result<(Vec<Said>, Option<Cursor>)> {
        let files = self.files.list_of_session(user_id, session_id).await?;
        let (messages, next) = self.messages.list_page(user_id, session_id, page).await?;
        Ok((with_files(messages, files), next))
    }

    /// One page of the person's sessions, newest first, with the next page's beginning.
    pub(crate) async fn list_page(
        &self,
        user_id: &str,
        wanted: Wanted<'_>,
        page: TimedPage,
    ) -> Result<(Vec<Session>, Option<Cursor>)> {
        let (mut sessions, next) = self.sessions.list_page(user_id, wanted, page).await?;
        self.add_first_messages(user_id, &mut sessions).await?;
        Ok((sessions, next))
    }

    /// Refuses a session with a chatflow that the caller's API key is not for. Whether there is one is not told.
    pub(crate) async fn admit(&self, user: &CurrentUser, session_id: &str) -> Result<()> {
        if user.key.as_ref().is_none_or(|key| key.chatflows.is_none()) {
            return Ok(());
        }
        let session = self.sessions.find(session_id, &user.id).await?;
        let is_allowed = session.is_some_and(|session| user.may_use_chatflow(&session.chatflow_id));
        is_allowed.then_some(()).ok_or(Error::SessionNotFound)
    }

    /// Begins a conversation with a chatflow that the person may use, before anything is said.
    pub(crate) async fn create(
        &self,
        user: &CurrentUser,
        chatflow_id: &str,
        topic: Option<&str>,
    ) -> Result<Session> {
        let chatflow = self.access.chatflow_for(user, chatflow_id).await?;
        let id = new_session_id();
        let now = self.clock.now();
        self.sessions
            .insert_empty(&id, &user.id, &chatflow.flowise_id, topic, now)
            .await?;
        let session = self.sessions.find(&id, &user.id).await?;
        session.ok_or(Error::SessionNotFound)
    }

    /// Calls one of the person's sessions something else.
    pub(crate) async fn rename(&self, user_id: &str, session_id: &str, topic: &str) -> Result<Session> {
        let session = self.sessions.rename(session_id, user_id, topic).await?;
        let mut sessions = vec![session.ok_or(Error::SessionNotFound)?];
        self.add_first_messages(user_id, &mut sessions).await?;
        sessions.pop().ok_or(Error::SessionNotFound)
    }

    /// Deletes one of the person's sessions with everything in it.
    pub(crate) async fn delete(&self, user_id: &str, session_id: &str) -> Result<Deleted> {
        if !self.sessions.is_owned(session_id, user_id).await? {
            return Err(Error::SessionNotFound);
        }
        self.delete_sessions(user_id, &[session_id.to_owned()]).await
    }

    /// Deletes everything the person said and was told.
    pub(crate) async fn delete_all(&self, user_id: &str) -> Result<Deleted> {
        let session_ids = self.sessions.list_ids(user_id).await?;
        self.delete_sessions(user_id, &session_ids).await
    }

    /// Deletes a session in which nothing was said since `cutoff`; `false` when something was, which is noted.
    pub(crate) async fn expire(
        &self,
        user_id: &str,
        session_id: &str,
        cutoff: DateTime<Utc>,
    ) -> Result<bool> {
        let session_ids = [session_id.to_owned()];
        let locks = self.turns.lock(user_id, &session_ids, self.clock.now()).await?;
        let locks = locks.ok_or(Error::TurnRunning { turn_id: None })?;
        let expired = async {
            match self.messages.find_newest(user_id, session_id).await? {
                Some(newest) if newest >= cutoff => {
                    self.sessions.touch(session_id, user_id, newest).await?;
                    Ok(false)
                }
                Some(_) | None => self.delete_locked(user_id, &session_ids).await.map(|_| true),
            }
        };
        let expired = expired.await;
        self.turns.delete(&locks).await?;
        expired
    }

    /// Keeps turns out of these sessions while they are deleted: one that ran on would write into a session that is no
    /// more.
    async fn delete_sessions(&self, user_id: &str, session_ids: &[String]) -> Result<Deleted> {
        let locks = self.turns.lock(user_id, session_ids, self.clock.now()).await?;
        let locks = locks.ok_or(Error::TurnRunning { turn_id: None })?;
        let deleted = self.delete_locked(user_id, session_ids).await;
        self.turns.delete(&locks).await?;
        deleted
    }

    async fn delete_locked(&self, user_id: &str, session_ids: &[String]) -> Result<Deleted> {
        self.files.delete_sessions(user_id, session_ids).await?;
        let sessions = self.sessions.delete(user_id, session_ids).await?;
        let messages = self.messages.delete(user_id, session_ids).await?;
        self.turns.delete_answers(user_id, session_ids).await?;
        self.events.delete(user_id, session_ids).await?;
        Ok(Deleted { sessions, messages })
    }
}

/// Gives each message its files. An older service noted them now on the file, now on the message.
fn with_files(messages: Vec<Message>, files: Vec<StoredFile>) -> Vec<Said> {
    let known: HashSet<&str> = messages.iter().map(|message| message.id.as_str()).collect();
    let named = messages.iter().flat_map(|message| {
        let ids = message.file_ids.iter().flatten();
        ids.map(|id| (id.as_str(), message.id.as_str()))
    });
    let named: HashMap<&str, &str> = named.collect();
    let mut of_message: HashMap<String, Vec<StoredFile>> = HashMap::new();
    for file in files {
        let of = file.message_id.as_deref().filter(|id| known.contains(id));
        let Some(of) = of.or_else(|| named.get(file.id.as_str()).copied()) else {
            continue;
        };
        of_message.entry(of.to_owned()).or_default().push(file);
    }
    let said = messages.into_iter().map(|message| Said {
        files: of_message.remove(&message.id).unwrap_or_default(),
        message,
    });
    said.collect()
}
