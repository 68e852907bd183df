//! Runs one service as a process of its own, so that a test can kill it. Configured by the environment, as in production.

use anyhow::Context as _;
use common_config::Env;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let service = std::env::args().nth(1).context("which service?")?;
    let env = Env::from_process();
    let invalid = |_| anyhow::anyhow!("{}", env.mistakes().join("\n"));
    match service.as_str() {
        "accounting-service" => {
            let config = accounting_service::Config::from_env(&env).map_err(invalid)?;
            accounting_service::App::build(config).await?.run().await
        }
        "proxy-service" => {
            let config = proxy_service::Config::from_env(&env).map_err(invalid)?;
            Box::pin(proxy_service::App::build(config)).await?.run().await
        }
        other => anyhow::bail!("there is no way to run {other} here"),
    }
}
