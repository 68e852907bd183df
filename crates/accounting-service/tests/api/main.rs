//! The service's behaviour over HTTP, against a real PostgreSQL.

#![expect(
    clippy::unwrap_used,
    reason = "a test that is not given what it needs fails here"
)]

mod access;
mod allocations;
mod balances;
mod closing;
mod commands;
mod corrections;
mod deduct;
mod expiry;
mod hold_lists;
mod holds;
mod idempotency;
mod ledger;
mod limits;
mod operation;
mod outage;
mod prices;
mod relay;
mod reports;
mod rollups;
mod rules;
mod sessions;
mod statements;
mod statistics;
mod support;
mod upgrade;
mod usage;
mod webhooks;
mod withdrawals;
