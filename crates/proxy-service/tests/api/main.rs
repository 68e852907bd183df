//! The service as its callers see it: over HTTP, on a real MongoDB, with auth-service, accounting-service and Flowise
//! played by test servers.

mod catalog;
mod support;
