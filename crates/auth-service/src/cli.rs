//! What the program can be told to do: without a command it serves. Each command is a file in `cli/`.

mod check_config;
mod create_admin;
mod import;
mod rotate_keys;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use common_config::Env;
use common_telemetry::{Export, init_with_export};
use secrecy::ExposeSecret as _;

use self::{create_admin::CreateAdmin, import::Import, rotate_keys::RotateKeys};
use crate::{
    App, Config, NAME,
    app::DATABASE_DEFAULT,
    config::{PORT_DEFAULT, mongodb_uri},
};

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
    /// Ask the service that runs here whether it is ready; status 1 when it is not.
    Healthcheck,
    #[command(flatten)]
    Archive(mongo_archive::Command),
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
        Some(Command::Healthcheck) => match common_http::check_readiness(&env, PORT_DEFAULT) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(reason) => anyhow::bail!(reason),
        },
        Some(Command::Archive(command)) => match mongodb_uri(&env) {
            Ok(uri) => {
                report(&command.run(uri.expose_secret(), None, DATABASE_DEFAULT).await?);
                Ok(ExitCode::SUCCESS)
            }
            Err(_) => Ok(complain(&env)),
        },
        None if cli.check_config => Ok(check_config::run(&env)),
        None => serve(&env).await,
    }
}

async fn serve(env: &Env) -> anyhow::Result<ExitCode> {
    let (export, config) = (Export::from_env(env), Config::from_env(env));
    let (Ok(export), Ok(config)) = (export, config) else {
        return Ok(complain(env));
    };
    let exporter = init_with_export(NAME, config.log_level.as_deref(), export.as_ref());
    let exporter = exporter.map_err(anyhow::Error::msg)?;
    App::build(config).await?.run().await?;
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what was done, where it does not mix with what a command writes.
#[expect(clippy::print_stderr, reason = "this is for the person who runs the command")]
fn report(line: &str) {
    eprintln!("{line}");
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
