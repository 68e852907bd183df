//! What administrators change of accounts, and what other services have not been told of yet.
//!
//! Every change that others must hear of leaves a mark in the document, in the same write; it is taken off once the
//! feed has the change. So a change is told however often a process dies.

use bson::{DateTime as BsonDateTime, Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use common_jwt::Role;
use futures_util::TryStreamExt as _;
use mongodb::options::ReturnDocument;
use serde::Deserialize;

use super::{UserStore, approvals::AWAITS_APPROVAL, taken};
use crate::{
    domain::user::{Edit, User, UserId},
    error::Result,
};

/// The member that says that the feed does not know yet.
pub(super) const UNTOLD: &str = "untold";

/// The mark of one change.
pub(crate) type Mark = ObjectId;

#[derive(Deserialize)]
struct IdRow {
    #[serde(rename = "_id")]
    id: ObjectId,
}

impl UserStore {
    /// Changes what `edit` names.
    pub(crate) async fn edit(&self, id: UserId, edit: &Edit, now: DateTime<Utc>) -> Result<Option<User>> {
        let mut set = doc! { "updatedAt": BsonDateTime::from_chrono(now), UNTOLD: ObjectId::new() };
        if let Some(username) = &edit.username {
            set.insert("username", username.as_str());
        }
        if let Some(email) = &edit.email {
            set.insert("email", email.as_str());
        }
        if let Some(role) = edit.role {
            set.insert("role", role.as_str());
        }
        if let Some(is_active) = edit.is_active {
            set.insert("isDisabled", !is_active);
        }
        if let Some(is_verified) = edit.is_verified {
            set.insert("isVerified", is_verified);
        }
        let changed = self
            .rows
            .find_one_and_update(doc! { "_id": id.0 }, doc! { "$set": set })
            .return_document(ReturnDocument::After);
        let row = changed.await.map_err(taken)?;
        Ok(row.map(|row| self.read(row)))
    }

    /// Whether somebody else than `id` is an admin and can sign in.
    pub(crate) async fn has_other_active_admin(&self, id: UserId) -> Result<bool> {
        let mut filter = active_admins();
        filter.insert("_id", doc! { "$ne": id.0 });
        Ok(self.rows.count_documents(filter).limit(1).await? > 0)
    }

    /// Whether this is an admin who can sign in.
    pub(crate) async fn is_active_admin(&self, id: UserId) -> Result<bool> {
        let mut filter = active_admins();
        filter.insert("_id", id.0);
        Ok(self.rows.count_documents(filter).limit(1).await? > 0)
    }

    /// The user with the mark of their latest change that has not been told.
    pub(crate) async fn find_marked(&self, id: UserId) -> Result<Option<(User, Option<Mark>)>> {
        let row = self.rows.find_one(doc! { "_id": id.0 }).await?;
        Ok(row.map(|row| {
            let mark = row.untold;
            (self.read(row), mark)
        }))
    }

    /// Takes a mark off, unless there is a later one.
    pub(crate) async fn clear_mark(&self, id: UserId, mark: Mark) -> Result<()> {
        let filter = doc! { "_id": id.0, UNTOLD: mark };
        self.rows
            .update_one(filter, doc! { "$unset": { UNTOLD: "" } })
            .await?;
        Ok(())
    }

    /// Users with changes, made before `before`, that have not been told.
    pub(crate) async fn list_marked(&self, before: DateTime<Utc>, limit: i64) -> Result<Vec<UserId>> {
        let filter = doc! {
            UNTOLD: { "$type": "objectId" },
            "updatedAt": { "$lt": BsonDateTime::from_chrono(before) },
        };
        self.list_ids(filter, limit).await
    }

    /// Removes a user who is no admin and returns who that was.
    pub(crate) async fn remove(&self, id: UserId) -> Result<Option<User>> {
        let filter = doc! { "_id": id.0, "role": { "$ne": Role::Admin.as_str() } };
        let row = self.rows.find_one_and_delete(filter).await?;
        Ok(row.map(|row| self.read(row)))
    }

    /// The next users after `after` in the order of their ids, of admins or of all others, without `except`.
    pub(crate) async fn list_ids_after(
        &self,
        after: Option<UserId>,
        admins: bool,
        except: UserId,
        limit: i64,
    ) -> Result<Vec<UserId>> {
        let mut id = doc! { "$ne": except.0 };
        if let Some(after) = after {
            id.insert("$gt", after.0);
        }
        self.list_ids(doc! { "_id": id, "role": role_filter(admins) }, limit)
            .await
    }

    /// Removes those of these users who are admins, or those who are not.
    pub(crate) async fn remove_many(&self, ids: &[UserId], admins: bool) -> Result<()> {
        let filter = doc! { "_id": { "$in": object_ids(ids) }, "role": role_filter(admins) };
        self.rows.delete_many(filter).await?;
        Ok(())
    }

    /// Those of these users that there are.
    pub(crate) async fn list_existing(&self, ids: &[UserId]) -> Result<Vec<UserId>> {
        let filter = doc! { "_id": { "$in": object_ids(ids) } };
        let limit = i64::try_from(ids.len()).unwrap_or(i64::MAX);
        self.list_ids(filter, limit).await
    }

    async fn list_ids(&self, filter: Document, limit: i64) -> Result<Vec<UserId>> {
        let ids = self.rows.clone_with_type::<IdRow>();
        let ids = ids.find(filter).projection(doc! { "_id": 1 });
        let ids = ids.sort(doc! { "_id": 1 }).limit(limit).await?;
        Ok(ids.map_ok(|row| UserId(row.id)).try_collect().await?)
    }
}

fn active_admins() -> Document {
    doc! {
        "role": Role::Admin.as_str(), "isVerified": true, "isDisabled": { "$ne": true },
        AWAITS_APPROVAL: { "$ne": true }, "isServiceAccount": { "$ne": true },
    }
}

fn role_filter(admins: bool) -> Document {
    let admin = Role::Admin.as_str();
    if admins {
        doc! { "$eq": admin }
    } else {
        doc! { "$ne": admin }
    }
}

fn object_ids(ids: &[UserId]) -> Vec<ObjectId> {
    ids.iter().map(|id| id.0).collect()
}
