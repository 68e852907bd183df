//! What an operator runs, run for real: Traefik and Prometheus with our files, the services as processes.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on stops where it is"
)]

mod routing;
