//! Which chatflows a group's members may use: the collection `group_chatflows`.

use bson::{doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use mongodb::error::Result;
use serde::Deserialize;

use super::GroupStore;
use crate::{
    domain::{
        group::{GroupGrant, Part},
        window::Window,
    },
    store::{assignments::holds_at, indexes::is_duplicate_key},
};

/// Parallel first grants can collide on the unique index; the second try finds the document.
const UPSERT_TRIES: usize = 4;

#[derive(Deserialize)]
struct GrantRow {
    group_id: String,
    chatflow_id: String,
    starts_at: Option<bson::DateTime>,
    ends_at: Option<bson::DateTime>,
    granted_at: bson::DateTime,
}

impl GroupStore {
    /// Gives a group a chatflow, or changes from when until when it has it.
    pub(crate) async fn grant(
        &self,
        group_id: &str,
        chatflow: ObjectId,
        window: Window,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let key = doc! { "group_id": group_id, "chatflow_id": chatflow.to_hex() };
        let update = doc! {
            "$set": {
                "starts_at": window.starts_at.map(bson::DateTime::from_chrono),
                "ends_at": window.ends_at.map(bson::DateTime::from_chrono),
                "granted_by": by,
            },
            "$setOnInsert": { "granted_at": bson::DateTime::from_chrono(now) },
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let written = self
                .grants
                .update_one(key.clone(), update.clone())
                .upsert(true)
                .await;
            match written {
                Err(error) if is_duplicate_key(&error) && tries < UPSERT_TRIES => {}
                written => return written.map(drop),
            }
        }
    }

    /// Takes a chatflow from a group; says whether it had it.
    pub(crate) async fn revoke_grant(&self, group_id: &str, chatflow: ObjectId) -> Result<bool> {
        let key = doc! { "group_id": group_id, "chatflow_id": chatflow.to_hex() };
        Ok(self.grants.delete_one(key).await?.deleted_count > 0)
    }

    /// What a group is given, the first given first.
    pub(crate) async fn list_grants(&self, group_id: &str) -> Result<Vec<GroupGrant>> {
        self.list_grants_where(doc! { "group_id": group_id }).await
    }

    /// Which groups are given a chatflow.
    pub(crate) async fn list_grants_of_chatflow(&self, chatflow: ObjectId) -> Result<Vec<GroupGrant>> {
        self.list_grants_where(doc! { "chatflow_id": chatflow.to_hex() })
            .await
    }

    async fn list_grants_where(&self, filter: bson::Document) -> Result<Vec<GroupGrant>> {
        let rows = self.grants.clone_with_type::<GrantRow>();
        let rows = rows.find(filter).sort(doc! { "granted_at": 1, "_id": 1 }).await?;
        rows.map_ok(GroupGrant::from).try_collect().await
    }

    /// Whether one of somebody's groups has the chatflow at `now`.
    pub(crate) async fn gives(&self, user_id: &str, chatflow: ObjectId, now: DateTime<Utc>) -> Result<bool> {
        let groups = self.list_group_ids(user_id, Part::Member).await?;
        if groups.is_empty() {
            return Ok(false);
        }
        let mut filter = holds_at(now);
        filter.insert("group_id", doc! { "$in": groups });
        filter.insert("chatflow_id", chatflow.to_hex());
        Ok(self.grants.find_one(filter).await?.is_some())
    }

    /// Everything somebody's groups have at `now`.
    pub(crate) async fn list_given(&self, user_id: &str, now: DateTime<Utc>) -> Result<Vec<GroupGrant>> {
        let groups = self.list_group_ids(user_id, Part::Member).await?;
        if groups.is_empty() {
            return Ok(Vec::new());
        }
        let mut filter = holds_at(now);
        filter.insert("group_id", doc! { "$in": groups });
        self.list_grants_where(filter).await
    }

    /// Takes a chatflow that is gone from every group.
    pub(crate) async fn delete_grants_of(&self, chatflow: ObjectId) -> Result<u64> {
        let filter = doc! { "chatflow_id": chatflow.to_hex() };
        Ok(self.grants.delete_many(filter).await?.deleted_count)
    }
}

impl From<GrantRow> for GroupGrant {
    fn from(row: GrantRow) -> Self {
        Self {
            group_id: row.group_id,
            chatflow_id: row.chatflow_id,
            window: Window {
                starts_at: row.starts_at.map(bson::DateTime::to_chrono),
                ends_at: row.ends_at.map(bson::DateTime::to_chrono),
            },
            granted_at: row.granted_at.to_chrono(),
        }
    }
}
