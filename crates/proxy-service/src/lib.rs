#![doc = include_str!("../README.md")]

mod accounting;
mod admission;
mod app;
mod auth;
mod balance;
mod catalog;
mod catalog_source;
mod config;
pub mod domain;
mod error;
mod flowise;
mod health;
mod limits;
mod n8n;
mod prices;
mod relay;
mod routes;
mod service;
mod store;
mod upload_memory;
mod upstream;
mod widget;

pub use app::App;
pub use config::{
    AdmissionLimits, Config, FileLimits, LimitsConfig, N8nConfig, PORT_DEFAULT, ProtectionConfig,
    ThreatResponse, Upstream, WidgetConfig, database,
};
pub use routes::routes;

/// The service's name in logs, metrics and service tokens.
pub const NAME: &str = "proxy-service";

/// What the service promises to its callers: its OpenAPI document.
pub const CONTRACT: &str = include_str!("../../../proto-docs/openapi/proxy.yaml");
