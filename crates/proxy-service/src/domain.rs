//! Pure rules: no HTTP, no database, no clock.

pub mod assignment;
pub mod chatflow;
pub mod person;
