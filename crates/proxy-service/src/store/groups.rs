//! Groups: the collection `groups`, and beside it who is in them and what they are given.

mod grants;
mod members;

use bson::{Document, doc};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database, options::ReturnDocument};
use serde::Deserialize;

use super::{
    Result,
    indexes::{ensure_index, ensure_unique_index, is_duplicate_key},
};
use crate::domain::group::Group;

const GROUPS: &str = "groups";
const MEMBERS: &str = "group_members";
const GRANTS: &str = "group_chatflows";

/// Groups, their people and their chatflows.
#[derive(Clone, Debug)]
pub(crate) struct GroupStore {
    groups: Collection<Document>,
    members: Collection<Document>,
    grants: Collection<Document>,
}

/// A new name and a new description; `None` leaves as it is, an empty description is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupChange {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
}

/// Another group has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NameTaken;

#[derive(Deserialize)]
struct GroupRow {
    #[serde(rename = "_id")]
    id: String,
    name: String,
    description: Option<String>,
    created_at: bson::DateTime,
    updated_at: bson::DateTime,
}

impl GroupStore {
    /// Opens the collections and makes sure of their indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let store = Self {
            groups: database.collection(GROUPS),
            members: database.collection(MEMBERS),
            grants: database.collection(GRANTS),
        };
        let first = || doc! { "_id": 1 };
        ensure_unique_index(&store.groups, doc! { "name": 1 }, "", first()).await?;
        let place = doc! { "user_id": 1, "group_id": 1, "part": 1 };
        ensure_unique_index(&store.members, place, "", first()).await?;
        ensure_index(&store.members, doc! { "group_id": 1, "part": 1, "user_id": 1 }).await?;
        let grant = doc! { "group_id": 1, "chatflow_id": 1 };
        ensure_unique_index(&store.grants, grant, "", first()).await?;
        ensure_index(&store.grants, doc! { "chatflow_id": 1 }).await?;
        Ok(store)
    }

    /// Makes a group.
    pub(crate) async fn insert(&self, group: &Group) -> Result<Result<(), NameTaken>> {
        let document = doc! {
            "_id": &group.id,
            "name": &group.name,
            "description": &group.description,
            "created_at": bson::DateTime::from_chrono(group.created_at),
            "updated_at": bson::DateTime::from_chrono(group.updated_at),
        };
        match self.groups.insert_one(document).await {
            Ok(_) => Ok(Ok(())),
            Err(error) if is_duplicate_key(&error) => Ok(Err(NameTaken)),
            Err(error) => Err(error),
        }
    }

    /// Changes a group; `None` when there is none.
    pub(crate) async fn update(
        &self,
        id: &str,
        change: GroupChange,
        now: DateTime<Utc>,
    ) -> Result<Result<Option<Group>, NameTaken>> {
        let mut set = doc! { "updated_at": bson::DateTime::from_chrono(now) };
        if let Some(name) = change.name {
            set.insert("name", name);
        }
        if let Some(description) = change.description {
            set.insert("description", (!description.is_empty()).then_some(description));
        }
        let groups = self.groups.clone_with_type::<GroupRow>();
        let updated = groups
            .find_one_and_update(doc! { "_id": id }, doc! { "$set": set })
            .return_document(ReturnDocument::After)
            .await;
        match updated {
            Ok(row) => Ok(Ok(row.map(Group::from))),
            Err(error) if is_duplicate_key(&error) => Ok(Err(NameTaken)),
            Err(error) => Err(error),
        }
    }

    /// One group.
    pub(crate) async fn find(&self, id: &str) -> Result<Option<Group>> {
        let groups = self.groups.clone_with_type::<GroupRow>();
        Ok(groups.find_one(doc! { "_id": id }).await?.map(Group::from))
    }

    /// Groups by name, behind `after`, all of them without a `limit`.
    pub(crate) async fn list(&self, after: Option<&str>, limit: Option<i64>) -> Result<Vec<Group>> {
        let filter = after.map_or_else(Document::new, |name| doc! { "name": { "$gt": name } });
        self.list_where(filter, limit).await
    }

    /// These groups, by name.
    pub(crate) async fn list_by_ids(&self, ids: &[String]) -> Result<Vec<Group>> {
        self.list_where(doc! { "_id": { "$in": ids } }, None).await
    }

    async fn list_where(&self, filter: Document, limit: Option<i64>) -> Result<Vec<Group>> {
        let groups = self.groups.clone_with_type::<GroupRow>();
        let mut find = groups.find(filter).sort(doc! { "name": 1 });
        if let Some(limit) = limit {
            find = find.limit(limit);
        }
        find.await?.map_ok(Group::from).try_collect().await
    }

    /// Removes a group with everything in it; says whether there was one. What it gave goes first: a removal that breaks
    /// off half way leaves a group that gives less, never one that nobody sees.
    pub(crate) async fn delete(&self, id: &str) -> Result<bool> {
        let of_group = doc! { "group_id": id };
        self.grants.delete_many(of_group.clone()).await?;
        self.members.delete_many(of_group).await?;
        Ok(self.groups.delete_one(doc! { "_id": id }).await?.deleted_count > 0)
    }
}

impl From<GroupRow> for Group {
    fn from(row: GroupRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            description: row.description,
            created_at: row.created_at.to_chrono(),
            updated_at: row.updated_at.to_chrono(),
        }
    }
}
