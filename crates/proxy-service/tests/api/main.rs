//! The service over HTTP, with a real MongoDB.

mod support;

mod stream;
