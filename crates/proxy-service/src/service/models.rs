//! Chatflows under the names that clients of other APIs have for models: their ids, or what they are called.

use std::{sync::Arc, time::Duration};

use common_http::CurrentUser;
use moka::future::Cache;
use uuid::Uuid;

use super::{
    access::Access,
    chatflows::{AssignedChatflow, Chatflows},
};
use crate::{
    domain::chatflow::Chatflow,
    error::{Error, Result},
};

/// How long it is remembered whose chatflow is called what. Whether it may be used is asked each time.
const NAME_TTL: Duration = Duration::from_secs(4);

/// Names that are remembered at once.
const NAMES_MAX: u64 = 10_000;

/// Finds chatflows by id or by name. Clones share what they remember.
#[derive(Clone)]
pub(crate) struct Models {
    chatflows: Chatflows,
    access: Access,
    /// Flowise's ids by person and name.
    ids: Cache<(String, String), String>,
}

impl Models {
    /// Finds among these.
    pub(crate) fn new(chatflows: Chatflows, access: Access) -> Self {
        let ids = Cache::builder()
            .max_capacity(NAMES_MAX)
            .time_to_live(NAME_TTL)
            .build();
        Self {
            chatflows,
            access,
            ids,
        }
    }

    /// What this person may use, by name.
    pub(crate) async fn list(&self, user: &CurrentUser) -> Result<Vec<AssignedChatflow>> {
        self.chatflows.assigned_to(user).await
    }

    /// The chatflow that this person may use and that has this id or, as the only one of theirs, this name.
    pub(crate) async fn find(&self, user: &CurrentUser, model: &str) -> Result<Arc<Chatflow>> {
        if let Ok(id) = Uuid::parse_str(model) {
            return self.access.chatflow_for(user, &id.to_string()).await;
        }
        // What a key that is bound to some chatflows sees of them is its own.
        if user.key.as_ref().is_some_and(|key| key.chatflows.is_some()) {
            let id = self.id_of(user, model).await?;
            return self.access.chatflow_for(user, &id).await;
        }
        let known = (user.id.clone(), model.to_owned());
        let id = if let Some(id) = self.ids.get(&known).await {
            id
        } else {
            let id = self.id_of(user, model).await?;
            self.ids.insert(known, id.clone()).await;
            id
        };
        self.access.chatflow_for(user, &id).await
    }

    async fn id_of(&self, user: &CurrentUser, name: &str) -> Result<String> {
        let assigned = self.list(user).await?;
        let chatflows = assigned.into_iter().map(|one| one.chatflow);
        let mut called = chatflows.filter(|chatflow| chatflow.name == name);
        let first = called.next().ok_or(Error::ChatflowAccessDenied)?;
        if called.next().is_some() {
            let message = "is the name of more than one of your chatflows; use the id";
            return Err(Error::invalid("model", message));
        }
        Ok(first.flowise_id)
    }
}
