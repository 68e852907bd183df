//! Our pages in a real browser: the chat widget, what it makes of text and what visitors of other people's pages do with
//! it; the chat page of people who have an account; and Flowise's own window, which asks us.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on stops where it is"
)]

mod accessibility;
mod accounts;
mod attacks;
mod chat_page;
mod embedding;
mod failures;
mod flowise_embed;
mod journeys;
mod markdown;
mod pictures;
mod site;
mod stage;
mod visitors;
mod wire;
mod workbench;
mod workflows;
