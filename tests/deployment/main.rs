//! What an operator runs, run for real: Traefik and Prometheus with our files, the services as processes.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on stops where it is"
)]

mod backup;
mod metrics;
mod rolling_restart;
mod routing;
mod tracing;

/// Runs a service as a process of its own.
const PROGRAM: &str = env!("CARGO_BIN_EXE_run-service");
