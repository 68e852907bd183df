//! Removes what people who are gone have said and were told, once their last turn has ended and is paid for.

use std::time::Duration;

use chrono::TimeDelta;
use common_http::{Clock, RequestContext};
use tokio_util::sync::CancellationToken;

use super::files::Files;
use crate::{
    error::Result,
    store::{
        assignments::AssignmentStore,
        daily_turns::DailyTurnStore,
        departures::{Departure, DepartureStore},
        embeds::EmbedStore,
        groups::GroupStore,
        messages::MessageStore,
        people::PersonStore,
        sessions::SessionStore,
        turn_events::TurnEventStore,
        turns::TurnStore,
        usage_days::UsageDayStore,
    },
};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);

/// How long somebody is left to the process that removes them, and when a running turn is looked at again.
const LEASE: TimeDelta = TimeDelta::seconds(2);

/// How long after everything was removed it is looked once more. A turn may have begun just before access ended; its
/// access token, the answer it was writing, a look at another replica's memory: none of them lives this long unseen.
const AGAIN_AFTER: TimeDelta = TimeDelta::minutes(2);

/// Removes people.
#[derive(Clone)]
pub(crate) struct Departures {
    stores: Stores,
    clock: Clock,
}

/// Every collection in which something of a person stands.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) departures: DepartureStore,
    pub(crate) people: PersonStore,
    pub(crate) assignments: AssignmentStore,
    pub(crate) sessions: SessionStore,
    pub(crate) messages: MessageStore,
    pub(crate) turns: TurnStore,
    pub(crate) events: TurnEventStore,
    pub(crate) files: Files,
    pub(crate) groups: GroupStore,
    pub(crate) usage: UsageDayStore,
    pub(crate) counters: DailyTurnStore,
    pub(crate) embeds: EmbedStore,
}

impl Departures {
    /// Removes from these stores.
    pub(crate) fn new(stores: Stores, clock: Clock) -> Self {
        Self { stores, clock }
    }

    /// Removes whoever is due, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut is_up = true;
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.cancelled() => return,
            }
            match RequestContext::background().scope(self.remove_due()).await {
                Ok(()) => is_up = true,
                Err(error) => {
                    if is_up {
                        tracing::warn!(%error, "people who are gone cannot be removed; trying on");
                    }
                    is_up = false;
                }
            }
        }
    }

    async fn remove_due(&self) -> Result<()> {
        loop {
            let now = self.clock.now();
            let Some(departure) = self.stores.departures.take_due(now, now + LEASE).await? else {
                return Ok(());
            };
            self.remove(&departure).await?;
        }
    }

    /// Removes everything, unless a turn is still running or unpaid: then the next look does.
    async fn remove(&self, departure: &Departure) -> Result<()> {
        let user_id = departure.user_id.as_str();
        let stores = &self.stores;
        if stores.turns.has_open(user_id).await? {
            return Ok(());
        }
        // What nobody pays for any more answers no more.
        stores.embeds.close_of(user_id).await?;
        stores.assignments.delete_of(user_id).await?;
        stores.groups.delete_of(user_id).await?;
        stores.people.delete(user_id).await?;
        stores.usage.delete_of(user_id).await?;
        stores.counters.delete_of(user_id).await?;
        let messages = stores.messages.delete_of(user_id).await?;
        let sessions = stores.sessions.delete_of(user_id).await?;
        stores.turns.delete_answers_of(user_id).await?;
        stores.events.delete_of(user_id).await?;
        let files = stores.files.delete_of(user_id).await?;
        tracing::info!(
            user.id = user_id,
            messages,
            sessions,
            files,
            "somebody who is gone was removed"
        );
        if departure.was_removed {
            stores.departures.delete(user_id).await?;
        } else {
            let again = self.clock.now() + AGAIN_AFTER;
            stores.departures.mark_removed(user_id, again).await?;
        }
        Ok(())
    }
}
