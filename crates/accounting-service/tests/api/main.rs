//! The service's behaviour over HTTP, against a real PostgreSQL.

mod access;
mod allocations;
mod balances;
mod deduct;
mod holds;
mod idempotency;
mod ledger;
mod operation;
mod outage;
mod sessions;
mod support;
mod usage;
