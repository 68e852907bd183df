//! The service over HTTP, with a real MongoDB.

mod catalog;
mod turns;
mod upstream;
