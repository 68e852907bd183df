//! The service over HTTP, with a real MongoDB.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails here")]

mod turns;
