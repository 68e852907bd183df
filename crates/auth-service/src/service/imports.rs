//! Imports a table of people: looks at all of it first, then makes them a few at a time and tells what became of each.
//!
//! Whoever stops half way (the client, the service, the database) has made some of them; the same table again makes the
//! rest, because an address that exists is left as it is.

pub(crate) mod table;

use std::{fs::File, sync::Arc};

use common_http::{Clock, RequestContext};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::spawn_blocking,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::table::{Survey, Table, Unusable};
use crate::{
    domain::import::{HandOver, RowResult, RowStatus},
    error::{Error, Result},
    service::{
        accounts::Verification,
        bulk::{Bulk, OnBehalf, Seen, Treatment},
    },
    store::audit::{AuditEvent, AuditStore},
};

/// Rows that are treated together.
const BATCH: usize = 500;

/// Rows with a password that are treated together: each takes as long as a sign-in, and whoever watches wants to see
/// something happen.
const PASSWORDS_IN_BATCH: usize = 4;

/// Batches of results that wait for a slow client.
const REPORTS_WAITING_MAX: usize = 4;

/// Imports tables.
#[derive(Clone, Debug)]
pub(crate) struct Imports {
    bulk: Bulk,
    audit: AuditStore,
    turn: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
    clock: Clock,
}

/// The right to import; there is one.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// A table that was looked at as a whole.
#[derive(Debug)]
pub(crate) struct Prepared {
    file: File,
    /// What is in it.
    pub(crate) survey: Survey,
}

/// How a table is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImportOptions {
    /// Say what would happen, and change nothing.
    pub(crate) dry_run: bool,
    /// Change nothing when any row would fail.
    pub(crate) atomic: bool,
    /// Invite those without a password.
    pub(crate) invite: bool,
}

/// News of a running import.
#[derive(Debug)]
pub(crate) enum Report {
    /// What became of further rows.
    Rows(Vec<RowResult>),
    /// All rows were treated. Without this the import broke off.
    Summary(Box<Summary>),
}

/// What became of a table.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    /// How it was imported.
    pub(crate) options: ImportOptions,
    /// Whether anything could be changed: not in a dry run, nor when all had to be good and were not.
    pub(crate) is_applied: bool,
    /// How the table is written.
    pub(crate) survey: Survey,
    /// Rows that were treated.
    pub(crate) total: u64,
    /// Accounts made.
    pub(crate) created: u64,
    /// Accounts that would be made.
    pub(crate) valid: u64,
    /// Accounts that were there before.
    pub(crate) unchanged: u64,
    /// Rows that failed.
    pub(crate) failed: u64,
    /// People who are invited to choose a password.
    pub(crate) invited: u64,
    /// Rows whose gifts are all given.
    pub(crate) handed_over: u64,
    /// Rows with gifts that will be given later.
    pub(crate) queued: u64,
}

impl Imports {
    /// Imports by means of `bulk`; what runs is among `tasks` and ends early at `stop`.
    pub(crate) fn new(
        bulk: Bulk,
        audit: AuditStore,
        tasks: TaskTracker,
        stop: CancellationToken,
        clock: Clock,
    ) -> Self {
        Self {
            bulk,
            audit,
            turn: Arc::new(Semaphore::new(1)),
            tasks,
            stop,
            clock,
        }
    }

    /// The right to import, if nobody has it.
    pub(crate) fn take_turn(&self) -> Result<Turn> {
        Arc::clone(&self.turn)
            .try_acquire_owned()
            .map(|permit| Turn { _permit: permit })
            .or(Err(Error::ImportRunning))
    }

    /// Looks at the whole table, changing nothing.
    pub(crate) async fn prepare(&self, file: File) -> Result<Prepared> {
        let surveyed =
            spawn_blocking(move || Survey::take(&file).map(|survey| Prepared { file, survey })).await?;
        let prepared = surveyed.map_err(unusable)?;
        let (gives_credits, gives_chatflows) = self.bulk.desk().can_give();
        let wants = [
            (
                prepared.survey.has_credits && !gives_credits,
                "credits",
                "ACCOUNTING_SERVICE_URL",
            ),
            (
                prepared.survey.has_chatflows && !gives_chatflows,
                "chatflows",
                "PROXY_SERVICE_URL",
            ),
        ];
        match wants.into_iter().find(|(is_missing, ..)| *is_missing) {
            Some((_, gift, setting)) => Err(Error::UnusableTable(format!(
                "the table gives {gift}, but this service does not know who keeps them: set {setting}"
            ))),
            None => Ok(prepared),
        }
    }

    /// Begins to import in the background. It ends with the table, with the service, or when nobody reads the reports.
    pub(crate) fn start(
        &self,
        prepared: Prepared,
        options: ImportOptions,
        behalf: OnBehalf,
        turn: Turn,
    ) -> mpsc::Receiver<Report> {
        let (reports, receiver) = mpsc::channel(REPORTS_WAITING_MAX);
        let imports = self.clone();
        let work = async move {
            if let Err(error) = imports.run(&prepared, options, &behalf, &reports).await {
                tracing::error!(?error, "an import broke off");
            }
            drop(turn);
        };
        self.tasks.spawn(RequestContext::current().scope(work));
        receiver
    }

    /// Imports, and reports into `reports`.
    pub(crate) async fn run(
        &self,
        prepared: &Prepared,
        options: ImportOptions,
        behalf: &OnBehalf,
        reports: &mpsc::Sender<Report>,
    ) -> Result<()> {
        let mut summary = Summary::new(options, prepared.survey.clone());
        self.record(behalf, "import_started", "ok", &summary).await;
        let result = self
            .try_run(prepared, options, behalf, reports, &mut summary)
            .await;
        let outcome = match &result {
            Ok(true) => "ok",
            Ok(false) => "stopped",
            Err(_) => "failed",
        };
        self.record(behalf, "import_finished", outcome, &summary).await;
        if result? {
            // Nobody listening any more is no failure: all is done.
            let _ = reports.send(Report::Summary(Box::new(summary))).await;
        }
        Ok(())
    }

    /// Says whether all rows were treated.
    async fn try_run(
        &self,
        prepared: &Prepared,
        options: ImportOptions,
        behalf: &OnBehalf,
        reports: &mpsc::Sender<Report>,
        summary: &mut Summary,
    ) -> Result<bool> {
        let mut treatment = Treatment {
            dry_run: options.dry_run,
            invite: options.invite,
            verification: Verification::Vouched,
        };
        if options.atomic && !options.dry_run {
            let mut rehearsal = summary.clone();
            let looking = Treatment {
                dry_run: true,
                ..treatment
            };
            if !self.pass(prepared, looking, behalf, None, &mut rehearsal).await? {
                return Ok(false);
            }
            treatment.dry_run = rehearsal.failed > 0;
        }
        summary.is_applied = !treatment.dry_run;
        self.pass(prepared, treatment, behalf, Some(reports), summary)
            .await
    }

    /// Goes through the table once. Says whether it came to its end.
    async fn pass(
        &self,
        prepared: &Prepared,
        treatment: Treatment,
        behalf: &OnBehalf,
        reports: Option<&mpsc::Sender<Report>>,
        summary: &mut Summary,
    ) -> Result<bool> {
        let passwords = if treatment.dry_run {
            BATCH
        } else {
            PASSWORDS_IN_BATCH
        };
        let mut table = Table::open(&prepared.file, prepared.survey.encoding).map_err(unusable)?;
        let mut seen = Seen::default();
        loop {
            let read = spawn_blocking(move || table.batch(BATCH, passwords).map(|rows| (table, rows)));
            let (rest, rows) = read.await??;
            table = rest;
            if rows.is_empty() {
                return Ok(true);
            }
            if self.stop.is_cancelled() {
                return Ok(false);
            }
            let results = self.bulk.apply(&rows, treatment, behalf, &mut seen).await?;
            summary.add(&results);
            let Some(reports) = reports else { continue };
            tokio::select! {
                sent = reports.send(Report::Rows(results)) => if sent.is_err() {
                    return Ok(false);
                },
                () = self.stop.cancelled() => return Ok(false),
            }
        }
    }

    async fn record(
        &self,
        behalf: &OnBehalf,
        action: &'static str,
        outcome: &'static str,
        summary: &Summary,
    ) {
        let event = AuditEvent {
            action,
            outcome,
            actor: behalf.actor,
            subject: None,
            session_id: None,
            origin: behalf.origin.as_ref(),
        };
        let details = [
            ("rows", summary.survey.rows.to_string()),
            ("created", summary.created.to_string()),
            ("unchanged", summary.unchanged.to_string()),
            ("failed", summary.failed.to_string()),
            ("dryRun", summary.options.dry_run.to_string()),
        ];
        let details: Vec<_> = details
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        self.audit.record_with(event, &details, self.clock.now()).await;
    }
}

impl Summary {
    fn new(options: ImportOptions, survey: Survey) -> Self {
        Self {
            options,
            is_applied: false,
            survey,
            total: 0,
            created: 0,
            valid: 0,
            unchanged: 0,
            failed: 0,
            invited: 0,
            handed_over: 0,
            queued: 0,
        }
    }

    /// Counts further rows.
    fn add(&mut self, results: &[RowResult]) {
        for result in results {
            self.total += 1;
            match result.status {
                RowStatus::Created => self.created += 1,
                RowStatus::Valid => self.valid += 1,
                RowStatus::Unchanged => self.unchanged += 1,
                RowStatus::Failed => self.failed += 1,
            }
            self.invited += u64::from(result.invited);
            let gifts = [result.credits, result.chatflows];
            if gifts.contains(&Some(HandOver::Queued)) {
                self.queued += 1;
            } else if gifts.contains(&Some(HandOver::HandedOver)) {
                self.handed_over += 1;
            }
        }
    }
}

fn unusable(error: Unusable) -> Error {
    match error {
        Unusable::Content(message) => Error::UnusableTable(message),
        Unusable::Io(error) => Error::Spool(error),
    }
}
