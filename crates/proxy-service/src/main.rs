//! The proxy-service binary.

use clap::Parser;
use common_config::Env;
use proxy_service::{App, Config};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Chat turns, streams and history in front of Flowise. Configured by environment variables only.
#[derive(Parser)]
#[command(name = "proxy-service", version)]
struct Arguments {
    /// Says what is wrong with the configuration and ends, with status 1 when something is.
    #[arg(long)]
    check_config: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let env = Env::from_process();
    let Ok(config) = Config::from_env(&env) else {
        anyhow::bail!(
            "the configuration is not valid:\n  {}",
            env.mistakes().join("\n  ")
        );
    };
    if arguments.check_config {
        return Ok(());
    }
    common_telemetry::init(proxy_service::NAME, config.log_level.as_deref()).map_err(anyhow::Error::msg)?;
    Box::pin(App::build(config)).await?.run().await
}
