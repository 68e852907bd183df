//! Assignments as an audit reads them: those too that name nothing any more.

use bson::{Bson, Document, doc};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use mongodb::error::Result;
use serde::Deserialize;

use super::AssignmentStore;

/// An active assignment, as it is written down. Older data may hold ids of any kind.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AuditedAssignment {
    /// Its id.
    #[serde(rename = "_id")]
    pub(crate) id: Bson,
    /// Whose it is.
    #[serde(default)]
    pub(crate) external_user_id: String,
    /// What it names.
    #[serde(default)]
    pub(crate) chatflow_id: String,
}

impl AssignmentStore {
    /// Active assignments by id, behind `after`; of these chatflows (by our ids) when any are named.
    pub(crate) async fn list_audited(
        &self,
        chatflows: Option<&[String]>,
        after: Option<&Bson>,
        limit: i64,
    ) -> Result<Vec<AuditedAssignment>> {
        let mut filter = doc! { "is_active": true };
        if let Some(chatflows) = chatflows {
            filter.insert("chatflow_id", doc! { "$in": chatflows });
        }
        if let Some(after) = after {
            filter.insert("_id", doc! { "$gt": after });
        }
        let rows = self.documents.clone_with_type::<AuditedAssignment>();
        let rows = rows.find(filter).sort(doc! { "_id": 1 }).limit(limit).await?;
        rows.try_collect().await
    }

    /// Ends these assignments; says how many still held.
    pub(crate) async fn revoke_ids(&self, ids: &[Bson], by: &str, now: DateTime<Utc>) -> Result<u64> {
        let update = doc! { "$set": {
            "is_active": false,
            "revoked_at": bson::DateTime::from_chrono(now),
            "revoked_by": by,
        } };
        let ended = self.documents.update_many(active(ids), update).await?;
        Ok(ended.modified_count)
    }

    /// Removes these assignments; says how many still held.
    pub(crate) async fn delete_ids(&self, ids: &[Bson]) -> Result<u64> {
        Ok(self.documents.delete_many(active(ids)).await?.deleted_count)
    }
}

fn active(ids: &[Bson]) -> Document {
    doc! { "_id": { "$in": ids }, "is_active": true }
}
