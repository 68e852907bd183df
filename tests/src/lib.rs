//! What the system tests and the benchmark stand on: a Flowise that answers from recordings, an n8n, and a load generator.

pub mod browser;
pub mod cluster;
pub mod fleet;
pub mod flowise;
pub mod gateway;
pub mod health;
pub mod key_file;
pub mod link;
pub mod load;
pub mod mailbox;
pub mod n8n;
pub mod oidc;
pub mod person;
pub mod platform;
pub mod process;
pub mod programs;
