//! Chatflows as people and administrators see them.

use std::collections::HashMap;

use bson::oid::ObjectId;
use chrono::{DateTime, Utc};
use common_http::CurrentUser;
use serde_json::Value;

use super::access::Access;
use crate::{
    domain::chatflow::{Chatflow, ChatflowRecord, ChatflowSettings, ChatflowStatistics},
    error::{Error, Result},
    store::{assignments::AssignmentStore, chatflows::ChatflowStore, people::PersonStore},
};

/// Reads the catalog.
#[derive(Clone)]
pub(crate) struct Chatflows {
    store: ChatflowStore,
    assignments: AssignmentStore,
    people: PersonStore,
    access: Access,
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
        people: PersonStore,
        access: Access,
    ) -> Self {
        Self {
            store,
            assignments,
            people,
            access,
        }
    }

    /// What this person may use, by name: exactly what [`Access::chatflow_for`] admits.
    pub(crate) async fn assigned_to(&self, user: &CurrentUser) -> Result<Vec<AssignedChatflow>> {
        if self.people.is_deactivated(&user.id).await? {
            return Ok(Vec::new());
        }
        let assignments = self.assignments.list_active_of_person(&user.id).await?;
        // Older data may name something that is no id of ours; such an assignment gives nothing.
        let assigned_at: HashMap<_, _> = assignments
            .iter()
            .filter_map(|row| Some((ObjectId::parse_str(&row.chatflow_id).ok()?, row.assigned_at)))
            .collect();
        let ids: Vec<_> = assigned_at.keys().copied().collect();
        let mut chatflows = self.store.list_active(&ids).await?;
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

    /// All chatflows by name, without their graphs.
    pub(crate) async fn list(&self, include_deleted: bool) -> Result<Vec<ChatflowRecord>> {
        Ok(self.store.list(include_deleted).await?)
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

    /// Changes what administrators set; turns that begin from now on see it.
    pub(crate) async fn update_settings(
        &self,
        flowise_id: &str,
        settings: &ChatflowSettings,
    ) -> Result<ChatflowRecord> {
        let record = self.store.update_settings(flowise_id, settings).await?;
        self.access.forget();
        record.ok_or(Error::ChatflowNotFound)
    }
}
