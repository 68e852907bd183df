//! `import`: makes the people of a table, by the same code as `POST /api/admin/users/import`, without a running service.
//! Invitations are sent by the service, as soon as one runs.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{
    Config,
    app::Offline,
    domain::import::RowStatus,
    service::{
        bulk::OnBehalf,
        imports::{ImportOptions, Report, Summary},
    },
};

/// Without a terminal a line is written after so many rows.
const ROWS_A_LINE: u64 = 5_000;

/// Batches of results that wait to be shown.
const REPORTS_WAITING_MAX: usize = 4;

/// What to import, and how.
#[derive(Args)]
pub(super) struct Import {
    /// The table: CSV with a header, see proto-docs/import.md; `-` reads standard input.
    file: PathBuf,
    /// Say what would happen, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Invite nobody to choose a password.
    #[arg(long)]
    no_invite: bool,
    /// Change nothing when any row would fail.
    #[arg(long)]
    atomic: bool,
}

/// Imports; status 1 when any row failed.
pub(super) async fn run(config: Config, import: Import) -> anyhow::Result<ExitCode> {
    let path = import.file.clone();
    let table = spawn_blocking(move || open(&path)).await?;
    let table = table.with_context(|| format!("{} cannot be read", import.file.display()))?;
    let offline = Offline::open(&config).await?;
    let prepared = offline.imports.prepare(table).await?;
    let options = ImportOptions {
        dry_run: import.dry_run,
        atomic: import.atomic,
        invite: !import.no_invite,
    };
    let behalf = OnBehalf {
        actor: None,
        origin: None,
    };
    let (sender, reports) = mpsc::channel(REPORTS_WAITING_MAX);
    let screen = Screen::new(prepared.survey.rows);
    let (imported, summary) = tokio::join!(
        async {
            let result = offline.imports.run(&prepared, options, &behalf, &sender).await;
            drop(sender);
            result
        },
        screen.follow(reports)
    );
    imported?;
    let summary = summary?.context("the import broke off; run it again, it goes on")?;
    write_out(&said(&summary))?;
    Ok(if summary.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The file; what comes from standard input is copied first, because a table is read more than once.
fn open(path: &Path) -> io::Result<File> {
    if path.as_os_str() != "-" {
        return File::open(path);
    }
    let mut copy = tempfile::tempfile()?;
    io::copy(&mut io::stdin().lock(), &mut copy)?;
    Ok(copy)
}

/// What a person sees meanwhile: a bar on a terminal, else a line now and then.
struct Screen {
    bar: Option<ProgressBar>,
    rows: u64,
}

impl Screen {
    fn new(rows: u64) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let template = "{bar:40} {pos}/{len} rows, {per_sec}, {eta} left";
            let style =
                ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(rows).with_style(style)
        });
        Self { bar, rows }
    }

    /// Shows the reports until the last; returns the summary, if it came.
    async fn follow(self, mut reports: mpsc::Receiver<Report>) -> anyhow::Result<Option<Summary>> {
        let (mut done, mut said) = (0, 0);
        while let Some(report) = reports.recv().await {
            let results = match report {
                Report::Rows(results) => results,
                Report::Summary(summary) => {
                    if let Some(bar) = &self.bar {
                        bar.finish_and_clear();
                    }
                    return Ok(Some(*summary));
                }
            };
            for result in &results {
                done += 1;
                if result.status == RowStatus::Failed {
                    let message = result.message.as_deref().unwrap_or_default();
                    self.say(&format!("line {}: {} {message}", result.line, result.email))?;
                }
            }
            if let Some(bar) = &self.bar {
                bar.set_position(done);
            } else if done / ROWS_A_LINE > said {
                said = done / ROWS_A_LINE;
                self.say(&format!("{done} of {} rows", self.rows))?;
            }
        }
        Ok(None)
    }

    fn say(&self, line: &str) -> io::Result<()> {
        // A table is somebody else's text: nothing in it may steer the terminal.
        let line: String = line.chars().filter(|character| !character.is_control()).collect();
        match &self.bar {
            Some(bar) => bar.suspend(|| writeln!(io::stderr(), "{line}")),
            None => writeln!(io::stderr(), "{line}"),
        }
    }
}

fn said(summary: &Summary) -> String {
    let counted = if summary.is_applied {
        format!("{} created, {} invited", summary.created, summary.invited)
    } else {
        format!("nothing was changed: {} could be created", summary.valid)
    };
    let gifts = match (summary.handed_over, summary.queued) {
        (0, 0) => String::new(),
        (given, queued) => {
            format!("; credits and chatflows: {given} given, {queued} to be given by the service")
        }
    };
    format!(
        "{} rows: {counted}, {} unchanged, {} failed{gifts}\n",
        summary.total, summary.unchanged, summary.failed
    )
}

fn write_out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
