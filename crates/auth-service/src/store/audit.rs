//! `audit_events`: who did what to whom, from where, and whether it worked. Only ever added to.

use bson::{DateTime as BsonDateTime, Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use common_http::RequestContext;
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{origin::Origin, user::UserId},
    error::Result,
};

/// The audit trail.
#[derive(Clone, Debug)]
pub(crate) struct AuditStore {
    rows: Collection<AuditRow>,
}

/// Something worth knowing later. Never holds a password, a token or a code.
#[derive(Clone, Debug)]
pub(crate) struct AuditEvent<'a> {
    /// What was done, such as `login`.
    pub(crate) action: &'static str,
    /// How it ended, such as `ok`.
    pub(crate) outcome: &'static str,
    /// Who did it; nobody when they were not signed in.
    pub(crate) actor: Option<UserId>,
    /// To whom.
    pub(crate) subject: Option<UserId>,
    /// In which session.
    pub(crate) session_id: Option<&'a str>,
    /// From where; `None` for what the service does by itself.
    pub(crate) origin: Option<&'a Origin>,
}

/// Small facts about an event, such as how many rows a table had.
pub(crate) type Details<'a> = &'a [(&'static str, &'a str)];

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditRow {
    #[serde(rename = "_id")]
    id: ObjectId,
    at: BsonDateTime,
    action: String,
    outcome: String,
    actor: Option<ObjectId>,
    subject: Option<ObjectId>,
    session_id: Option<String>,
    address: Option<String>,
    user_agent: Option<String>,
    request_id: String,
    #[serde(default, skip_serializing_if = "Document::is_empty")]
    details: Document,
}

impl AuditStore {
    /// Opens the collection and sees to its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let rows = database.collection("audit_events");
        rows.create_indexes([
            super::plain(doc! { "at": -1 }),
            super::plain(doc! { "subject": 1, "at": -1 }),
        ])
        .await?;
        Ok(Self { rows })
    }

    /// Adds an event. The act is done by now, so a trail that cannot be written is an error in the log, not in the
    /// answer.
    pub(crate) async fn record(&self, event: AuditEvent<'_>, now: DateTime<Utc>) {
        self.record_with(event, &[], now).await;
    }

    /// Adds an event and small facts about it.
    pub(crate) async fn record_with(&self, event: AuditEvent<'_>, details: Details<'_>, now: DateTime<Utc>) {
        if let Err(error) = self.rows.insert_one(AuditRow::new(&event, details, now)).await {
            lost(&event, 1, &error);
        }
    }

    /// Adds several events of one kind.
    pub(crate) async fn record_all(&self, events: &[AuditEvent<'_>], now: DateTime<Utc>) {
        let Some(first) = events.first() else {
            return;
        };
        let rows = events.iter().map(|event| AuditRow::new(event, &[], now));
        if let Err(error) = self.rows.insert_many(rows).ordered(false).await {
            lost(first, events.len(), &error);
        }
    }
}

fn lost(event: &AuditEvent<'_>, count: usize, error: &mongodb::error::Error) {
    tracing::error!(
        ?error,
        action = event.action,
        outcome = event.outcome,
        count,
        "audit event is lost"
    );
}

impl AuditRow {
    fn new(event: &AuditEvent<'_>, details: Details<'_>, now: DateTime<Utc>) -> Self {
        Self {
            id: ObjectId::new(),
            at: BsonDateTime::from_chrono(now),
            action: event.action.to_owned(),
            outcome: event.outcome.to_owned(),
            actor: event.actor.map(|id| id.0),
            subject: event.subject.map(|id| id.0),
            session_id: event.session_id.map(str::to_owned),
            address: event
                .origin
                .map(|origin| origin.address.to_canonical().to_string()),
            user_agent: event.origin.and_then(|origin| origin.user_agent.clone()),
            request_id: RequestContext::current().request_id().to_owned(),
            details: details
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).into()))
                .collect(),
        }
    }
}
