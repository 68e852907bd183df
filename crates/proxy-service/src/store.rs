//! One struct per collection.

pub mod assignments;
pub mod chatflows;
mod indexes;
pub(crate) mod messages;
pub mod people;
pub(crate) mod sessions;
pub(crate) mod turns;
pub(crate) mod writer;

/// What a store returns.
pub(crate) type Result<T, E = mongodb::error::Error> = std::result::Result<T, E>;
