//! Pure rules: no HTTP, no database, no clock.

pub mod ask;
pub mod assignment;
pub mod breaker;
pub mod byte_range;
pub mod chatflow;
pub mod day;
pub mod event_id;
pub mod failure;
pub mod file_kind;
pub mod file_name;
pub mod framing;
pub mod group;
pub mod pace;
pub mod page;
pub mod payment;
pub mod person;
pub mod refusal;
pub mod roster;
pub mod said;
pub mod sse;
pub mod transcript;
pub mod turn;
pub mod upstream;
pub mod upstream_ids;
pub mod usage;
pub mod window;
