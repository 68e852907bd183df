//! What visitors said: kept as long as their session, and removed with it.

use chrono::{DateTime, Utc};
use common_http::Clock;
use tokio_util::sync::CancellationToken;

use crate::{
    domain::visitor::{Visitor, talker_id},
    error::Result,
    store::{
        messages::{Message, MessageStore},
        turn_events::TurnEventStore,
        turns::TurnStore,
        visitors::VisitorStore,
    },
};

/// Sessions removed before it is asked again whether the service stops.
const BATCH: i64 = 100;

/// Reads and removes what was said in sessions.
#[derive(Clone, Debug)]
pub(crate) struct Histories {
    pub(crate) visitors: VisitorStore,
    pub(crate) messages: MessageStore,
    pub(crate) turns: TurnStore,
    pub(crate) events: TurnEventStore,
    pub(crate) clock: Clock,
}

impl Histories {
    /// So many messages of a conversation from number `offset` on, oldest first, and how many it has.
    pub(crate) async fn list(
        &self,
        visitor: &Visitor,
        conversation: Option<&str>,
        offset: u64,
        limit: i64,
    ) -> Result<(Vec<Message>, u64)> {
        let (talker_id, conversation_id) = (visitor.talker_id(), visitor.conversation_id(conversation));
        let page = self
            .messages
            .list_from(&talker_id, &conversation_id, offset, limit);
        Ok(page.await?)
    }

    /// Messages of all visitors since a moment.
    pub(crate) async fn count_since(&self, since: DateTime<Utc>) -> Result<u64> {
        Ok(self.messages.count_of_visitors(since).await?)
    }

    /// Ends a session and removes what was said in it. A turn that still runs is stopped, and what it leaves is removed by
    /// [`Histories::expire`].
    pub(crate) async fn end(&self, visitor: &Visitor) -> Result<()> {
        self.visitors.end(&visitor.session_id, self.clock.now()).await?;
        for turn in self.turns.list_running(&visitor.talker_id()).await? {
            self.turns.ask_to_stop(&turn.id).await?;
        }
        self.remove(&visitor.session_id).await.map(drop)
    }

    /// Removes the sessions that are over, until `stop`.
    pub(crate) async fn expire(&self, stop: &CancellationToken) -> Result<()> {
        let mut removed = 0;
        while !stop.is_cancelled() {
            let over = self.visitors.list_over(self.clock.now(), BATCH).await?;
            let before = removed;
            for session_id in &over {
                if self.remove(session_id).await? {
                    removed += 1;
                }
            }
            // Those that are left have a turn that still runs.
            if removed == before {
                break;
            }
        }
        if removed > 0 {
            tracing::info!(sessions = removed, "sessions of visitors were removed");
        }
        Ok(())
    }

    /// Removes what was said in a session that is over; the session itself too, unless a turn of it is still running or
    /// unpaid.
    async fn remove(&self, session_id: &str) -> Result<bool> {
        let talker_id = talker_id(session_id);
        let has_open = self.turns.has_open(&talker_id).await?;
        self.messages.delete_of(&talker_id).await?;
        self.events.delete_of(&talker_id).await?;
        self.turns.delete_answers_of(&talker_id).await?;
        if !has_open {
            self.visitors.delete(session_id).await?;
        }
        Ok(!has_open)
    }
}
