//! The auth-service binary.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    auth_service::cli::run().await
}
