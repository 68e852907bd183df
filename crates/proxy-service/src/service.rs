//! Use cases.

pub mod access;
