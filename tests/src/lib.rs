//! What the system tests stand on: a Flowise that answers from recordings.

pub mod flowise;
