//! Every path of the service, and who may call it.

mod about;
mod admin_chatflows;
mod admin_groups;
mod admin_users;
mod auth;
mod bodies;
mod chat_body;
mod chat_page;
mod chatflows;
mod credits;
mod doors;
mod embeds;
mod exports;
mod files;
mod languages;
mod page_file;
mod paging;
mod people;
mod predict;
mod reports;
mod sessions;
mod table_body;
mod turns;
mod uploads;
mod visitors;
mod widget;

pub(crate) use self::{
    chat_page::ChatPage,
    doors::{openai::openai_headers, refuse_in_kind},
    files::PublicBase,
    visitors::{DoorRules, visitor_cors},
    widget::WidgetPages,
};

use common_http::{Access, Contract, Gate, KeyRule, Routes, show_liveness, show_metrics};

use crate::{
    domain::person::Email,
    error::{Error, Result},
    health::{show_health, show_readiness},
};

/// Where people's routes live; older clients leave the version out.
const CHAT: [&str; 2] = ["/api/v1/chat", "/chat"];

/// Where administrators' routes live, likewise.
const ADMIN: [&str; 2] = ["/api/v1/admin", "/api/admin"];

/// People, and their API keys for chatting.
const CHATTING: Gate = Access::User.or_key(KeyRule::CHAT);

/// The same where all of somebody's conversations are meant at once.
const CHATTING_ALL: Gate = Access::User.or_key(KeyRule::CHAT.unbound());

/// People, and their API keys for chatting or reading.
const READING: Gate = Access::User.or_key(KeyRule::CHAT_OR_READ);

/// The same where all of somebody's conversations are meant at once.
const READING_ALL: Gate = Access::User.or_key(KeyRule::CHAT_OR_READ.unbound());

/// The whole table.
pub fn routes(routes: &mut Routes<'_>) {
    routes
        .get("/health", Access::Public, show_health)
        .get("/livez", Access::Public, show_liveness)
        .get("/readyz", Access::Public, show_readiness)
        .get("/metrics", Access::Public, show_metrics);
    Contract::routes(routes);
    about::table(routes);
    auth::table(routes);
    credits::table(routes);
    chat_page::table(routes);
    chatflows::table(routes);
    admin_chatflows::table(routes);
    admin_users::table(routes);
    admin_groups::table(routes);
    reports::table(routes);
    people::table(routes);
    predict::table(routes);
    doors::table(routes);
    sessions::table(routes);
    exports::table(routes);
    files::table(routes);
    turns::table(routes);
    uploads::table(routes);
    visitors::table(routes);
    embeds::table(routes);
    widget::table(routes);
}

/// An address from a body or a query.
fn parse_email(text: &str) -> Result<Email> {
    Email::parse(text).map_err(|reason| Error::invalid("email", reason))
}
