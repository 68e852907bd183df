//! One struct per collection.

pub(crate) mod assignments;
pub(crate) mod chatflows;
mod indexes;
pub(crate) mod leases;
pub(crate) mod people;
