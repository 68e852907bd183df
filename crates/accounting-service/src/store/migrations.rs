//! Brings a database to the form this version needs.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use secrecy::SecretString;
use tokio::time::{Instant, sleep};

use crate::error::Result;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Held while migrations run, so that replicas that start together run each once. The number spells "acct".
const LOCK: i64 = 0x6163_6374;

/// How long a database that starts beside this service, or has much to do, is waited for.
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// How long after a connection failed the next one is tried.
const TRY_EVERY: Duration = Duration::from_millis(500);

/// Runs the migrations that the database has not seen. Waits a while for a database that is not there yet.
pub async fn migrate(url: &SecretString) -> anyhow::Result<()> {
    let url = url.clone();
    // Diesel's harness blocks its thread and needs a runtime of several, which the caller may not have.
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        runtime.block_on(run(&url))
    })
    .await?
}

async fn run(url: &SecretString) -> anyhow::Result<()> {
    let mut connection = connect(url).await.context("the database cannot be reached")?;
    // The lock ends with the connection.
    diesel::sql_query(format!("SELECT pg_advisory_lock({LOCK})"))
        .execute(&mut connection)
        .await?;
    let mut harness = AsyncMigrationHarness::new(connection);
    let applied = harness
        .run_pending_migrations(MIGRATIONS)
        .map_err(|error| anyhow!("a migration failed: {error}"))?;
    for version in applied {
        tracing::info!(%version, "migration applied");
    }
    Ok(())
}

async fn connect(url: &SecretString) -> Result<AsyncPgConnection> {
    let until = Instant::now() + STARTS_WITHIN;
    loop {
        match super::connect(url).await {
            Err(error) if Instant::now() < until => {
                tracing::warn!(?error, "the database cannot be reached; trying on");
                sleep(TRY_EVERY).await;
            }
            connected => return connected,
        }
    }
}
