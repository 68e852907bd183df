//! Assignments of people to chatflows: the collection `UserChatflow`.

use bson::{Bson, Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt as _};
use mongodb::{Collection, Database, error::Result, options::ReturnDocument};
use serde::Deserialize;

use super::indexes::{ensure_index, ensure_unique_index, is_duplicate_key};
use crate::domain::assignment::{Assignment, AssignmentChange};

/// The name older deployments know it by.
const COLLECTION: &str = "UserChatflow";

/// Parallel first assignments of one person can collide on the unique index; the second try finds the document.
const UPSERT_TRIES: usize = 4;

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
}

#[derive(Deserialize)]
struct KeptRow {
    chatflow_id: String,
    is_active: Option<bool>,
    assigned_at: Option<bson::DateTime>,
    revoked_at: Option<bson::DateTime>,
}

impl From<KeptRow> for KeptAssignment {
    fn from(row: KeptRow) -> Self {
        Self {
            chatflow_id: row.chatflow_id,
            is_active: row.is_active.unwrap_or(false),
            assigned_at: row.assigned_at.map(bson::DateTime::to_chrono),
            revoked_at: row.revoked_at.map(bson::DateTime::to_chrono),
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
        Ok(Self { documents })
    }

    /// Whether the person may use the chatflow.
    pub(crate) async fn is_active(&self, external_user_id: &str, chatflow: ObjectId) -> Result<bool> {
        let mut filter = key(external_user_id, chatflow);
        filter.insert("is_active", true);
        Ok(self.documents.find_one(filter).await?.is_some())
    }

    /// What the person may use.
    pub(crate) async fn list_active_of_person(&self, external_user_id: &str) -> Result<Vec<Assignment>> {
        self.list(doc! { "external_user_id": external_user_id, "is_active": true })
            .await
    }

    /// Who may use the chatflow, the longest assigned first.
    pub(crate) async fn list_active_of_chatflow(&self, chatflow: ObjectId) -> Result<Vec<Assignment>> {
        self.list(doc! { "chatflow_id": chatflow.to_hex(), "is_active": true })
            .await
    }

    async fn list(&self, filter: Document) -> Result<Vec<Assignment>> {
        let rows = self.documents.clone_with_type::<AssignmentRow>();
        let rows = rows
            .find(filter)
            .sort(doc! { "assigned_at": 1, "_id": 1 })
            .await?;
        rows.map_ok(Assignment::from).try_collect().await
    }

    /// Lets the person use the chatflow. `by` is the administrator.
    pub(crate) async fn assign(
        &self,
        external_user_id: &str,
        chatflow: ObjectId,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<AssignmentChange> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_assign(external_user_id, chatflow, by, now).await {
                Err(error) if is_duplicate_key(&error) && tries < UPSERT_TRIES => {}
                outcome => return outcome,
            }
        }
    }

    async fn try_assign(
        &self,
        external_user_id: &str,
        chatflow: ObjectId,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<AssignmentChange> {
        let was_active = doc! { "$eq": ["$is_active", true] };
        let keep_or =
            |member: &str, new: Bson| doc! { "$cond": [was_active.clone(), format!("${member}"), new] };
        let update = [
            doc! { "$set": {
                "assigned_at": keep_or("assigned_at", bson::DateTime::from_chrono(now).into()),
                "assigned_by": keep_or("assigned_by", doc! { "$literal": by }.into()),
            } },
            doc! { "$set": { "is_active": true } },
            doc! { "$unset": ["revoked_at", "revoked_by"] },
        ];
        let before = self
            .documents
            .find_one_and_update(key(external_user_id, chatflow), update.to_vec())
            .upsert(true)
            .return_document(ReturnDocument::Before)
            .await?;
        Ok(
            match before.map(|row| row.get_bool("is_active").unwrap_or(false)) {
                None => AssignmentChange::Assigned,
                Some(false) => AssignmentChange::Reactivated,
                Some(true) => AssignmentChange::Unchanged,
            },
        )
    }

    /// Forgets what a person who is gone could use, and could use once.
    pub(crate) async fn delete_of(&self, external_user_id: &str) -> Result<()> {
        self.documents
            .delete_many(doc! { "external_user_id": external_user_id })
            .await?;
        Ok(())
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

fn key(external_user_id: &str, chatflow: ObjectId) -> Document {
    doc! { "external_user_id": external_user_id, "chatflow_id": chatflow.to_hex() }
}

impl From<AssignmentRow> for Assignment {
    fn from(row: AssignmentRow) -> Self {
        Self {
            external_user_id: row.external_user_id,
            chatflow_id: row.chatflow_id,
            assigned_at: row.assigned_at.map(bson::DateTime::to_chrono),
        }
    }
}
