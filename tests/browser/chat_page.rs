//! The chat page, as people with an account use it.

mod asking;
mod desk;
