//! The stand-in Flowise as a program of its own, for `make up` and for benchmarks.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    thread,
};

use anyhow::Context;
use clap::Parser;
use system_tests::{
    flowise::{Behaviour, Options, Rule, StandInFlowise},
    health::check,
};

/// A stand-in for Flowise that answers from recorded exchanges.
///
/// What it is told in a scenario, or by `PUT /_control`, is a list of rules, the newest first to be asked:
/// `[{"question_contains":"oops","behaviour":{"ending":[3,"cut"]}}]`. `GET /_control` shows what happened.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// The port to listen on; 0 takes a free one.
    #[arg(long, default_value_t = 3065)]
    port: u16,
    /// The key that lists of chatflows need; without it they are open.
    #[arg(long)]
    api_key: Option<String>,
    /// A file that holds the key, so that it is not seen among the processes of the machine.
    #[arg(long, conflicts_with = "api_key")]
    api_key_file: Option<PathBuf>,
    /// Silence before each token, in milliseconds.
    #[arg(long)]
    token_delay_ms: Option<u64>,
    /// A JSON file with the rules to start with.
    #[arg(long)]
    scenario: Option<PathBuf>,
    /// Asks the stand-in that runs at this address and port whether it answers, and ends; for containers.
    #[arg(long)]
    healthcheck: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.healthcheck {
        return check(arguments.host, arguments.port, "/api/v1/ping");
    }
    let api_key = match &arguments.api_key_file {
        Some(file) => Some(
            std::fs::read_to_string(file)
                .context("the key file")?
                .trim()
                .to_owned(),
        ),
        None => arguments.api_key,
    };
    let rules: Vec<Rule> = match &arguments.scenario {
        Some(file) => serde_json::from_slice(&std::fs::read(file).context("the scenario")?)
            .with_context(|| format!("{} is not a list of rules", file.display()))?,
        None => Vec::new(),
    };
    let flowise = StandInFlowise::start(&Options {
        bind: SocketAddr::new(arguments.host, arguments.port),
        api_key,
        usual: Behaviour {
            token_delay_ms: arguments.token_delay_ms,
            ..Behaviour::default()
        },
        rules,
        workers: thread::available_parallelism().map_or(1, usize::from),
        stops_on_signals: true,
    })
    .with_context(|| format!("port {} of {}", arguments.port, arguments.host))?;
    eprintln!("stand-in Flowise listens on {}", flowise.url());
    flowise.run().await?;
    Ok(())
}
