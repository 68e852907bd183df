//! Signing in, the catalog and who may use what: over HTTP, on a real MongoDB, with auth-service, accounting-service
//! and Flowise played by test servers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

mod access_table;
mod assignments;
mod background;
mod bulk;
mod chatflows;
mod credits;
mod doors;
pub(crate) mod fakes;
mod prices;
mod settings;
mod sign_in;
mod silence;
pub(crate) mod support;
mod sync;
mod takeover;
