//! The service over HTTP, with a real MongoDB.

mod catalog;
mod support;

mod stream;
