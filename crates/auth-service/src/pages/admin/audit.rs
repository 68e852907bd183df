//! What happened, newest first.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use crate::{
    domain::{
        keyset::{Cursor, LIMIT_DEFAULT},
        user::UserId,
    },
    error::{Error, Result},
    pages::{frame::Frame, times::Shown},
    store::{
        audit::{AuditFilter, AuditStore},
        users::UserStore,
    },
};

#[derive(Template)]
#[template(path = "admin/audit.html")]
struct AuditPage<'a> {
    f: &'a Frame,
    query: &'a AuditQuery,
    events: Vec<Event>,
    next: Option<String>,
}

/// What narrows the list down.
#[derive(Debug, Deserialize)]
pub(super) struct AuditQuery {
    #[serde(default)]
    action: String,
    #[serde(default)]
    user: String,
    cursor: Option<String>,
}

/// Something that happened.
struct Event {
    at: Shown,
    action: String,
    outcome: String,
    actor: String,
    subject: String,
    address: String,
    details: String,
}

/// `GET /admin/audit`.
pub(super) async fn list(
    f: Frame,
    query: web::Query<AuditQuery>,
    audit: web::Data<AuditStore>,
    users: web::Data<UserStore>,
) -> Result<HttpResponse> {
    let filter = query.filter(&users).await?;
    let cursor = query
        .cursor
        .as_deref()
        .map(|text| Cursor::parse(text).ok_or(Error::InvalidCursor));
    let page = audit
        .list_page(&filter, cursor.transpose()?.as_ref(), LIMIT_DEFAULT)
        .await?;
    let people: Vec<UserId> = page
        .entries
        .iter()
        .flat_map(|event| [event.actor, event.subject])
        .flatten()
        .collect();
    let names = users.list_names(&people).await?;
    let name_of = |id: Option<UserId>| {
        id.map(|id| names.get(&id).cloned().unwrap_or_else(|| id.to_string()))
            .unwrap_or_default()
    };
    let events = page.entries.into_iter().map(|event| Event {
        at: event.at.into(),
        actor: name_of(event.actor),
        subject: name_of(event.subject),
        action: event.action,
        outcome: event.outcome,
        address: event.address.unwrap_or_default(),
        details: event
            .details
            .iter()
            .map(|(name, text)| format!("{name}: {text}"))
            .collect::<Vec<_>>()
            .join(", "),
    });
    Ok(f.show(&AuditPage {
        f: &f,
        query: &query,
        events: events.collect(),
        next: page.next.as_ref().map(|next| query.address(&next.to_text())),
    }))
}

impl AuditQuery {
    /// A name that nobody has finds nothing.
    async fn filter(&self, users: &UserStore) -> Result<AuditFilter> {
        let user = self.user.trim();
        let user = if user.is_empty() {
            None
        } else {
            let found = users.find_by_login(user).await?;
            Some(found.map_or_else(UserId::generate, |user| user.id))
        };
        let action = self.action.trim();
        Ok(AuditFilter {
            action: (!action.is_empty()).then(|| action.to_owned()),
            user,
            ..AuditFilter::default()
        })
    }

    /// The same list from a cursor on.
    fn address(&self, cursor: &str) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("action", &self.action)
            .append_pair("user", &self.user)
            .append_pair("cursor", cursor)
            .finish();
        format!("/admin/audit?{query}")
    }
}
