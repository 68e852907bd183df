//! The accounting service's program.

use std::process::ExitCode;

use accounting_service::{App, Config, SERVICE, config, rebuild::rebuild_rollups, verify::verify};
use clap::{Parser, Subcommand};
use common_config::Env;

/// The money: allocations, holds, the ledger, usage. Without a command it serves.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Say what is wrong with the configuration, and do nothing else.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Check the ledger's invariants; exit 1 when one is violated. Needs the database's variables only.
    Verify,
    /// Make the sums of usage anew from the usage log, while the service runs. Needs the database's variables only.
    RebuildRollups,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let env = Env::from_process();
    if let Some(command) = cli.command {
        let Ok(url) = config::database_url(&env) else {
            return Ok(complain(&env));
        };
        let out = &mut std::io::stdout();
        let done = match command {
            Command::Verify => verify(&url, out).await?,
            Command::RebuildRollups => rebuild_rollups(&url, out).await?,
        };
        return Ok(if done {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    let Ok(config) = Config::from_env(&env) else {
        return Ok(complain(&env));
    };
    if let Err(mistake) = common_telemetry::init(SERVICE, config.log_level.as_deref()) {
        env.mistake(mistake);
        return Ok(complain(&env));
    }
    if cli.check_config {
        return Ok(ExitCode::SUCCESS);
    }
    App::build(config).await?.run().await?;
    Ok(ExitCode::SUCCESS)
}

/// Says everything that is wrong with the configuration.
#[expect(
    clippy::print_stderr,
    reason = "this is for the person who starts the program, before there is a log"
)]
fn complain(env: &Env) -> ExitCode {
    for mistake in env.mistakes() {
        eprintln!("{mistake}");
    }
    ExitCode::FAILURE
}
