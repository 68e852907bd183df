//! Chat turns, between a fake Flowise and a fake accounting-service.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

mod support;

mod accounting;
mod bad_input;
mod idempotency;
mod inner_events;
mod leaving;
mod payment;
mod resuming;
mod sessions;
mod stopped;
mod stopping;
mod stream;
mod takeover;
mod whole;
