//! What credits are and what may happen to them: types and pure functions. No HTTP, no database, no clock of its own;
//! the time is an argument.

pub mod calendar;
pub mod credits;
pub mod csv;
pub mod expiry;
pub mod idempotency;
pub mod ids;
pub mod ledger;
pub mod notice;
pub mod pace;
pub mod price;
pub mod rules;
pub mod text;
pub mod usage;
pub mod webhook;
