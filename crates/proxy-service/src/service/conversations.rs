//! What a person said before: sessions and their messages.

use common_http::Clock;

use crate::{
    error::{Error, Result},
    store::{
        messages::{Message, MessageStore},
        sessions::{Session, SessionStore},
        turn_events::TurnEventStore,
        turns::TurnStore,
    },
};

/// Sessions and messages of one person at a time.
#[derive(Clone, Debug)]
pub(crate) struct Conversations {
    sessions: SessionStore,
    messages: MessageStore,
    turns: TurnStore,
    events: TurnEventStore,
    clock: Clock,
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
        clock: Clock,
    ) -> Self {
        Self {
            sessions,
            messages,
            turns,
            events,
            clock,
        }
    }

    /// The person's sessions, newest first.
    pub(crate) async fn list(&self, user_id: &str) -> Result<Vec<Session>> {
        let mut sessions = self.sessions.list(user_id).await?;
        // Sessions of older deployments do not have it in themselves.
        let without = sessions.iter().filter(|session| session.first_message.is_none());
        let without: Vec<&str> = without.map(|session| session.id.as_str()).collect();
        if without.is_empty() {
            return Ok(sessions);
        }
        let mut questions = self.messages.list_first_questions(user_id, &without).await?;
        for session in &mut sessions {
            if session.first_message.is_none() {
                session.first_message = questions.remove(&session.id);
            }
        }
        Ok(sessions)
    }

    /// The messages of one of the person's sessions, oldest first.
    pub(crate) async fn history(&self, user_id: &str, session_id: &str) -> Result<Vec<Message>> {
        if !self.sessions.is_owned(session_id, user_id).await? {
            return Err(Error::SessionNotFound);
        }
        Ok(self.messages.list(user_id, session_id).await?)
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
        let sessions = self.sessions.delete(user_id, session_ids).await?;
        let messages = self.messages.delete(user_id, session_ids).await?;
        self.turns.delete_answers(user_id, session_ids).await?;
        self.events.delete(user_id, session_ids).await?;
        Ok(Deleted { sessions, messages })
    }
}
