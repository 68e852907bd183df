//! Assignments of people to chatflows: the collection `UserChatflow`.

mod audit;

use bson::{Bson, Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt as _};
use mongodb::{Collection, Database, error::Result, options::ReturnDocument};
use serde::Deserialize;

use super::indexes::{ensure_index, ensure_unique_index, is_duplicate_key};
use crate::domain::{
    assignment::{Assignment, AssignmentChange},
    window::Window,
};

pub(crate) use self::audit::AuditedAssignment;

/// The name older deployments know it by.
const COLLECTION: &str = "UserChatflow";

/// Parallel first assignments of one person can collide on the unique index; the second try finds the document.
const UPSERT_TRIES: usize = 4;

/// The documented order of lists.
const LONGEST_FIRST: &[&str] = &["assigned_at", "_id"];

/// Who may use what.
#[derive(Clone, Debug)]
pub(crate) struct AssignmentStore {
    documents: Collection<Document>,
}

#[derive(Deserialize)]
struct AssignmentRow {
    external_user_id: String,
    chatflow_id: String,
    assigned_at: Option<bson::DateTime>,
    starts_at: Option<bson::DateTime>,
    ends_at: Option<bson::DateTime>,
}

/// What an assignment was before it was given anew.
#[derive(Deserialize)]
struct BeforeRow {
    is_active: Option<bool>,
    starts_at: Option<bson::DateTime>,
    ends_at: Option<bson::DateTime>,
}

/// What is kept of an assignment, ended or not.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "KeptRow")]
pub(crate) struct KeptAssignment {
    /// Our id of the chatflow.
    pub(crate) chatflow_id: String,
    /// Whether it holds.
    pub(crate) is_active: bool,
    /// Since when.
    pub(crate) assigned_at: Option<DateTime<Utc>>,
    /// When it was ended.
    pub(crate) revoked_at: Option<DateTime<Utc>>,
    /// From when until when it was given.
    pub(crate) window: Window,
}

#[derive(Deserialize)]
struct KeptRow {
    chatflow_id: String,
    is_active: Option<bool>,
    assigned_at: Option<bson::DateTime>,
    revoked_at: Option<bson::DateTime>,
    starts_at: Option<bson::DateTime>,
    ends_at: Option<bson::DateTime>,
}

impl From<KeptRow> for KeptAssignment {
    fn from(row: KeptRow) -> Self {
        Self {
            chatflow_id: row.chatflow_id,
            is_active: row.is_active.unwrap_or(false),
            assigned_at: row.assigned_at.map(bson::DateTime::to_chrono),
            revoked_at: row.revoked_at.map(bson::DateTime::to_chrono),
            window: window(row.starts_at, row.ends_at),
        }
    }
}

impl AssignmentStore {
    /// All of a person's assignments, ended ones included, as they are read.
    pub(crate) async fn stream_of(
        &self,
        external_user_id: &str,
    ) -> Result<impl Stream<Item = Result<KeptAssignment>> + use<>> {
        let rows = self.documents.clone_with_type::<KeptAssignment>();
        rows.find(doc! { "external_user_id": external_user_id }).await
    }

    /// Opens the collection and makes sure of its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let documents = database.collection(COLLECTION);
        let keys = doc! { "external_user_id": 1, "chatflow_id": 1 };
        // Of two the active one stays, then the older.
        let preference = doc! { "is_active": -1, "assigned_at": 1 };
        ensure_unique_index(&documents, keys, "", preference).await?;
        ensure_index(&documents, doc! { "chatflow_id": 1, "is_active": 1 }).await?;
        ensure_index(&documents, doc! { "chatflow_id": 1, "external_user_id": 1 }).await?;
        Ok(Self { documents })
    }

    /// Whether the person may use the chatflow at `now` by an assignment of their own.
    pub(crate) async fn is_active(
        &self,
        external_user_id: &str,
        chatflow: ObjectId,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let mut filter = holds_at(now);
        filter.extend(key(external_user_id, chatflow));
        filter.insert("is_active", true);
        Ok(self.documents.find_one(filter).await?.is_some())
    }

    /// What the person may use at `now`.
    pub(crate) async fn list_active_of_person(
        &self,
        external_user_id: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<Assignment>> {
        let mut filter = holds_at(now);
        filter.insert("external_user_id", external_user_id);
        filter.insert("is_active", true);
        self.list(filter, LONGEST_FIRST, None).await
    }

    /// What the person was given and not deprived of, whenever it is to be used.
    pub(crate) async fn list_given_to(&self, external_user_id: &str) -> Result<Vec<Assignment>> {
        let filter = doc! { "external_user_id": external_user_id, "is_active": true };
        self.list(filter, LONGEST_FIRST, None).await
    }

    /// Who has the chatflow and may use it at `now` or later, the longest assigned first.
    pub(crate) async fn list_active_of_chatflow(
        &self,
        chatflow: ObjectId,
        now: DateTime<Utc>,
    ) -> Result<Vec<Assignment>> {
        self.list(of_chatflow(chatflow, now), LONGEST_FIRST, None).await
    }

    /// A page of the same, by people's ids.
    pub(crate) async fn page_of_chatflow(
        &self,
        chatflow: ObjectId,
        now: DateTime<Utc>,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Assignment>> {
        let mut filter = of_chatflow(chatflow, now);
        if let Some(after) = after {
            filter.insert("external_user_id", doc! { "$gt": after });
        }
        self.list(filter, &["external_user_id"], Some(limit)).await
    }

    async fn list(&self, filter: Document, order: &[&str], limit: Option<i64>) -> Result<Vec<Assignment>> {
        let rows = self.documents.clone_with_type::<AssignmentRow>();
        let order: Document = order
            .iter()
            .map(|member| ((*member).to_owned(), 1.into()))
            .collect();
        let mut find = rows.find(filter).sort(order);
        if let Some(limit) = limit {
            find = find.limit(limit);
        }
        find.await?.map_ok(Assignment::from).try_collect().await
    }

    /// Lets the person use the chatflow; `by` is the administrator. Without a window an assignment that holds keeps its
    /// own, and one that is over holds for ever.
    pub(crate) async fn assign(
        &self,
        external_user_id: &str,
        chatflow: ObjectId,
        window: Option<Window>,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<AssignmentChange> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_assign(external_user_id, chatflow, window, by, now).await {
                Err(error) if is_duplicate_key(&error) && tries < UPSERT_TRIES => {}
                outcome => return outcome,
            }
        }
    }

    async fn try_assign(
        &self,
        external_user_id: &str,
        chatflow: ObjectId,
        window: Option<Window>,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<AssignmentChange> {
        let now_bson = bson::DateTime::from_chrono(now);
        // What has no end compares as earlier than any time.
        let is_over =
            doc! { "$and": [{ "$gt": ["$ends_at", Bson::Null] }, { "$lte": ["$ends_at", now_bson] }] };
        let was_live = doc! { "$and": [{ "$eq": ["$is_active", true] }, { "$not": [is_over] }] };
        let keep_or =
            |member: &str, new: Bson| doc! { "$cond": [was_live.clone(), format!("${member}"), new] };
        let time = |time: Option<DateTime<Utc>>| -> Bson {
            time.map_or(Bson::Null, |time| bson::DateTime::from_chrono(time).into())
        };
        let bound = |member: &str, wanted: Option<Bson>| match wanted {
            Some(time) => time,
            None => keep_or(member, Bson::Null).into(),
        };
        let update = [
            doc! { "$set": {
                "assigned_at": keep_or("assigned_at", now_bson.into()),
                "assigned_by": keep_or("assigned_by", doc! { "$literal": by }.into()),
                "starts_at": bound("starts_at", window.map(|window| time(window.starts_at))),
                "ends_at": bound("ends_at", window.map(|window| time(window.ends_at))),
            } },
            doc! { "$set": { "is_active": true } },
            doc! { "$unset": ["revoked_at", "revoked_by"] },
        ];
        let before = self
            .documents
            .clone_with_type::<BeforeRow>()
            .find_one_and_update(key(external_user_id, chatflow), update.to_vec())
            .upsert(true)
            .return_document(ReturnDocument::Before)
            .await?;
        Ok(before.map_or(AssignmentChange::Assigned, |row| row.change(window, now)))
    }

    /// Forgets what a person who is gone could use, and could use once.
    pub(crate) async fn delete_of(&self, external_user_id: &str) -> Result<()> {
        self.documents
            .delete_many(doc! { "external_user_id": external_user_id })
            .await?;
        Ok(())
    }

    /// Forgets who could use a chatflow that is gone.
    pub(crate) async fn delete_of_chatflow(&self, chatflow: ObjectId) -> Result<u64> {
        let filter = doc! { "chatflow_id": chatflow.to_hex() };
        Ok(self.documents.delete_many(filter).await?.deleted_count)
    }

    /// Takes the chatflow from the person; says whether they had it. Since when they had it stays on record.
    pub(crate) async fn revoke(
        &self,
        external_user_id: &str,
        chatflow: ObjectId,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let mut filter = key(external_user_id, chatflow);
        filter.insert("is_active", true);
        let update = doc! { "$set": {
            "is_active": false,
            "revoked_at": bson::DateTime::from_chrono(now),
            "revoked_by": by,
        } };
        Ok(self.documents.update_one(filter, update).await?.modified_count > 0)
    }
}

/// What was given and may be used at `now`; older data knows no windows.
pub(super) fn holds_at(now: DateTime<Utc>) -> Document {
    let now = bson::DateTime::from_chrono(now);
    doc! { "$and": [
        { "$or": [{ "starts_at": null }, { "starts_at": { "$lte": now } }] },
        { "$or": [{ "ends_at": null }, { "ends_at": { "$gt": now } }] },
    ] }
}

/// Assignments of this chatflow that are not over.
fn of_chatflow(chatflow: ObjectId, now: DateTime<Utc>) -> Document {
    doc! {
        "chatflow_id": chatflow.to_hex(),
        "is_active": true,
        "$or": [{ "ends_at": null }, { "ends_at": { "$gt": bson::DateTime::from_chrono(now) } }],
    }
}

fn window(starts_at: Option<bson::DateTime>, ends_at: Option<bson::DateTime>) -> Window {
    Window {
        starts_at: starts_at.map(bson::DateTime::to_chrono),
        ends_at: ends_at.map(bson::DateTime::to_chrono),
    }
}

impl BeforeRow {
    /// What has changed now that the assignment holds within `wanted`.
    fn change(self, wanted: Option<Window>, now: DateTime<Utc>) -> AssignmentChange {
        let had = window(self.starts_at, self.ends_at);
        if self.is_active != Some(true) || had.is_over(now) {
            return AssignmentChange::Reactivated;
        }
        if wanted.is_some_and(|wanted| wanted != had) {
            AssignmentChange::Rescheduled
        } else {
            AssignmentChange::Unchanged
        }
    }
}

fn key(external_user_id: &str, chatflow: ObjectId) -> Document {
    doc! { "external_user_id": external_user_id, "chatflow_id": chatflow.to_hex() }
}

impl From<AssignmentRow> for Assignment {
    fn from(row: AssignmentRow) -> Self {
        Self {
            external_user_id: row.external_user_id,
            chatflow_id: row.chatflow_id,
            assigned_at: row.assigned_at.map(bson::DateTime::to_chrono),
            window: window(row.starts_at, row.ends_at),
        }
    }
}
