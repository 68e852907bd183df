//! Writes of many turns, folded: while one command runs, the next one collects what has come meanwhile.
//!
//! A turn makes half a dozen small writes. One by one, each costs a round trip and a flush of the journal; folded, they
//! share both, without any timer: a lone write goes out at once. Every change is idempotent, so that a command whose
//! answer was lost is simply sent again.

use std::time::Duration;

use bson::{Bson, Document, RawArrayBuf, RawDocumentBuf, doc, raw::cstr};
use mongodb::{
    Database,
    error::{Error, ErrorKind},
};
use serde::Deserialize;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::indexes::is_duplicate_key_code;

/// Writes that wait for their turn; beyond this their writers wait.
const QUEUE: usize = 4_096;

/// Changes in one command.
const CHANGES_MAX: usize = 500;

/// Bytes in one command; the server takes 16 MB, and one change may be larger than all the others together.
const BYTES_MAX: usize = 4 << 20;

/// How long a command is sent again that the database did not take, as it does not while it restarts: what a turn has
/// said is worth waiting for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between the first two attempts; then twice as long each time, up to the second.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Why a change was not made.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// It would break the unique index of this name.
    #[error("the unique index {0} forbids it")]
    Duplicate(String),
    /// The database refused this one change.
    #[error("the database refused the change (code {0})")]
    Refused(i32),
    /// The command failed.
    #[error("the database call failed")]
    Database(#[from] Error),
}

impl From<WriteError> for crate::error::Error {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Database(error) => Self::Database(error),
            WriteError::Duplicate(_) | WriteError::Refused(_) => Self::Database(Error::custom(error)),
        }
    }
}

/// One change of one document. Made twice it does no more than once.
pub(crate) struct Change(Document);

impl Change {
    /// Writes a new document. Where the id is known already, nothing happens.
    pub(crate) fn insert(id: impl Into<Bson>, document: Document) -> Self {
        Self(doc! { "q": { "_id": id.into() }, "u": { "$setOnInsert": document }, "upsert": true })
    }

    /// Changes the document that `filter` names, if there is one.
    pub(crate) fn update(filter: Document, update: Document) -> Self {
        Self(doc! { "q": filter, "u": update })
    }

    /// Changes the document that `filter` names by what it holds: `stage` is one of an aggregation.
    pub(crate) fn compute(filter: Document, stage: Document) -> Self {
        Self(doc! { "q": filter, "u": [stage] })
    }
}

struct Queued {
    statement: RawDocumentBuf,
    done: oneshot::Sender<Result<(), WriteError>>,
}

/// Writes into one collection.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Queued>,
}

impl Writer {
    /// A writer of its own for `collection`. It ends with its last clone, after everything that was queued.
    pub(crate) fn open(database: &Database, collection: &'static str) -> Self {
        let (queue, queued) = mpsc::channel(QUEUE);
        tokio::spawn(run(database.clone(), collection, queued));
        Self { queue }
    }

    /// Makes the change; durable when this returns.
    pub(crate) async fn write(&self, change: Change) -> Result<(), WriteError> {
        let statement = RawDocumentBuf::try_from(&change.0).map_err(Error::from)?;
        let (done, answer) = oneshot::channel();
        let gone = || WriteError::from(Error::custom("the writer has ended"));
        let queued = self.queue.send(Queued { statement, done }).await;
        queued.ok().ok_or_else(gone)?;
        answer.await.ok().ok_or_else(gone)?
    }
}

async fn run(database: Database, collection: &'static str, mut queued: mpsc::Receiver<Queued>) {
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(first) => first,
            None => match queued.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let mut bytes = first.statement.as_bytes().len();
        let mut batch = vec![first];
        while batch.len() < CHANGES_MAX
            && let Ok(change) = queued.try_recv()
        {
            bytes += change.statement.as_bytes().len();
            if bytes > BYTES_MAX {
                next = Some(change);
                break;
            }
            batch.push(change);
        }
        let (statements, waiting): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|change| (change.statement, change.done))
            .unzip();
        let outcomes = send(&database, collection, &statements).await;
        for (done, outcome) in waiting.into_iter().zip(outcomes) {
            // Whoever waited for it may be gone.
            let _ = done.send(outcome);
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    write_errors: Vec<StatementError>,
    write_concern_error: Option<Document>,
}

#[derive(Deserialize)]
struct StatementError {
    index: usize,
    code: i32,
    #[serde(default)]
    errmsg: String,
}

/// Sends one command until the database takes it, and gives the outcome of each statement.
async fn send(
    database: &Database,
    collection: &'static str,
    statements: &[RawDocumentBuf],
) -> Vec<Result<(), WriteError>> {
    let gives_up_at = Instant::now() + PATIENCE;
    let (mut pause, pause_max) = RETRY_PAUSES;
    loop {
        let error = match try_send(database, collection, statements).await {
            Ok(outcomes) => return outcomes,
            Err(error) => error,
        };
        if Instant::now() >= gives_up_at || !is_passing(&error) {
            tracing::error!(%error, collection, changes = statements.len(), "changes could not be written");
            return statements.iter().map(|_| Err(error.clone().into())).collect();
        }
        tokio::time::sleep(pause).await;
        pause = pause_max.min(pause * 2);
    }
}

async fn try_send(
    database: &Database,
    collection: &'static str,
    statements: &[RawDocumentBuf],
) -> Result<Vec<Result<(), WriteError>>, Error> {
    let mut updates = RawArrayBuf::new();
    for statement in statements {
        updates.push(statement.clone());
    }
    let mut command = RawDocumentBuf::new();
    command.append(cstr!("update"), collection);
    command.append(cstr!("updates"), updates);
    command.append(cstr!("ordered"), false);
    let answer = database.run_raw_command(command).await?;
    let answer: Answer = bson::deserialize_from_document(answer)?;
    if answer.write_concern_error.is_some() {
        // Written here, not yet on a majority: the next attempt changes nothing and waits for it again.
        return Err(Error::from(std::io::Error::other(
            "the write was not acknowledged by a majority",
        )));
    }
    let mut outcomes: Vec<_> = statements.iter().map(|_| Ok(())).collect();
    for error in answer.write_errors {
        if let Some(outcome) = outcomes.get_mut(error.index) {
            *outcome = Err(error.into());
        }
    }
    Ok(outcomes)
}

impl From<StatementError> for WriteError {
    fn from(error: StatementError) -> Self {
        // `E11000 duplicate key error collection: db.turns index: one_running_turn dup key: ...`
        let index = error.errmsg.split(" index: ").nth(1);
        match index.and_then(|rest| rest.split_whitespace().next()) {
            Some(index) if is_duplicate_key_code(error.code) => Self::Duplicate(index.to_owned()),
            _ => Self::Refused(error.code),
        }
    }
}

/// Whether the database may take the same command in a moment: it is out of reach, or has no primary.
fn is_passing(error: &Error) -> bool {
    /// Not primary, shutting down, stepping down, network trouble inside the set.
    const CODES: [i32; 13] = [
        6, 7, 64, 89, 91, 189, 262, 9_001, 10_107, 11_600, 11_602, 13_435, 13_436,
    ];
    if let ErrorKind::Command(command) = error.kind.as_ref() {
        return CODES.contains(&command.code);
    }
    matches!(
        error.kind.as_ref(),
        ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. } | ErrorKind::ServerSelection { .. }
    )
}
