//! The service over HTTP, with a real MongoDB.

mod turns;
