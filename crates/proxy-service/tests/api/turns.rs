//! Chat turns, between a fake Flowise and a fake accounting-service.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

pub(crate) mod support;

mod accounting;
mod bad_input;
mod idempotency;
mod leaving;
mod payment;
mod sessions;
mod stopping;
mod stream;
mod takeover;
mod whole;
