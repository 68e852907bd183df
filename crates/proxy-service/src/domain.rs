//! Pure rules: no HTTP, no database, no clock.

pub mod ask;
pub mod assignment;
pub mod chatflow;
pub mod day;
pub mod failure;
pub mod framing;
pub mod group;
pub mod pace;
pub mod payment;
pub mod person;
pub mod roster;
pub mod sse;
pub mod transcript;
pub mod turn;
pub mod upstream;
pub mod usage;
pub mod window;
