//! The stand-in n8n as a program of its own, for `make up` and containers.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use system_tests::{
    health::check,
    n8n::{Options, StandInN8n, workflow},
};

/// A stand-in for n8n: `POST /webhook/stream-agent` streams an answer as an agent does.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// The port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 3066)]
    port: u16,
    /// A file that holds the secret that checks the tokens of messages.
    #[arg(long)]
    token_secret_file: Option<PathBuf>,
    /// Silence before each word, in milliseconds.
    #[arg(long, default_value_t = 0)]
    word_delay_ms: u64,
    /// Asks the stand-in that runs at this address and port whether it answers, and ends; for containers.
    #[arg(long)]
    healthcheck: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.healthcheck {
        return check(arguments.host, arguments.port, "/healthz");
    }
    let token_secret = match &arguments.token_secret_file {
        Some(file) => Some(
            std::fs::read_to_string(file)
                .context("the secret file")?
                .trim()
                .to_owned(),
        ),
        None => None,
    };
    let n8n = StandInN8n::start(&Options {
        bind: SocketAddr::new(arguments.host, arguments.port),
        token_secret,
        word_delay: Duration::from_millis(arguments.word_delay_ms),
        stops_on_signals: true,
    })
    .with_context(|| format!("port {} of {}", arguments.port, arguments.host))?;
    eprintln!("stand-in n8n answers at {}", n8n.webhook(workflow::AGENT));
    n8n.run().await?;
    Ok(())
}
