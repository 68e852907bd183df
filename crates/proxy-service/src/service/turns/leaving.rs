//! Runs that go on at Flowise after their turn has ended.
//!
//! Flowise does not notice that we leave. An agentflow stops when it is told to; a chain writes on, and what it writes
//! goes to whoever has its `chatId` by then. So the next turn of the conversation gets another one.

use std::sync::Arc;

use super::{Plan, Shared};
use crate::{
    domain::{
        failure::Failure,
        upstream_ids::{chat_id, memory_id},
    },
    store::turns::Overdue,
};

/// A run that was left behind.
#[derive(Debug)]
pub(super) struct LeftRun<'a> {
    pub(super) turn_id: &'a str,
    pub(super) chatflow_id: &'a str,
    pub(super) memory_id: &'a str,
    pub(super) chat_id: String,
    pub(super) may_not_have_begun: bool,
}

impl Shared {
    /// The name under which this turn's stream is asked for.
    pub(super) async fn chat_id(&self, plan: &Plan) -> mongodb::error::Result<String> {
        if plan.seat.is_new {
            return Ok(plan.memory_id.clone());
        }
        let left_run = self.left_runs.last(&plan.memory_id).await?;
        Ok(chat_id(&plan.memory_id, left_run.as_deref()))
    }

    /// Tells Flowise to stop a run, which nobody waits for, and notes that it may not.
    pub(super) async fn leave_run(self: &Arc<Self>, run: LeftRun<'_>) {
        let shared = self.clone();
        let (flow_id, chat_id) = (run.chatflow_id.to_owned(), run.chat_id);
        let again = run.may_not_have_begun;
        let abort = async move { shared.flowise.abort(&flow_id, &chat_id, again).await };
        self.tasks.spawn(abort);
        let noted = self.left_runs.note(run.memory_id, run.turn_id, self.clock.now());
        if let Err(error) = noted.await {
            tracing::error!(%error, turn_id = run.turn_id, "a run that was left behind could not be noted");
        }
    }

    /// The same for a turn whose process died.
    pub(super) async fn leave_run_of(self: &Arc<Self>, overdue: &Overdue) {
        let due = &overdue.due;
        // What keeps sessions from being used while they are deleted is a turn without a chatflow, and n8n has no way to
        // stop a run.
        let Some(flow_id) = overdue.flow_id.as_deref().filter(|id| !id.is_empty()) else {
            return;
        };
        let memory_id = memory_id(&overdue.talker_id, flow_id, &overdue.session_id);
        let last = match self.left_runs.last(&memory_id).await {
            Ok(last) => last,
            Err(error) => {
                tracing::warn!(%error, turn_id = due.id, "a run that was left behind cannot be named");
                return;
            }
        };
        let run = LeftRun {
            turn_id: &due.id,
            chatflow_id: flow_id,
            memory_id: &memory_id,
            chat_id: chat_id(&memory_id, last.as_deref()),
            may_not_have_begun: false,
        };
        self.leave_run(run).await;
    }
}

/// Whether Flowise may still be working on it.
pub(super) fn leaves_a_run_behind(failure: Failure) -> bool {
    matches!(
        failure,
        Failure::HeaderTimeout
            | Failure::IdleTimeout
            | Failure::TooLong
            | Failure::TooLarge
            | Failure::Unavailable
            | Failure::Broken
            | Failure::Abandoned
            | Failure::Stopped
            | Failure::Stopping
            | Failure::Storage
    )
}
