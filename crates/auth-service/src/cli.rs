//! What the program can be told to do: without a command it serves. Each command is a file in `cli/`.

mod check_config;
mod create_admin;
mod import;
mod rotate_keys;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common_config::Env;

use self::{create_admin::CreateAdmin, import::Import, rotate_keys::RotateKeys};
use crate::{App, Config, NAME};

/// Accounts, sessions and tokens. Configured by environment variables only; without a command it serves.
#[derive(Parser)]
#[command(name = "auth-service", version)]
struct Cli {
    /// The same as the command check-config.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Say what is wrong with the configuration, and do nothing else; status 1 when something is.
    CheckConfig,
    RotateKeys(RotateKeys),
    /// Make the people of a table; status 1 when any row failed.
    Import(Import),
    /// Make an administrator; nobody who exists is promoted.
    CreateAdmin(CreateAdmin),
}

/// Does what the command line says.
pub async fn run() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let env = Env::from_process();
    match cli.command {
        Some(Command::CheckConfig) => Ok(check_config::run(&env)),
        Some(Command::RotateKeys(command)) => command.run(&env),
        Some(Command::Import(import)) => match Config::from_env(&env) {
            Ok(config) => Box::pin(import::run(config, import)).await,
            Err(_) => Ok(complain(&env)),
        },
        Some(Command::CreateAdmin(admin)) => match Config::from_env(&env) {
            Ok(config) => Box::pin(create_admin::run(&env, config, admin)).await,
            Err(_) => Ok(complain(&env)),
        },
        None if cli.check_config => Ok(check_config::run(&env)),
        None => serve(&env).await,
    }
}

async fn serve(env: &Env) -> anyhow::Result<ExitCode> {
    let Ok(config) = Config::from_env(env) else {
        return Ok(complain(env));
    };
    common_telemetry::init(NAME, config.log_level.as_deref()).map_err(anyhow::Error::msg)?;
    App::build(config).await?.run().await?;
    Ok(ExitCode::SUCCESS)
}

/// Says everything that is wrong with the configuration.
#[expect(
    clippy::print_stderr,
    reason = "this is for the person who starts the program, before there is a log"
)]
fn complain(env: &Env) -> ExitCode {
    eprintln!("the configuration is not valid:");
    for mistake in env.mistakes() {
        eprintln!("  {mistake}");
    }
    ExitCode::FAILURE
}
