//! The door to the ledger: instructions go into one bounded queue, answers come back when they are durable.

mod batch;
mod in_progress;
mod patience;
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
pub(super) use batch::EXPIRED;
pub use in_progress::InProgress;
use in_progress::KeyInUse;
use patience::{Claim, OutageWatch};
pub use writer::Writer;

/// A command that has not begun by then is not carried out: its caller is told so and may come again.
const BEGIN_WITHIN: Duration = Duration::from_secs(4);

/// How long the database may be away before callers are told, whatever their commands are waiting for.
const OUTAGE_PATIENCE: Duration = Duration::from_millis(700);

/// A command that has begun is answered by then, be it that nobody knows.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

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
    /// Taken by the writer when it begins, or by the caller who gives up before.
    claim: Claim,
    /// Its idempotency key, which another request with it finds in use.
    key_in_use: Option<KeyInUse>,
    reply: oneshot::Sender<Result<Answer>>,
}

/// Takes instructions.
#[derive(Clone)]
pub struct Ledger {
    queue: mpsc::Sender<Job>,
    in_progress: InProgress,
    outage: OutageWatch,
    metrics: LedgerMetrics,
}

impl Ledger {
    /// A door and what waits behind it, for the writer.
    fn new(queue_max: usize, outage: OutageWatch, metrics: LedgerMetrics) -> (Self, mpsc::Receiver<Job>) {
        let (queue, jobs) = mpsc::channel(queue_max);
        let ledger = Self {
            queue,
            in_progress: InProgress::default(),
            outage,
            metrics,
        };
        (ledger, jobs)
    }

    /// Carries out an instruction. The answer comes after the commit. An instruction that was begun is carried out even
    /// when nobody waits for its answer any more.
    pub async fn submit(&self, instruction: Instruction) -> Result<Answer> {
        let kind = instruction.command.kind();
        let result = self.carry_out(instruction).await;
        self.metrics.answered(kind, outcome_label(&result));
        result
    }

    async fn carry_out(&self, instruction: Instruction) -> Result<Answer> {
        let key = instruction.origin.idempotency.as_ref();
        let key_in_use = key
            .map(|key| self.in_progress.enter(key).ok_or(Error::IdempotencyInProgress))
            .transpose()?;
        let (reply, answer) = oneshot::channel();
        let claim = Claim::default();
        let job = Job {
            id: Uuid::now_v7(),
            instruction,
            accepted: Instant::now(),
            claim: claim.clone(),
            key_in_use,
            reply,
        };
        match self.queue.try_send(job) {
            Ok(()) => self.wait(answer, &claim).await,
            Err(mpsc::error::TrySendError::Full(_)) => Err(Error::QueueFull),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Error::Unavailable),
        }
    }

    /// The answer, or what can be said without it.
    async fn wait(&self, mut answer: oneshot::Receiver<Result<Answer>>, claim: &Claim) -> Result<Answer> {
        tokio::select! {
            biased;
            result = &mut answer => return result.unwrap_or(Err(Error::Unavailable)),
            () = tokio::time::sleep(BEGIN_WITHIN) => {}
            () = self.outage.lasts(OUTAGE_PATIENCE) => {}
        }
        if claim.take() {
            return Err(Error::Unavailable);
        }
        tokio::select! {
            biased;
            result = &mut answer => result.unwrap_or(Err(Error::OutcomeUnknown)),
            () = tokio::time::sleep(ANSWER_WITHIN) => Err(Error::OutcomeUnknown),
            () = self.outage.lasts(OUTAGE_PATIENCE / 4) => Err(Error::OutcomeUnknown),
        }
    }
}

fn outcome_label(result: &Result<Answer>) -> &'static str {
    match result {
        Ok(Answer { replayed: false, .. }) => "done",
        Ok(Answer { replayed: true, .. }) => "replayed",
        Err(
            Error::Refused(_)
            | Error::IdempotencyKeyReused
            | Error::IdempotencyInProgress
            | Error::UserNotFound,
        ) => "refused",
        Err(Error::QueueFull) => "queue_full",
        Err(_) => "failed",
    }
}
