//! Chat turns, between a fake Flowise and a fake accounting-service.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

mod support;

mod accounting;
mod bad_input;
mod files;
mod history;
mod idempotency;
mod leaving;
mod payment;
mod retention;
mod sessions;
mod stopping;
mod stream;
mod takeover;
mod uploads;
mod whole;
