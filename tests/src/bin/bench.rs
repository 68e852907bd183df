//! `make bench`: ratios, measured side by side in one run.
//!
//! Absolute numbers mean nothing on a shared machine; how we compare with a plain reverse proxy, with the upstream
//! called directly and with the database's own benchmark, on the same machine in the same minute, does.

#![expect(clippy::print_stdout, reason = "the table is what this program is for")]

#[path = "bench/doors.rs"]
mod doors;
#[path = "bench/ledger.rs"]
mod ledger;
#[path = "bench/people.rs"]
mod people;
#[path = "bench/pgbench.rs"]
mod pgbench;
#[path = "bench/processes.rs"]
mod processes;
#[path = "bench/statistics.rs"]
mod statistics;
#[path = "bench/streams.rs"]
mod streams;
#[path = "bench/table.rs"]
mod table;
#[path = "bench/turns.rs"]
mod turns;

use std::{path::PathBuf, time::Duration};

use clap::Parser;

use crate::{processes::Stack, table::Table};

/// Measures chat turns, ledger commands and sign-ins beside what they are built on.
#[derive(Parser)]
struct Arguments {
    /// Where the built programs are.
    #[arg(long)]
    programs: PathBuf,
    /// A folder for configuration and logs.
    #[arg(long)]
    work: PathBuf,
    /// The PostgreSQL to use, with fsync on: `postgres://postgres@127.0.0.1:5432/postgres`.
    #[arg(long)]
    postgres: url::Url,
    /// The MongoDB to use.
    #[arg(long)]
    mongodb: url::Url,
    /// PostgreSQL's programs, for pgbench.
    #[arg(long)]
    postgres_programs: PathBuf,
    /// How long each row is measured.
    #[arg(long, default_value_t = 8)]
    secs: u64,
    /// Clients at once that the ledger's rows are measured with.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    clients: Vec<usize>,
    /// Rows of usage that statistics are asked of; filling in ten million takes some minutes.
    #[arg(long, default_value_t = 10_000_000)]
    usage_rows: i64,
    /// Users they are spread over.
    #[arg(long, default_value_t = 2_000)]
    usage_users: i64,
    /// How many users the list has whose pages are measured.
    #[arg(long, default_value_t = 1_000_000)]
    users: usize,
    /// How many streams are open at once.
    #[arg(long, default_value_t = 5_000)]
    streams: usize,
    /// Only the rows of one part: `turns`, `doors`, `streams`, `ledger`, `statistics` or `people`.
    #[arg(long)]
    only: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let duration = Duration::from_secs(arguments.secs);
    let wanted = |part: &str| arguments.only.as_deref().is_none_or(|only| only == part);
    let stack = Stack::start(
        &arguments.programs,
        &arguments.work,
        &arguments.postgres,
        &arguments.mongodb,
    )
    .await?;
    let mut table = Table::default();
    if ["turns", "doors", "streams"].into_iter().any(wanted) {
        let people = turns::People::prepare(&stack).await?;
        if wanted("turns") {
            turns::measure(&stack, &people, duration, &mut table).await?;
        }
        if wanted("doors") {
            doors::measure(&stack, &people, duration, &mut table).await?;
        }
        if wanted("streams") {
            streams::measure(&stack, &people, duration, arguments.streams, &mut table).await?;
        }
    }
    if wanted("ledger") {
        ledger::measure(
            &stack,
            &arguments.postgres_programs,
            &arguments.postgres,
            &arguments.clients,
            duration,
            &mut table,
        )
        .await?;
    }
    if wanted("statistics") {
        let size = statistics::Size {
            rows: arguments.usage_rows,
            users: arguments.usage_users,
        };
        statistics::measure(&stack, size, duration, &mut table).await?;
    }
    if wanted("people") {
        people::measure(&stack, arguments.users, duration, &mut table).await?;
    }
    stack.stop().await;
    println!("{table}");
    Ok(())
}
