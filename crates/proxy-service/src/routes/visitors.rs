//! Visitors of embeds over HTTP: their sessions, and what they say.

mod chat;
mod cors;
mod door;
mod sessions;

use common_http::Routes;

pub(crate) use self::{cors::visitor_cors, door::DoorRules};

/// These resources' rows.
pub(crate) fn table(routes: &mut Routes<'_>) {
    sessions::table(routes);
    chat::table(routes);
}
