//! The chat widget in a real browser: what it makes of text, and what visitors of other people's pages do with it.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on stops where it is"
)]

mod accessibility;
mod accounts;
mod attacks;
mod embedding;
mod failures;
mod markdown;
mod pictures;
mod site;
mod stage;
mod visitors;
mod wire;
mod workbench;
mod workflows;
