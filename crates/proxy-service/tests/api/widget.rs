//! The chat widget: embeds, sessions of visitors, and what they say, between a fake Flowise or n8n and a fake
//! accounting-service.
//!
//! Section I of the security checks: I1 and I2 in `sessions`, I3 in `credentials`, I4 in `messages`, I5 with the pages, I6 with
//! the limits, I7 in `embeds` and `sessions`, I8 in `money`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it is")]

mod credentials;
mod embeds;
mod existing_widget;
mod limits;
mod messages;
mod money;
mod sessions;
mod support;
