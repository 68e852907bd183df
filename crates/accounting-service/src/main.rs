//! The accounting service's program.

use std::process::ExitCode;

use accounting_service::{
    App, Config, SERVICE, config,
    domain::ids::UserId,
    export::{Format, export},
    rebuild::rebuild_rollups,
    verify::verify,
};
use clap::{Parser, Subcommand};
use common_config::Env;
use common_http::check_readiness;
use common_telemetry::{Export, init_with_export};

/// What `verify` exits with when it could not look.
const EXIT_NOT_VERIFIED: u8 = 2;

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
    /// Ask the service that runs here whether it is ready; exit 1 when it is not.
    Healthcheck,
    /// Check the ledger's invariants: exit 0 when all hold, 1 when one is violated, 2 when they could not be checked.
    /// Needs the database's variables only.
    Verify,
    /// Make the sums of usage anew from the usage log, while the service runs. Needs the database's variables only.
    RebuildRollups,
    /// Write the ledger to standard output. Needs the database's variables only.
    ExportLedger {
        /// How it is written.
        #[arg(long, value_enum, default_value_t = Format::Csv)]
        format: Format,
        /// Only the account of this user id.
        #[arg(long, value_parser = user_id)]
        user: Option<UserId>,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let env = Env::from_process();
    if let Some(command) = cli.command {
        return run(command, &env).await;
    }
    let (export, config) = (Export::from_env(&env), Config::from_env(&env));
    let (Ok(export), Ok(config)) = (export, config) else {
        return Ok(complain(&env));
    };
    let exporter = match init_with_export(SERVICE, config.log_level.as_deref(), export.as_ref()) {
        Ok(exporter) => exporter,
        Err(mistake) => {
            env.mistake(mistake);
            return Ok(complain(&env));
        }
    };
    if cli.check_config {
        return Ok(ExitCode::SUCCESS);
    }
    App::build(config).await?.run().await?;
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    Ok(ExitCode::SUCCESS)
}

async fn run(command: Command, env: &Env) -> anyhow::Result<ExitCode> {
    // Not buffered: the lock of standard output would have to be held across waits, and what is written comes in pages.
    let mut out = std::io::stdout();
    let Ok(url) = config::database_url(env) else {
        complain(env);
        return Ok(ExitCode::from(EXIT_NOT_VERIFIED));
    };
    match command {
        Command::Healthcheck => match check_readiness(env, config::PORT_DEFAULT) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(reason) => anyhow::bail!(reason),
        },
        Command::Verify => Ok(match verify(&url, &mut out).await {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(error) => {
                lament(&error);
                ExitCode::from(EXIT_NOT_VERIFIED)
            }
        }),
        Command::RebuildRollups => Ok(if rebuild_rollups(&url, &mut out).await? {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }),
        Command::ExportLedger { format, user } => {
            export(&url, format, user, &mut out).await?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn user_id(text: &str) -> Result<UserId, &'static str> {
    UserId::parse(text).ok_or("not 24 hexadecimal digits")
}

#[expect(clippy::print_stderr, reason = "this is for the person who runs the command")]
fn lament(error: &anyhow::Error) {
    eprintln!("not verified: {error:#}");
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
