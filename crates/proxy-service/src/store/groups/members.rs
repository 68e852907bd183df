//! Who is in which group: the collection `group_members`.

use bson::{Document, doc};
use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt as _};
use mongodb::error::Result;
use serde::Deserialize;

use super::GroupStore;
use crate::{
    domain::group::{Membership, Part},
    store::indexes::is_duplicate_key,
};

#[derive(Deserialize)]
struct MemberRow {
    group_id: String,
    user_id: String,
    part: String,
    added_at: bson::DateTime,
}

impl GroupStore {
    /// Puts somebody into a group; says whether that is new.
    pub(crate) async fn add_member(
        &self,
        group_id: &str,
        user_id: &str,
        part: Part,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let key = doc! { "group_id": group_id, "user_id": user_id, "part": part.as_str() };
        let new = doc! { "$setOnInsert": { "added_at": bson::DateTime::from_chrono(now), "added_by": by } };
        let written = self.members.update_one(key, new).upsert(true).await;
        match written {
            Ok(written) => Ok(written.upserted_id.is_some()),
            // Somebody else did the same at this moment.
            Err(error) if is_duplicate_key(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes somebody out of a group, as `part` or altogether; says whether they were in it.
    pub(crate) async fn remove_member(
        &self,
        group_id: &str,
        user_id: &str,
        part: Option<Part>,
    ) -> Result<bool> {
        let mut filter = doc! { "group_id": group_id, "user_id": user_id };
        if let Some(part) = part {
            filter.insert("part", part.as_str());
        }
        Ok(self.members.delete_many(filter).await?.deleted_count > 0)
    }

    /// The people of a group by their ids, behind `after`, all of them without a `limit`.
    pub(crate) async fn list_members(
        &self,
        group_id: &str,
        part: Option<Part>,
        after: Option<(&str, &str)>,
        limit: Option<i64>,
    ) -> Result<Vec<Membership>> {
        let mut filter = doc! { "group_id": group_id };
        if let Some(part) = part {
            filter.insert("part", part.as_str());
        }
        if let Some((user_id, part)) = after {
            filter.insert(
                "$or",
                [
                    doc! { "user_id": { "$gt": user_id } },
                    doc! { "user_id": user_id, "part": { "$gt": part } },
                ]
                .to_vec(),
            );
        }
        let rows = self.members.clone_with_type::<MemberRow>();
        let mut find = rows.find(filter).sort(doc! { "user_id": 1, "part": 1 });
        if let Some(limit) = limit {
            find = find.limit(limit);
        }
        find.await?.map_ok(Membership::from).try_collect().await
    }

    /// The groups in which somebody is this.
    pub(crate) async fn list_group_ids(&self, user_id: &str, part: Part) -> Result<Vec<String>> {
        let filter = doc! { "user_id": user_id, "part": part.as_str() };
        let rows = self.members.clone_with_type::<MemberRow>().find(filter).await?;
        rows.map_ok(|row| row.group_id).try_collect().await
    }

    /// Every group somebody is in, as it is read.
    pub(crate) async fn stream_memberships(
        &self,
        user_id: &str,
    ) -> Result<impl Stream<Item = Result<Membership>> + use<>> {
        let rows = self.members.clone_with_type::<MemberRow>();
        let rows = rows.find(doc! { "user_id": user_id }).await?;
        Ok(rows.map_ok(Membership::from))
    }

    /// The members of these groups, each once; `None` when there are more than `max`.
    pub(crate) async fn member_ids(&self, group_ids: &[String], max: usize) -> Result<Option<Vec<String>>> {
        let pipeline = [
            doc! { "$match": { "group_id": { "$in": group_ids }, "part": Part::Member.as_str() } },
            doc! { "$group": { "_id": "$user_id" } },
            doc! { "$limit": i64::try_from(max).unwrap_or(i64::MAX).saturating_add(1) },
        ];
        let rows = self.members.aggregate(pipeline).await?;
        let ids: Vec<String> = rows
            .try_filter_map(async |row: Document| Ok(row.get_str("_id").ok().map(str::to_owned)))
            .try_collect()
            .await?;
        Ok((ids.len() <= max).then_some(ids))
    }

    /// How many members and leads a group has.
    pub(crate) async fn count_people(&self, group_id: &str) -> Result<(u64, u64)> {
        let count = |part: Part| {
            self.members
                .count_documents(doc! { "group_id": group_id, "part": part.as_str() })
                .into_future()
        };
        futures_util::try_join!(count(Part::Member), count(Part::Lead))
    }

    /// Takes somebody who is gone out of every group.
    pub(crate) async fn delete_of(&self, user_id: &str) -> Result<()> {
        self.members.delete_many(doc! { "user_id": user_id }).await?;
        Ok(())
    }
}

impl From<MemberRow> for Membership {
    fn from(row: MemberRow) -> Self {
        Self {
            part: Part::parse(&row.part).unwrap_or_default(),
            group_id: row.group_id,
            user_id: row.user_id,
            added_at: row.added_at.to_chrono(),
        }
    }
}
