//! Who may run turns on which chatflow (decision D10).
//!
//! An active assignment is needed, of one's own or of a group one is in, whatever the caller's role. Answers are remembered for a moment: so short that a
//! revocation on another replica acts within five seconds, and on this one they are forgotten at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use common_http::{Clock, CurrentUser};
use moka::{Expiry, future::Cache};

use crate::{
    domain::chatflow::Chatflow,
    error::{Error, Result},
    store::{
        assignments::AssignmentStore, chatflows::ChatflowStore, groups::GroupStore, people::PersonStore,
    },
};

/// How long a yes is remembered. With the time the look-up itself takes it stays below five seconds.
const GRANT_TTL: Duration = Duration::from_secs(4);

/// How long a no is remembered: whoever was just assigned should not have to wait.
const REFUSAL_TTL: Duration = Duration::from_secs(1);

/// Answers remembered at once: a school's worth of people times a handful of chatflows.
const DECISIONS_MAX: u64 = 50_000;

/// Flowise's ids are UUIDs (36 characters); what is longer is none and is not worth remembering.
const FLOWISE_ID_BYTES_MAX: usize = 64;

/// Decides who may use which chatflow.
#[derive(Clone)]
pub(crate) struct Access {
    chatflows: ChatflowStore,
    assignments: AssignmentStore,
    groups: GroupStore,
    people: PersonStore,
    clock: Clock,
    decisions: Cache<Question, Decision>,
    epoch: Arc<AtomicU64>,
}

/// What somebody may use, and how much of it.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// The chatflow.
    pub(crate) chatflow: Arc<Chatflow>,
    /// Turns a day on all chatflows together, where the person has a cap of their own.
    pub(crate) daily_turns_max: Option<i64>,
}

type Decision = Option<Grant>;

/// The epoch makes every answer found before a change unfindable, those still being looked up included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    epoch: u64,
    user_id: String,
    flowise_id: String,
}

struct Lifetimes;

impl Expiry<Question, Decision> for Lifetimes {
    fn expire_after_create(&self, _: &Question, decision: &Decision, _: Instant) -> Option<Duration> {
        Some(if decision.is_some() {
            GRANT_TTL
        } else {
            REFUSAL_TTL
        })
    }
}

impl Access {
    /// Decides by what these stores say.
    pub(crate) fn new(
        chatflows: ChatflowStore,
        assignments: AssignmentStore,
        groups: GroupStore,
        people: PersonStore,
        clock: Clock,
    ) -> Self {
        let decisions = Cache::builder()
            .max_capacity(DECISIONS_MAX)
            .expire_after(Lifetimes)
            .build();
        Self {
            chatflows,
            assignments,
            groups,
            people,
            clock,
            decisions,
            epoch: Arc::default(),
        }
    }

    /// The chatflow, when this person may use it. Whether it exists at all is not told.
    pub(crate) async fn chatflow_for(&self, user: &CurrentUser, flowise_id: &str) -> Result<Arc<Chatflow>> {
        self.grant_for(user, flowise_id).await.map(|grant| grant.chatflow)
    }

    /// The same with what the person may do with it.
    pub(crate) async fn grant_for(&self, user: &CurrentUser, flowise_id: &str) -> Result<Grant> {
        if flowise_id.is_empty() || flowise_id.len() > FLOWISE_ID_BYTES_MAX {
            return Err(Error::ChatflowAccessDenied);
        }
        if !user.may_use_chatflow(flowise_id) {
            return Err(Error::ChatflowAccessDenied);
        }
        let question = Question {
            epoch: self.epoch.load(Ordering::Acquire),
            user_id: user.id.clone(),
            flowise_id: flowise_id.to_owned(),
        };
        let answer = self.decide(&user.id, flowise_id);
        let decision = self.decisions.try_get_with(question, answer).await;
        decision
            .map_err(|error| Error::Database(mongodb::error::Error::clone(&error)))?
            .ok_or(Error::ChatflowAccessDenied)
    }

    /// Forgets every answer: an assignment, a person or a chatflow has changed.
    pub(crate) fn forget(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    async fn decide(&self, user_id: &str, flowise_id: &str) -> mongodb::error::Result<Decision> {
        let Some(chatflow) = self.chatflows.find(flowise_id).await? else {
            return Ok(None);
        };
        if !chatflow.is_usable() {
            return Ok(None);
        }
        let now = self.clock.now();
        let (assigned, standing) = futures_util::try_join!(
            self.is_given(user_id, &chatflow, now),
            self.people.standing(user_id),
        )?;
        Ok((assigned && !standing.is_deactivated).then(|| Grant {
            chatflow: Arc::new(chatflow),
            daily_turns_max: standing.daily_turns_max,
        }))
    }

    async fn is_given(
        &self,
        user_id: &str,
        chatflow: &Chatflow,
        now: DateTime<Utc>,
    ) -> mongodb::error::Result<bool> {
        // Most assignments are people's own; groups are asked only where there is none.
        Ok(self.assignments.is_active(user_id, chatflow.id, now).await?
            || self.groups.gives(user_id, chatflow.id, now).await?)
    }
}
