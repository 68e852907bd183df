//! Pure rules: no HTTP, no database, no clock.

pub mod ask;
pub mod assignment;
pub mod breaker;
pub mod chatflow;
pub mod event_id;
pub mod failure;
pub mod framing;
pub mod payment;
pub mod person;
pub mod sse;
pub mod transcript;
pub mod turn;
pub mod upstream;
pub mod upstream_ids;
