//! The proxy-service binary.

use clap::{Parser, Subcommand};
use common_config::Env;
use common_http::check_readiness;
use common_telemetry::{Export, init_with_export};
use proxy_service::{App, Config, NAME, PORT_DEFAULT, database};
use secrecy::ExposeSecret as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Chat turns, streams and history in front of Flowise. Configured by environment variables only.
#[derive(Parser)]
#[command(name = "proxy-service", version)]
struct Arguments {
    /// Says what is wrong with the configuration and ends, with status 1 when something is.
    #[arg(long)]
    check_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Asks the service that runs here whether it is ready; status 1 when it is not.
    Healthcheck,
    #[command(flatten)]
    Archive(mongo_archive::Command),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let env = Env::from_process();
    match arguments.command {
        Some(Command::Healthcheck) => {
            return check_readiness(&env, PORT_DEFAULT).map_err(anyhow::Error::msg);
        }
        Some(Command::Archive(command)) => return archive(command, &env).await,
        None => {}
    }
    let (export, config) = (Export::from_env(&env), Config::from_env(&env));
    let (Ok(export), Ok(config)) = (export, config) else {
        anyhow::bail!(
            "the configuration is not valid:\n  {}",
            env.mistakes().join("\n  ")
        );
    };
    if arguments.check_config {
        return Ok(());
    }
    let exporter = init_with_export(NAME, config.log_level.as_deref(), export.as_ref());
    let exporter = exporter.map_err(anyhow::Error::msg)?;
    let outcome = Box::pin(App::build(config)).await?.run().await;
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    outcome
}

/// `backup` and `restore`.
#[expect(clippy::print_stderr, reason = "this is for the person who runs the command")]
async fn archive(command: mongo_archive::Command, env: &Env) -> anyhow::Result<()> {
    let (Ok(uri), Ok(name)) = database(env) else {
        anyhow::bail!("{}", env.mistakes().join("\n"));
    };
    let done = command.run(uri.expose_secret(), Some(&name), &name).await?;
    eprintln!("{done}");
    Ok(())
}
