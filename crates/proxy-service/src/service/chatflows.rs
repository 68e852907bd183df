//! Chatflows as people and administrators see them.

use std::collections::HashMap;

use bson::oid::ObjectId;
use chrono::{DateTime, Utc};
use common_http::{Clock, CurrentUser};
use serde_json::Value;

use super::access::Access;
use crate::{
    domain::chatflow::{Chatflow, ChatflowRecord, ChatflowSettings, ChatflowStatistics, PriceChange},
    error::{Error, Result},
    prices::PriceClient,
    store::{
        assignments::AssignmentStore, chatflows::ChatflowStore, groups::GroupStore, people::PersonStore,
    },
};

/// Reads the catalog.
#[derive(Clone)]
pub(crate) struct Chatflows {
    store: ChatflowStore,
    assignments: AssignmentStore,
    groups: GroupStore,
    people: PersonStore,
    access: Access,
    prices: PriceClient,
    clock: Clock,
}

/// A chatflow a person may use, and since when.
#[derive(Debug)]
pub(crate) struct AssignedChatflow {
    /// The chatflow.
    pub(crate) chatflow: Chatflow,
    /// Since when; unknown in some older data.
    pub(crate) assigned_at: Option<DateTime<Utc>>,
}

impl Chatflows {
    /// Reads these stores.
    pub(crate) fn new(
        store: ChatflowStore,
        assignments: AssignmentStore,
        groups: GroupStore,
        people: PersonStore,
        access: Access,
        prices: PriceClient,
        clock: Clock,
    ) -> Self {
        Self {
            store,
            assignments,
            groups,
            people,
            access,
            prices,
            clock,
        }
    }

    /// What this person may use, by name: exactly what [`Access::chatflow_for`] admits.
    pub(crate) async fn assigned_to(&self, user: &CurrentUser) -> Result<Vec<AssignedChatflow>> {
        if self.people.standing(&user.id).await?.is_deactivated {
            return Ok(Vec::new());
        }
        let now = self.clock.now();
        let (own, of_groups) = futures_util::try_join!(
            self.assignments.list_active_of_person(&user.id, now),
            self.groups.list_given(&user.id, now),
        )?;
        let mut assigned_at: HashMap<_, Option<DateTime<Utc>>> = HashMap::new();
        // Older data may name something that is no id of ours; such an assignment gives nothing.
        for grant in of_groups {
            if let Ok(id) = ObjectId::parse_str(&grant.chatflow_id) {
                let since = assigned_at.entry(id).or_insert(Some(grant.granted_at));
                *since = (*since).min(Some(grant.granted_at));
            }
        }
        // What somebody was given themselves says more than what their class was given.
        for row in own {
            if let Ok(id) = ObjectId::parse_str(&row.chatflow_id) {
                assigned_at.insert(id, row.assigned_at);
            }
        }
        let ids: Vec<_> = assigned_at.keys().copied().collect();
        let mut chatflows = self.store.list_active(&ids).await?;
        chatflows.retain(|chatflow| user.may_use_chatflow(&chatflow.flowise_id));
        chatflows.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
        let with_time = |chatflow: Chatflow| AssignedChatflow {
            assigned_at: assigned_at.get(&chatflow.id).copied().flatten(),
            chatflow,
        };
        Ok(chatflows.into_iter().map(with_time).collect())
    }

    /// How a chat window should show the chatflow, as it was set in Flowise.
    pub(crate) async fn config_for(&self, user: &CurrentUser, flowise_id: &str) -> Result<Value> {
        self.access.chatflow_for(user, flowise_id).await?;
        let record = self.store.find_light(flowise_id).await?;
        record
            .and_then(|record| record.chatbot_config)
            .ok_or(Error::ChatflowConfigNotFound)
    }

    /// Chatflows by name, behind the one of this name and id, without their graphs; all of them without a `limit`.
    pub(crate) async fn list(
        &self,
        include_deleted: bool,
        after: Option<(&str, ObjectId)>,
        limit: Option<i64>,
    ) -> Result<Vec<ChatflowRecord>> {
        Ok(self.store.list(include_deleted, after, limit).await?)
    }

    /// Forgets a chatflow and who could use it; says how many could. Flowise keeps it, and a synchronisation brings it
    /// back where Flowise still lists it: then nobody has it. Access goes first, so that breaking off half way opens
    /// nothing.
    pub(crate) async fn delete(&self, flowise_id: &str) -> Result<u64> {
        let chatflow = self
            .store
            .find(flowise_id)
            .await?
            .ok_or(Error::ChatflowNotFound)?;
        let people = self.assignments.delete_of_chatflow(chatflow.id).await?;
        self.groups.delete_grants_of(chatflow.id).await?;
        self.store.delete(chatflow.id).await?;
        self.access.forget();
        Ok(people)
    }

    /// One chatflow with everything that is kept of it.
    pub(crate) async fn record(&self, flowise_id: &str) -> Result<ChatflowRecord> {
        self.store
            .find_record(flowise_id)
            .await?
            .ok_or(Error::ChatflowNotFound)
    }

    /// How many stand where.
    pub(crate) async fn statistics(&self) -> Result<ChatflowStatistics> {
        Ok(self.store.statistics().await?)
    }

    /// Changes what administrators set; turns that begin from now on see it. A model that has no price is refused: turns
    /// on it would cost what the default costs, which nobody has agreed to.
    pub(crate) async fn update_settings(
        &self,
        flowise_id: &str,
        settings: &ChatflowSettings,
    ) -> Result<ChatflowRecord> {
        if let Some(PriceChange::ByUsage(usage)) = &settings.price
            && !self.prices.has(&usage.model_id).await?
        {
            let message = "has no price; set one at accounting-service first";
            return Err(Error::invalid("usage_price.model_id", message));
        }
        let record = self.store.update_settings(flowise_id, settings).await?;
        self.access.forget();
        record.ok_or(Error::ChatflowNotFound)
    }
}
