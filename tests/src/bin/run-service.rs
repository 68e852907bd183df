//! Runs one service as a process of its own, so that a test can kill it. Configured by the environment, as in production.
//! `run-service SERVICE backup` and `restore` are the commands of that service.

use anyhow::Context as _;
use common_config::Env;
use common_telemetry::{Export, Exporter, init_with_export};
use secrecy::ExposeSecret as _;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let service = std::env::args().nth(1).context("which service?")?;
    let env = Env::from_process();
    let invalid = |_| anyhow::anyhow!("{}", env.mistakes().join("\n"));
    if let Some(word) = std::env::args().nth(2) {
        return archive(&word, &service, &env).await;
    }
    let export = Export::from_env(&env).map_err(invalid)?;
    let level = env.var("LOG_LEVEL").or("warn".to_owned()).map_err(invalid)?;
    let exporter = |name| start_export(name, &level, export.as_ref());
    let exporter = match service.as_str() {
        "auth-service" => {
            let config = auth_service::Config::from_env(&env).map_err(invalid)?;
            let exporter = exporter(auth_service::NAME)?;
            auth_service::App::build(config).await?.run().await?;
            exporter
        }
        "accounting-service" => {
            let config = accounting_service::Config::from_env(&env).map_err(invalid)?;
            let exporter = exporter(accounting_service::SERVICE)?;
            accounting_service::App::build(config).await?.run().await?;
            exporter
        }
        "proxy-service" => {
            let config = proxy_service::Config::from_env(&env).map_err(invalid)?;
            let exporter = exporter(proxy_service::NAME)?;
            Box::pin(proxy_service::App::build(config)).await?.run().await?;
            exporter
        }
        other => anyhow::bail!("there is no way to run {other} here"),
    };
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    Ok(())
}

/// What the services' own programs do with these words.
async fn archive(word: &str, service: &str, env: &Env) -> anyhow::Result<()> {
    let command = match word {
        "backup" => mongo_archive::Command::Backup,
        "restore" => mongo_archive::Command::Restore(mongo_archive::Restore { replace: false }),
        other => anyhow::bail!("there is no command {other}"),
    };
    let (uri, name) = proxy_service::database(env);
    let uri = uri.ok().context("MONGODB_URI is not set")?;
    let name = name.ok().filter(|_| service == "proxy-service");
    command
        .run(uri.expose_secret(), name.as_deref(), "auth_db")
        .await?;
    Ok(())
}

fn start_export(
    service: &'static str,
    level: &str,
    export: Option<&Export>,
) -> anyhow::Result<Option<Exporter>> {
    init_with_export(service, Some(level), export).map_err(anyhow::Error::msg)
}
