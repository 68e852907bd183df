//! PostgreSQL's own benchmark, on the same server and in the same minutes.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use tokio::process::Command;
use url::Url;

use crate::{processes::Stack, table::Measured, turns::host_and_port};

/// PostgreSQL's own benchmark.
pub(crate) struct Pgbench<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) programs: &'a Path,
    pub(crate) postgres: &'a Url,
    pub(crate) duration: Duration,
}

impl Pgbench<'_> {
    /// Transactions of one durable UPDATE and INSERT each, on the accounts that `choose` puts into `:id`.
    pub(crate) async fn run(
        &self,
        choose: &str,
        accounts: usize,
        clients: usize,
    ) -> anyhow::Result<Measured> {
        let (host, port) = host_and_port(self.postgres);
        let script = self.stack.work.join("pgbench.sql");
        let transaction = "BEGIN;\nUPDATE bench_accounts SET balance = balance - 1 WHERE id = :id;\n\
             INSERT INTO bench_ledger (account_id, amount) VALUES (:id, -1);\nCOMMIT;\n";
        std::fs::write(&script, format!("{choose}{transaction}"))?;
        self.set_up(accounts).await?;
        let logs = self.stack.work.join("pgbench");
        let _ = std::fs::remove_dir_all(&logs);
        std::fs::create_dir_all(&logs)?;
        let output = Command::new(self.programs.join("pgbench"))
            .args([
                "-h", &host, "-p", &port, "-U", "postgres", "-n", "-M", "prepared", "-l",
            ])
            .args(["-j", &clients.min(2).to_string(), "-c", &clients.to_string()])
            .args(["-T", &self.duration.as_secs().to_string(), "-f"])
            .arg(&script)
            .arg(self.postgres.path().trim_start_matches('/'))
            .current_dir(&logs)
            .output()
            .await
            .context("pgbench is not installed")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|rest| rest.split(' ').next());
        Ok(Measured {
            rate: rate.context("pgbench printed no rate")?.parse()?,
            latencies: Some(latencies(&logs)?),
        })
    }

    async fn set_up(&self, accounts: usize) -> anyhow::Result<()> {
        use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
        let setup = format!(
            "DROP TABLE IF EXISTS bench_accounts, bench_ledger; \
             CREATE TABLE bench_accounts (id bigint PRIMARY KEY, balance bigint NOT NULL); \
             CREATE TABLE bench_ledger (id bigserial PRIMARY KEY, account_id bigint NOT NULL, amount bigint NOT NULL, \
             created_at timestamptz NOT NULL DEFAULT now()); \
             INSERT INTO bench_accounts SELECT g, 1000000000 FROM generate_series(1, {accounts}) g; \
             ANALYZE bench_accounts;"
        );
        let mut connection = AsyncPgConnection::establish(self.postgres.as_str()).await?;
        connection.batch_execute(&setup).await?;
        Ok(())
    }
}

/// The median and the 99th percentile of what pgbench logged: the third field of a line, in microseconds.
fn latencies(logs: &Path) -> anyhow::Result<(Duration, Duration)> {
    let mut micros = Vec::new();
    for entry in std::fs::read_dir(logs)? {
        let log = std::fs::read_to_string(entry?.path())?;
        micros.extend(
            log.lines()
                .filter_map(|line| line.split(' ').nth(2)?.parse::<u64>().ok()),
        );
    }
    micros.sort_unstable();
    let at = |percent: usize| {
        let index = (micros.len() * percent / 100).min(micros.len().saturating_sub(1));
        micros.get(index).copied().context("pgbench logged nothing")
    };
    Ok((Duration::from_micros(at(50)?), Duration::from_micros(at(99)?)))
}
