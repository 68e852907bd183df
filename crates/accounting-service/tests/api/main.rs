//! The service's behaviour over HTTP, against a real PostgreSQL.

#![expect(
    clippy::unwrap_used,
    reason = "a test that is not given what it needs fails here"
)]

mod access;
mod allocations;
mod balances;
mod corrections;
mod deduct;
mod holds;
mod idempotency;
mod ledger;
mod operation;
mod outage;
mod relay;
mod sessions;
mod support;
mod usage;
