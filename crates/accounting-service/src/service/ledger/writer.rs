//! The one task of this process that changes credits.
//!
//! It takes every command that is waiting, writes them in one transaction, and answers after the commit; meanwhile the
//! next batch collects, so the batch is as large as the database is slow and no timer is needed. Several processes may
//! do this at once: the rows of the accounts are locked, in the order of their ids.
//!
//! What can go wrong, and what then:
//! - A command is refused: its caller is told, its neighbours notice nothing.
//! - A statement fails because of what one command carries: the batch is done again one by one, and that command fails
//!   alone.
//! - Two processes get in each other's way (deadlock, serialization): done again.
//! - The connection breaks before the commit was sent: a new one is opened and the batch done again.
//! - It breaks while the commit is on its way: nobody knows whether it happened. On the new connection the accounts are
//!   locked first, which waits until the old transaction has ended one way or the other, then the ledger is asked for
//!   the commands' ids. Those that are there are answered, the others are done.
//! - The database stays away: all who wait are told so within a second; those whose command was under way are told
//!   that its outcome is not known, and learn it by asking again with the same idempotency key.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use common_http::Clock;
use diesel::result::DatabaseErrorKind;
use secrecy::SecretString;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    Answer, BEGIN_WITHIN, Job, Ledger,
    batch::{Batch, wanted},
    patience::Outage,
};
use crate::{
    domain::notice::Watch,
    error::{Error, Result},
    metrics::LedgerMetrics,
    store::{CommitError, LedgerConnection},
};

/// How often a batch is tried before it is taken apart, and a command before it is given up.
const ATTEMPTS: usize = 3;

/// Longer than any batch takes. A server that has not answered by then is taken for gone.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// An attempt that takes longer than this, and than somebody's lock is waited for, hangs on a database that is away.
const ATTEMPT_SLOW: Duration = Duration::from_millis(1_500);

/// How long the fate of a commit is inquired into before its callers are told that it is not known.
const RESOLVE_WITHIN: Duration = Duration::from_secs(5);

/// Between two attempts to reach a database that is away.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Answers of commands whose commit was sent, until it is known whether it happened.
type Decided = HashMap<Uuid, Answer>;

/// The task's state.
pub struct Writer {
    url: SecretString,
    batch_max: usize,
    watch: Option<Watch>,
    clock: Clock,
    metrics: LedgerMetrics,
    jobs: mpsc::Receiver<Job>,
    outage: Outage,
    connection: Option<LedgerConnection>,
}

/// Why a whole attempt failed.
enum Trouble {
    /// Because of what it carries; the transaction is undone.
    Rejected(Error),
    /// For a reason that may be gone next time. The connection is not to be trusted.
    Interrupted(Error),
}

impl Writer {
    /// A writer and the door to it. At most `queue_max` commands wait, at most `batch_max` are written together; what
    /// `watch` sees in them is written down to be told.
    pub fn new(
        url: SecretString,
        queue_max: usize,
        batch_max: usize,
        watch: Option<Watch>,
        clock: Clock,
        metrics: LedgerMetrics,
    ) -> (Self, Ledger) {
        let (outage, outage_watch) = Outage::new();
        let (ledger, jobs) = Ledger::new(queue_max, outage_watch, metrics.clone());
        let writer = Self {
            url,
            batch_max,
            watch,
            clock,
            metrics,
            jobs,
            outage,
            connection: None,
        };
        (writer, ledger)
    }

    /// Works until nobody can ask any more.
    pub async fn run(mut self) {
        let mut jobs = Vec::new();
        while self.jobs.recv_many(&mut jobs, self.batch_max).await > 0 {
            self.metrics
                .queue_length
                .set(i64::try_from(self.jobs.len()).unwrap_or(i64::MAX));
            let mut batch = std::mem::take(&mut jobs);
            // The others were given up by their callers, who know that nothing has happened.
            batch.retain(|job| job.claim.take());
            let (batch, late): (Vec<_>, Vec<_>) = batch
                .into_iter()
                .partition(|job| job.accepted.elapsed() < BEGIN_WITHIN);
            for job in late {
                answer(job, Err(Error::Unavailable));
            }
            if !batch.is_empty() {
                self.settle(batch).await;
            }
        }
    }

    /// Carries out a batch, one by one if need be, and answers every job of it.
    async fn settle(&mut self, jobs: Vec<Job>) {
        match self.write(&jobs).await {
            Ok(results) => answer_all(jobs, results),
            Err(Error::Unavailable) => answer_with(jobs, || Error::Unavailable),
            Err(Error::OutcomeUnknown) => answer_with(jobs, || Error::OutcomeUnknown),
            Err(error) => {
                if jobs.len() == 1 {
                    let mut error = Some(error);
                    return answer_with(jobs, || error.take().unwrap_or(Error::Unavailable));
                }
                tracing::warn!(commands = jobs.len(), %error, "a batch failed and is done one by one");
                for job in jobs {
                    match self.write(std::slice::from_ref(&job)).await {
                        Ok(results) => answer_all(vec![job], results),
                        Err(error) => answer(job, Err(error)),
                    }
                }
            }
        }
    }

    /// Carries out jobs in one transaction, as often as it takes.
    async fn write(&mut self, jobs: &[Job]) -> Result<Vec<Result<Answer>>> {
        let mut decided = Decided::new();
        let mut attempt = 1;
        loop {
            let connection = self.connection(!decided.is_empty()).await?;
            let started = Instant::now();
            let attempt_made =
                tokio::time::timeout(ATTEMPT_TIMEOUT, self.attempt(&connection, jobs, &mut decided));
            let tried = self.watched(attempt_made).await;
            let trouble = match tried {
                Ok(Ok(results)) => {
                    self.metrics
                        .committed(jobs.len(), started.elapsed().as_secs_f64());
                    self.connection = Some(connection);
                    return Ok(results);
                }
                Ok(Err(error)) => trouble(error),
                Err(_) => Trouble::Interrupted(Error::Unavailable),
            };
            match trouble {
                Trouble::Rejected(error) => {
                    if connection.rollback().await.is_ok() {
                        self.connection = Some(connection);
                    }
                    if jobs.len() > 1 || attempt >= ATTEMPTS || !may_heal(&error) {
                        return Err(error);
                    }
                }
                Trouble::Interrupted(error) => {
                    tracing::warn!(%error, attempt, "the ledger's connection is replaced");
                    self.metrics.reconnects.inc();
                    if attempt >= ATTEMPTS {
                        return Err(if decided.is_empty() {
                            error
                        } else {
                            Error::OutcomeUnknown
                        });
                    }
                }
            }
            attempt += 1;
        }
    }

    /// Says that the database is away while `attempt` takes too long.
    async fn watched<T>(&self, attempt: impl Future<Output = T>) -> T {
        tokio::pin!(attempt);
        tokio::select! {
            biased;
            done = &mut attempt => return done,
            () = tokio::time::sleep(ATTEMPT_SLOW) => self.outage.begin(),
        }
        let done = attempt.await;
        self.outage.end();
        done
    }

    /// One transaction. `decided` is filled when the commit is about to be sent.
    async fn attempt(
        &self,
        connection: &LedgerConnection,
        jobs: &[Job],
        decided: &mut Decided,
    ) -> Result<Vec<Result<Answer>>> {
        let doubtful = decided.keys().copied().collect();
        let loaded = connection.begin(&wanted(jobs, doubtful)).await?;
        if loaded.done.is_empty() {
            // The accounts are locked and nothing is there: whatever was sent before did not happen.
            decided.clear();
        }
        // After the locks, for waiting for them may have taken a while.
        let now = self.clock.now();
        let mut batch = Batch::new(loaded, decided, now, self.watch);
        let results: Vec<_> = jobs.iter().map(|job| batch.run(job)).collect();
        let (changes, deciding) = (batch.changes, batch.deciding);
        if batch.spoiled {
            connection.rollback().await?;
            return Err(Error::Unreadable("an answer"));
        }
        if changes.is_empty() {
            connection.rollback().await?;
            return Ok(results);
        }
        decided.extend(deciding);
        match connection.commit(&changes, now).await {
            Ok(()) => {}
            Err(CommitError::Undone(error)) => {
                decided.clear();
                return Err(error);
            }
            Err(CommitError::InDoubt(error)) => return Err(error),
        }
        for entry in changes.entries() {
            self.metrics.moved(entry);
        }
        Ok(results)
    }

    /// The connection, or a new one. When the fate of a commit hangs on it, the database is given time to come back.
    async fn connection(&mut self, patient: bool) -> Result<LedgerConnection> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let started = Instant::now();
        loop {
            let opened = self.watched(LedgerConnection::open(&self.url)).await;
            if opened.is_err() {
                self.outage.begin();
            }
            match opened {
                Ok(connection) => {
                    self.outage.end();
                    return Ok(connection);
                }
                Err(error) if patient && started.elapsed() < RESOLVE_WITHIN => {
                    tracing::debug!(%error, "the database is still away");
                    tokio::time::sleep(RECONNECT_PAUSE).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the ledger cannot reach its database");
                    return Err(if patient {
                        Error::OutcomeUnknown
                    } else {
                        Error::Unavailable
                    });
                }
            }
        }
    }
}

/// Whether an attempt failed by what it carries or by what happened around it.
fn trouble(error: Error) -> Trouble {
    let rejected = if let Error::Query(diesel::result::Error::DatabaseError(kind, _)) = &error {
        matches!(
            kind,
            DatabaseErrorKind::UniqueViolation
                | DatabaseErrorKind::ForeignKeyViolation
                | DatabaseErrorKind::CheckViolation
                | DatabaseErrorKind::NotNullViolation
                | DatabaseErrorKind::RestrictViolation
                | DatabaseErrorKind::ExclusionViolation
        )
    } else {
        matches!(error, Error::Unreadable(_) | Error::Serialization(_))
    };
    if rejected {
        Trouble::Rejected(error)
    } else {
        Trouble::Interrupted(error)
    }
}

/// Another process may have taken the same key or session a moment ago: the next look shows it. What breaks a rule of a
/// table breaks it again.
fn may_heal(error: &Error) -> bool {
    let Error::Query(diesel::result::Error::DatabaseError(kind, _)) = error else {
        return false;
    };
    matches!(
        kind,
        DatabaseErrorKind::UniqueViolation | DatabaseErrorKind::RestrictViolation
    )
}

fn answer(job: Job, result: Result<Answer>) {
    // Before the answer, for whoever has it may use the key again.
    drop(job.key_in_use);
    // Whoever asked may have left; what was done stays done.
    let _ = job.reply.send(result);
}

fn answer_all(jobs: Vec<Job>, results: Vec<Result<Answer>>) {
    for (job, result) in jobs.into_iter().zip(results) {
        answer(job, result);
    }
}

fn answer_with(jobs: Vec<Job>, mut error: impl FnMut() -> Error) {
    for job in jobs {
        answer(job, Err(error()));
    }
}
