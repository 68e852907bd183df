//! One struct per collection.

pub mod assignments;
pub mod chatflows;
mod indexes;
pub mod people;
