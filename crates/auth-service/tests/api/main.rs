//! The service over HTTP, with a real MongoDB.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

mod access;
mod admin_sessions;
mod administration;
mod api_keys;
mod audit;
mod bad_bodies;
mod batches;
mod browser_sessions;
mod commands;
mod deletion;
mod devices;
mod elsewhere;
mod email_changes;
mod imports;
mod injection;
mod introspection;
mod mails;
mod new_devices;
mod newcomers;
mod oauth;
#[expect(
    unreachable_pub,
    reason = "the same file is a module of the system tests' library"
)]
#[path = "../../../../tests/src/oidc.rs"]
mod oidc;
mod operations;
mod pages;
mod passwords;
mod personal_data;
mod profile;
mod protection;
mod refresh;
mod refresh_storm;
mod registration;
mod revocations;
mod second_factors;
mod sessions;
mod settings;
mod signing_keys;
mod support;
mod testing;
mod tokens;
mod user_pages;
mod users;
mod v1;
