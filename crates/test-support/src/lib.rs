//! What every test needs: a database of its own, tokens of every kind, and a client that reads answers.
//!
//! A missing database fails the run; no test is skipped. `make test` starts the servers and sets
//! their variables.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot be set up fails here, with the reason"
)]

mod client;
mod contract;
mod forge;
mod mongo;
mod postgres;
mod tokens;

pub use client::{Answer, Client};
pub use contract::{BadBody, Operation, PublishedContract, unknown_keywords};
pub use forge::{Attack, Forge, ed25519_pem, encoded, part_of};
pub use mongo::TestMongo;
pub use postgres::TestPostgres;
pub use tokens::{ACCESS_SECRET, Person, REFRESH_SECRET, SERVICE_SECRET, TestTokens};

/// Databases are named `flowgate_test_<seconds>_<random>`, so that those of crashed runs can be told and removed.
const PREFIX: &str = "flowgate_test_";

/// Older test databases are left-overs.
const LEFTOVER_SECS: u64 = 3_600;

/// The Redis of this run. It is shared: a test uses keys that no other has.
pub fn redis_url() -> String {
    required("TEST_REDIS_URL")
}

fn required(name: &str) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests have no configuration of their own"
    )]
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run the tests with `make test`"))
}

#[expect(clippy::disallowed_methods, reason = "names of databases carry the real time")]
fn unix_secs() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("the clock is past 1970").as_secs()
}

fn fresh_name() -> String {
    format!("{PREFIX}{}_{}", unix_secs(), uuid::Uuid::new_v4().simple())
}

fn is_leftover(name: &str) -> bool {
    let made = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split('_').next()?.parse::<u64>().ok());
    made.is_some_and(|made| made + LEFTOVER_SECS < unix_secs())
}
