//! `audit_events`: who did what to whom, from where, and whether it worked. Only ever added to; MongoDB removes what is
//! older than the retention.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use bson::{DateTime as BsonDateTime, Document, doc, oid::ObjectId};
use chrono::{DateTime, NaiveDate, Utc};
use common_http::RequestContext;
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database, error::ErrorKind};
use prometheus::IntCounter;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        keyset::{Cursor, Page},
        origin::Origin,
        user::UserId,
    },
    error::Result,
};

/// MongoDB's code for an index that exists with another option.
const INDEX_OPTIONS_CONFLICT: i32 = 85;

/// What is kept of one detail.
const DETAIL_CHARS_MAX: usize = 200;

/// The audit trail.
#[derive(Clone, Debug)]
pub(crate) struct AuditStore {
    rows: Collection<AuditRow>,
    lost: IntCounter,
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

/// Small facts about an event, such as the old and the new role.
pub(crate) type Details<'a> = &'a [(&'static str, &'a str)];

/// An event as it was kept.
#[derive(Clone, Debug)]
pub(crate) struct RecordedEvent {
    /// Its own id.
    pub(crate) id: String,
    /// When.
    pub(crate) at: DateTime<Utc>,
    /// What was done.
    pub(crate) action: String,
    /// How it ended.
    pub(crate) outcome: String,
    /// Who did it.
    pub(crate) actor: Option<UserId>,
    /// To whom.
    pub(crate) subject: Option<UserId>,
    /// In which session.
    pub(crate) session_id: Option<String>,
    /// From which address.
    pub(crate) address: Option<String>,
    /// With what.
    pub(crate) user_agent: Option<String>,
    /// In which request.
    pub(crate) request_id: String,
    /// Small facts.
    pub(crate) details: Vec<(String, String)>,
}

/// Which events are asked for; `None` everywhere: all.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditFilter {
    /// What was done.
    pub(crate) action: Option<String>,
    /// How it ended.
    pub(crate) outcome: Option<String>,
    /// Who did it.
    pub(crate) actor: Option<UserId>,
    /// To whom.
    pub(crate) subject: Option<UserId>,
    /// Who did it or to whom it was done.
    pub(crate) user: Option<UserId>,
    /// From where.
    pub(crate) address: Option<IpAddr>,
    /// Not before.
    pub(crate) from: Option<DateTime<Utc>>,
    /// Before.
    pub(crate) to: Option<DateTime<Utc>>,
}

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
    /// Opens the collection and sees to its indexes: one for each filter, each in the order of the pages.
    pub(crate) async fn open(database: &Database, retention: Duration, lost: IntCounter) -> Result<Self> {
        let rows: Collection<AuditRow> = database.collection("audit_events");
        let ordered = |mut keys: Document| {
            keys.extend(doc! { "at": -1, "_id": -1 });
            super::plain(keys)
        };
        rows.create_indexes([
            ordered(doc! {}),
            ordered(doc! { "subject": 1 }),
            ordered(doc! { "actor": 1 }),
            ordered(doc! { "action": 1 }),
            ordered(doc! { "action": 1, "outcome": 1 }),
            ordered(doc! { "outcome": 1 }),
            ordered(doc! { "address": 1 }),
        ])
        .await?;
        keep_for(database, &rows, retention).await?;
        Ok(Self { rows, lost })
    }

    /// Adds an event. The act is done by now, so a trail that cannot be written is an error in the log, not in the
    /// answer.
    pub(crate) async fn record(&self, event: AuditEvent<'_>, now: DateTime<Utc>) {
        self.record_with(event, &[], now).await;
    }

    /// Adds an event and small facts about it.
    pub(crate) async fn record_with(&self, event: AuditEvent<'_>, details: Details<'_>, now: DateTime<Utc>) {
        let row = AuditRow::new(&event, details, now);
        if let Err(error) = self.rows.insert_one(row).await {
            self.lost(&event, 1, &error);
        }
    }

    /// Adds several events of one kind.
    pub(crate) async fn record_all(&self, events: &[AuditEvent<'_>], now: DateTime<Utc>) {
        let Some(first) = events.first() else {
            return;
        };
        let rows = events.iter().map(|event| AuditRow::new(event, &[], now));
        if let Err(error) = self.rows.insert_many(rows).ordered(false).await {
            self.lost(first, events.len(), &error);
        }
    }

    fn lost(&self, event: &AuditEvent<'_>, count: usize, error: &mongodb::error::Error) {
        self.lost.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        tracing::error!(
            ?error,
            action = event.action,
            outcome = event.outcome,
            count,
            "audit event is lost"
        );
    }

    /// A page of events, newest first.
    pub(crate) async fn list_page(
        &self,
        filter: &AuditFilter,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page<RecordedEvent>> {
        let rows = self
            .rows
            .find(filter.query(after))
            .sort(doc! { "at": -1, "_id": -1 })
            .limit(i64::from(limit) + 1);
        let events = rows.await?.map_ok(RecordedEvent::from).try_collect().await?;
        Ok(Page::cut(events, limit, |event: &RecordedEvent| Cursor {
            at: event.at,
            id: event.id.clone(),
        }))
    }

    /// How often something was done and ended so since `from`, by day in UTC.
    pub(crate) async fn count_by_day(
        &self,
        action: &str,
        outcome: &str,
        from: DateTime<Utc>,
    ) -> Result<BTreeMap<NaiveDate, u64>> {
        let filter = doc! { "action": action, "outcome": outcome };
        super::days::count_by_day(&self.rows, filter, "at", from).await
    }
}

/// Has MongoDB remove what is older, also where it was told another age before.
async fn keep_for(database: &Database, rows: &Collection<AuditRow>, retention: Duration) -> Result<()> {
    let index = super::expiring(doc! { "at": 1 }, retention);
    let Err(error) = rows.create_index(index).await else {
        return Ok(());
    };
    let is_other_age =
        matches!(&*error.kind, ErrorKind::Command(error) if error.code == INDEX_OPTIONS_CONFLICT);
    if !is_other_age {
        return Err(error.into());
    }
    let secs = i64::try_from(retention.as_secs()).unwrap_or(i64::from(i32::MAX));
    let index = doc! { "keyPattern": { "at": 1 }, "expireAfterSeconds": secs };
    database
        .run_command(doc! { "collMod": rows.name(), "index": index })
        .await?;
    Ok(())
}

impl AuditFilter {
    /// "Actor or subject" becomes two whole conditions, so that each has its index and the two are merged in order.
    fn query(&self, after: Option<&Cursor>) -> Document {
        let Some(user) = self.user else {
            return self.condition(after);
        };
        let each = |field: &str| {
            let mut condition = self.condition(after);
            // A narrower question about the same member stands besides.
            match condition.remove(field) {
                Some(asked) => condition.insert("$and", vec![doc! { field: asked }, doc! { field: user.0 }]),
                None => condition.insert(field, user.0),
            };
            condition
        };
        doc! { "$or": [each("actor"), each("subject")] }
    }

    fn condition(&self, after: Option<&Cursor>) -> Document {
        let mut condition = doc! {};
        if let Some(action) = &self.action {
            condition.insert("action", action);
        }
        if let Some(outcome) = &self.outcome {
            condition.insert("outcome", outcome);
        }
        if let Some(actor) = self.actor {
            condition.insert("actor", actor.0);
        }
        if let Some(subject) = self.subject {
            condition.insert("subject", subject.0);
        }
        if let Some(address) = self.address {
            condition.insert("address", address.to_canonical().to_string());
        }
        let mut at = doc! {};
        if let Some(from) = self.from {
            at.insert("$gte", BsonDateTime::from_chrono(from));
        }
        if let Some(to) = self.to {
            at.insert("$lt", BsonDateTime::from_chrono(to));
        }
        if let Some(after) = after {
            let last = BsonDateTime::from_chrono(after.at);
            at.insert("$lte", last);
            // Those of the same millisecond that stood on the page before. A condition of its own, so that the index
            // is entered at the cursor and not at its beginning.
            if let Ok(id) = ObjectId::parse_str(&after.id) {
                condition.insert("$nor", vec![doc! { "at": last, "_id": { "$gte": id } }]);
            }
        }
        if !at.is_empty() {
            condition.insert("at", at);
        }
        condition
    }
}

impl AuditRow {
    fn new(event: &AuditEvent<'_>, details: Details<'_>, now: DateTime<Utc>) -> Self {
        let cut = |text: &str| text.chars().take(DETAIL_CHARS_MAX).collect::<String>();
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
                .map(|(name, value)| ((*name).to_owned(), cut(value).into()))
                .collect(),
        }
    }
}

impl From<AuditRow> for RecordedEvent {
    fn from(row: AuditRow) -> Self {
        let details = row.details.into_iter().map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (name, value)
        });
        Self {
            id: row.id.to_hex(),
            at: row.at.to_chrono(),
            action: row.action,
            outcome: row.outcome,
            actor: row.actor.map(UserId),
            subject: row.subject.map(UserId),
            session_id: row.session_id,
            address: row.address,
            user_agent: row.user_agent,
            request_id: row.request_id,
            details: details.collect(),
        }
    }
}
