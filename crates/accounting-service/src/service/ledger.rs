//! The door to the ledger: instructions go into one bounded queue, answers come back when they are durable.

mod batch;
mod writer;

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::{
    domain::{
        idempotency::IdempotencyKey,
        ids::{Actor, UserId},
        ledger::{Command, Outcome},
    },
    error::{Error, Result},
    metrics::LedgerMetrics,
};
pub use writer::Writer;

/// A command that has not begun by then is not carried out: its caller has given up, or is about to.
const BEGIN_WITHIN: Duration = Duration::from_secs(2);

/// Who asks for a change, and with which request.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Who.
    pub actor: Actor,
    /// The request's id.
    pub request_id: String,
    /// The key that tells a repeated request from a new one.
    pub idempotency: Option<IdempotencyKey>,
}

/// Writes the body of an answer from what a command did.
pub type Render = Box<dyn Fn(&Outcome) -> serde_json::Result<String> + Send + Sync>;

/// A command with everything that goes with it.
pub struct Instruction {
    /// Whose account.
    pub user_id: UserId,
    /// What to do.
    pub command: Command,
    /// Why, in words, for the ledger.
    pub description: Option<String>,
    /// Who asks.
    pub origin: Origin,
    /// The status of the answer.
    pub status: u16,
    /// The body of the answer. It is remembered in the transaction that changes the credits, so it is written there.
    pub render: Render,
}

/// What is answered over HTTP: the body as text, because a repeated request gets the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The JSON.
    pub body: String,
    /// Whether it was given before.
    pub replayed: bool,
}

/// An instruction on its way.
struct Job {
    /// The command's id, made before anything is written.
    id: Uuid,
    instruction: Instruction,
    accepted: Instant,
    reply: oneshot::Sender<Result<Answer>>,
}

/// Takes instructions.
#[derive(Clone)]
pub struct Ledger {
    queue: mpsc::Sender<Job>,
    metrics: LedgerMetrics,
}

impl Ledger {
    /// A door and what waits behind it, for the writer.
    fn new(queue_max: usize, metrics: LedgerMetrics) -> (Self, mpsc::Receiver<Job>) {
        let (queue, jobs) = mpsc::channel(queue_max);
        (Self { queue, metrics }, jobs)
    }

    /// Carries out an instruction. The answer comes after the commit. An instruction once accepted is carried out even
    /// when nobody waits for its answer any more.
    pub async fn submit(&self, instruction: Instruction) -> Result<Answer> {
        let kind = instruction.command.kind();
        let (reply, answer) = oneshot::channel();
        let job = Job {
            id: Uuid::now_v7(),
            instruction,
            accepted: Instant::now(),
            reply,
        };
        let result = match self.queue.try_send(job) {
            Ok(()) => answer.await.unwrap_or(Err(Error::Unavailable)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Error::QueueFull),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Error::Unavailable),
        };
        self.metrics.answered(kind, outcome_label(&result));
        result
    }
}

fn outcome_label(result: &Result<Answer>) -> &'static str {
    match result {
        Ok(Answer { replayed: false, .. }) => "done",
        Ok(Answer { replayed: true, .. }) => "replayed",
        Err(Error::Refused(_) | Error::IdempotencyKeyReused | Error::UserNotFound) => "refused",
        Err(Error::QueueFull) => "queue_full",
        Err(_) => "failed",
    }
}
