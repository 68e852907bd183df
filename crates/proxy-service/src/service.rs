//! Use cases.

pub mod access;
pub(crate) mod conversations;
pub(crate) mod turns;
