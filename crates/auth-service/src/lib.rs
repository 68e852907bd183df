#![doc = include_str!("../README.md")]

mod app;
pub mod cli;
mod config;
pub mod domain;
mod error;
mod gifts;
mod key_file;
mod mailer;
mod metrics;
mod pages;
mod quota;
mod routes;
mod same_origin;
mod service;
mod store;

use common_sealing as sealing;

pub use app::App;
pub use config::{BootstrapAdmin, Config, LimitsConfig, MailRoute, Smtp};
pub use key_file::PrivateKeys;
pub use routes::{routes, testing_routes};

/// The service's name in logs, metrics and service tokens.
pub const NAME: &str = "auth-service";

/// What the service promises to its callers: its OpenAPI document.
pub const CONTRACT: &str = include_str!("../../../proto-docs/openapi/auth.yaml");
