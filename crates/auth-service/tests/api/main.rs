//! The service over HTTP, with a real MongoDB.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

mod access;
mod bad_bodies;
mod batches;
mod commands;
mod email_changes;
mod imports;
mod injection;
mod mails;
mod operations;
mod passwords;
mod profile;
mod refresh;
mod registration;
mod revocations;
mod second_factors;
mod sessions;
mod support;
mod testing;
mod tokens;
mod user_pages;
mod users;
mod v1;
