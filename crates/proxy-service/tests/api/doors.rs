//! Doors for clients that people already have.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

mod openai;
