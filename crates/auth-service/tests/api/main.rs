//! The service over HTTP, with a real MongoDB.

mod access;
mod injection;
mod mails;
mod operations;
mod profile;
mod refresh;
mod registration;
mod revocations;
mod sessions;
mod support;
mod users;
