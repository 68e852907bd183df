#![doc = include_str!("../README.md")]

mod app;
pub mod config;
pub mod domain;
pub mod error;
pub mod export;
pub mod metrics;
pub mod rebuild;
pub mod routes;
pub mod service;
pub mod store;
pub mod verify;

pub use app::App;
pub use config::Config;

/// The service's name: in logs, in metrics, and as the audience of service tokens.
pub const SERVICE: &str = "accounting-service";

/// What the service promises to its callers: its OpenAPI document.
pub const CONTRACT: &str = include_str!("../../../proto-docs/openapi/accounting.yaml");
