//! What happened: everything, for administrators; one's own sign-ins, for everybody.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web};
use chrono::{DateTime, Utc};
use common_http::{Access, CurrentUser, Query, Routes, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        device::{Device, DeviceKind},
        keyset::Cursor,
        user::UserId,
    },
    error::{Error, Result},
    routes::paging::{Paging, present, user_id},
    store::{
        audit::{AuditFilter, AuditStore, RecordedEvent},
        users::UserStore,
    },
};

/// The act that a sign-in is.
const LOGIN: &str = "login";

/// The longest word for an act or an outcome.
const WORD_BYTES_MAX: usize = 40;

/// The routes of this page.
pub(crate) fn routes(routes: &mut Routes<'_>) {
    routes
        .get("/api/admin/audit", Access::Admin, list_audit_events)
        .get("/api/profile/sign-ins", Access::User, list_own_sign_ins);
}

/// The parameters of `GET /api/admin/audit`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditQuery {
    limit: Option<String>,
    cursor: Option<String>,
    action: Option<String>,
    outcome: Option<String>,
    actor: Option<String>,
    subject: Option<String>,
    user_id: Option<String>,
    address: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventPage {
    events: Vec<EventBody>,
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct EventBody {
    id: String,
    at: Timestamp,
    action: String,
    outcome: String,
    actor: Option<String>,
    actor_name: Option<String>,
    subject: Option<String>,
    subject_name: Option<String>,
    session_id: Option<String>,
    ip_address: Option<String>,
    user_agent: Option<String>,
    request_id: String,
    details: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SignInPage {
    sign_ins: Vec<SignIn>,
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SignIn {
    at: Timestamp,
    outcome: String,
    ip_address: Option<String>,
    device: DeviceKind,
    browser: Option<String>,
    os: Option<String>,
    session_id: Option<String>,
    /// Whether the session that asks began with it.
    current: bool,
}

/// `GET /api/admin/audit`: a page of what happened, newest first.
pub(crate) async fn list_audit_events(
    Query(query): Query<AuditQuery>,
    audit: web::Data<AuditStore>,
    users: web::Data<UserStore>,
) -> Result<HttpResponse> {
    let filter = query.filter()?;
    let (limit, cursor) = Paging::new(query.limit, query.cursor).read()?;
    let page = audit.list_page(&filter, cursor.as_ref(), limit).await?;
    let people: Vec<UserId> = page
        .entries
        .iter()
        .flat_map(|event| [event.actor, event.subject])
        .flatten()
        .collect();
    let names = users.list_names(&people).await?;
    let name_of = |id: Option<UserId>| names.get(&id?).cloned();
    let events = page.entries.into_iter().map(|event| EventBody {
        actor_name: name_of(event.actor),
        subject_name: name_of(event.subject),
        ..EventBody::from(event)
    });
    Ok(HttpResponse::Ok().json(EventPage {
        events: events.collect(),
        next_cursor: page.next.as_ref().map(Cursor::to_text),
    }))
}

/// `GET /api/profile/sign-ins`: a page of the caller's sign-ins, also those that failed.
pub(crate) async fn list_own_sign_ins(
    user: CurrentUser,
    Query(paging): Query<Paging>,
    audit: web::Data<AuditStore>,
) -> Result<HttpResponse> {
    let filter = AuditFilter {
        action: Some(LOGIN.to_owned()),
        subject: Some(UserId::parse(&user.id).ok_or(Error::UserNotFound)?),
        ..AuditFilter::default()
    };
    let (limit, cursor) = paging.read()?;
    let page = audit.list_page(&filter, cursor.as_ref(), limit).await?;
    let sign_ins = page
        .entries
        .into_iter()
        .map(|event| SignIn::new(event, &user.session_id));
    Ok(HttpResponse::Ok().json(SignInPage {
        sign_ins: sign_ins.collect(),
        next_cursor: page.next.as_ref().map(Cursor::to_text),
    }))
}

impl AuditQuery {
    fn filter(&self) -> Result<AuditFilter> {
        let address = present(self.address.as_deref())
            .map(|text| {
                text.parse()
                    .or(Err(Error::invalid("address", "must be an IP address")))
            })
            .transpose()?;
        Ok(AuditFilter {
            action: word("action", self.action.as_deref())?,
            outcome: word("outcome", self.outcome.as_deref())?,
            actor: user_id("actor", self.actor.as_deref())?,
            subject: user_id("subject", self.subject.as_deref())?,
            user: user_id("userId", self.user_id.as_deref())?,
            address,
            from: time("from", self.from.as_deref())?,
            to: time("to", self.to.as_deref())?,
        })
    }
}

/// Acts and outcomes are words of ours.
fn word(field: &str, text: Option<&str>) -> Result<Option<String>> {
    let is_word = |text: &str| {
        text.len() <= WORD_BYTES_MAX
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    match present(text) {
        None => Ok(None),
        Some(text) if is_word(text) => Ok(Some(text.to_owned())),
        Some(_) => Err(Error::invalid(field, "must be a word of a-z, 0-9 and _")),
    }
}

fn time(field: &str, text: Option<&str>) -> Result<Option<DateTime<Utc>>> {
    present(text)
        .map(|text| match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Ok(time.to_utc()),
            Err(_) => Err(Error::invalid(
                field,
                "must be a time such as 2026-09-01T06:30:00Z",
            )),
        })
        .transpose()
}

impl From<RecordedEvent> for EventBody {
    fn from(event: RecordedEvent) -> Self {
        let text = |id: Option<UserId>| id.map(|id| id.to_string());
        Self {
            id: event.id,
            at: event.at.into(),
            action: event.action,
            outcome: event.outcome,
            actor: text(event.actor),
            actor_name: None,
            subject: text(event.subject),
            subject_name: None,
            session_id: event.session_id,
            ip_address: event.address,
            user_agent: event.user_agent,
            request_id: event.request_id,
            details: event.details.into_iter().collect(),
        }
    }
}

impl SignIn {
    fn new(event: RecordedEvent, current: &str) -> Self {
        let device = Device::read(event.user_agent.as_deref());
        Self {
            at: event.at.into(),
            outcome: event.outcome,
            ip_address: event.address,
            device: device.kind,
            browser: device.browser.map(|browser| browser.to_string()),
            os: device.os.map(|os| os.to_string()),
            current: event.session_id.as_deref() == Some(current),
            session_id: event.session_id,
        }
    }
}
