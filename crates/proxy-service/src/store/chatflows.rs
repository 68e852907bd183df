//! Chatflows as Flowise listed them: the collection `Chatflow`.

mod rows;

use std::collections::HashSet;

use bson::{Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database, error::Result, options::ReturnDocument};

use self::rows::ChatflowRow;
use super::indexes::{ensure_index, ensure_unique_index, is_duplicate_key_code};
use crate::domain::chatflow::{
    Cap, Chatflow, ChatflowRecord, ChatflowSettings, ChatflowStatistics, ListedChatflow, PriceChange,
    SyncStatus,
};

/// The name older deployments know it by.
const COLLECTION: &str = "Chatflow";

/// Chatflows written by one command; with the graphs kept below 4 MiB each this stays far below what a command may
/// carry (48 MB) in all but absurd catalogs, and those are split by [`COMMAND_BYTES_MAX`].
const COMMAND_UPDATES_MAX: usize = 100;

/// Bytes of updates one command may carry.
const COMMAND_BYTES_MAX: usize = 24 << 20;

/// Chatflows, and what a turn on them costs.
#[derive(Clone, Debug)]
pub(crate) struct ChatflowStore {
    database: Database,
    documents: Collection<Document>,
    price_default: i64,
}

/// What writing a listing changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Upserted {
    /// Chatflows that were not known before.
    pub(crate) created: u64,
    /// Chatflows that were known.
    pub(crate) updated: u64,
    /// Flowise ids of those the database refused.
    pub(crate) refused: Vec<String>,
}

impl ChatflowStore {
    /// Opens the collection and makes sure of its indexes. A turn on a chatflow without a price of its own costs
    /// `price_default`.
    pub(crate) async fn open(database: &Database, price_default: i64) -> Result<Self> {
        let documents = database.collection(COLLECTION);
        ensure_unique_index(&documents, doc! { "flowise_id": 1 }, "", doc! { "synced_at": -1 }).await?;
        ensure_index(&documents, doc! { "sync_status": 1 }).await?;
        Ok(Self {
            database: database.clone(),
            documents,
            price_default,
        })
    }

    /// The chatflow with this Flowise id, in whatever state.
    pub(crate) async fn find(&self, flowise_id: &str) -> Result<Option<Chatflow>> {
        Ok(self.find_light(flowise_id).await?.map(|record| record.chatflow))
    }

    /// The same with everything that is kept except the graph.
    pub(crate) async fn find_light(&self, flowise_id: &str) -> Result<Option<ChatflowRecord>> {
        let row = self
            .rows()
            .find_one(doc! { "flowise_id": flowise_id })
            .projection(without_graph())
            .await?;
        Ok(row.map(|row| row.into_record(self.price_default)))
    }

    /// The same with everything that is kept.
    pub(crate) async fn find_record(&self, flowise_id: &str) -> Result<Option<ChatflowRecord>> {
        let row = self.rows().find_one(doc! { "flowise_id": flowise_id }).await?;
        Ok(row.map(|row| row.into_record(self.price_default)))
    }

    /// Chatflows by name, behind the one of this name and id, without their graphs; all of them without a `limit`.
    pub(crate) async fn list(
        &self,
        include_deleted: bool,
        after: Option<(&str, ObjectId)>,
        limit: Option<i64>,
    ) -> Result<Vec<ChatflowRecord>> {
        let mut filter = doc! {};
        if !include_deleted {
            filter.insert("sync_status", doc! { "$ne": SyncStatus::Deleted.as_str() });
        }
        if let Some((name, id)) = after {
            let behind = [
                doc! { "name": { "$gt": name } },
                doc! { "name": name, "_id": { "$gt": id } },
            ];
            filter.insert("$or", behind.to_vec());
        }
        let rows = self.rows();
        let mut find = rows
            .find(filter)
            .projection(without_graph())
            .sort(doc! { "name": 1, "_id": 1 });
        if let Some(limit) = limit {
            find = find.limit(limit);
        }
        find.await?
            .map_ok(|row| row.into_record(self.price_default))
            .try_collect()
            .await
    }

    /// These chatflows, in whatever state, without their graphs.
    pub(crate) async fn list_by_ids(&self, ids: &[ObjectId]) -> Result<Vec<Chatflow>> {
        let rows = self.rows();
        let rows = rows.find(doc! { "_id": { "$in": ids } });
        let rows = rows.projection(without_graph()).await?;
        rows.map_ok(|row| row.into_record(self.price_default).chatflow)
            .try_collect()
            .await
    }

    /// These chatflows by Flowise's ids, likewise.
    pub(crate) async fn list_by_flowise_ids(&self, flowise_ids: &[&str]) -> Result<Vec<Chatflow>> {
        let rows = self.rows();
        let rows = rows.find(doc! { "flowise_id": { "$in": flowise_ids } });
        let rows = rows.projection(without_graph()).await?;
        rows.map_ok(|row| row.into_record(self.price_default).chatflow)
            .try_collect()
            .await
    }

    /// Forgets a chatflow; says whether it was known.
    pub(crate) async fn delete(&self, id: ObjectId) -> Result<bool> {
        Ok(self.documents.delete_one(doc! { "_id": id }).await?.deleted_count > 0)
    }

    /// Those of these chatflows that people can use.
    pub(crate) async fn list_active(&self, ids: &[ObjectId]) -> Result<Vec<Chatflow>> {
        let filter = doc! { "_id": { "$in": ids }, "sync_status": SyncStatus::Active.as_str() };
        let rows = self.rows().find(filter).projection(without_graph()).await?;
        rows.map_ok(|row| row.into_record(self.price_default).chatflow)
            .try_collect()
            .await
    }

    /// How many chatflows stand where.
    pub(crate) async fn statistics(&self) -> Result<ChatflowStatistics> {
        let pipeline = [doc! { "$group": {
            "_id": "$sync_status",
            "count": { "$sum": 1 },
            "last_sync": { "$max": "$synced_at" },
        } }];
        let mut groups = self.documents.aggregate(pipeline).await?;
        let mut statistics = ChatflowStatistics::default();
        while let Some(group) = groups.try_next().await? {
            let count = group
                .get_i32("count")
                .map_or_else(|_| group.get_i64("count").unwrap_or_default(), i64::from);
            let count = u64::try_from(count).unwrap_or_default();
            statistics.total += count;
            match SyncStatus::from_stored(group.get_str("_id").unwrap_or_default()) {
                SyncStatus::Active => statistics.active += count,
                SyncStatus::Deleted => statistics.deleted += count,
                SyncStatus::Error => statistics.error += count,
            }
            let last_sync = group.get_datetime("last_sync").ok().map(|time| time.to_chrono());
            statistics.last_sync = statistics.last_sync.max(last_sync);
        }
        Ok(statistics)
    }

    /// Writes what Flowise listed at `listed_at`; what was deleted is active again. A chatflow that a later listing
    /// has already spoken of is left alone.
    pub(crate) async fn upsert_listed(
        &self,
        listed: &[ListedChatflow],
        listed_at: DateTime<Utc>,
    ) -> Result<Upserted> {
        let mut outcome = Upserted::default();
        let mut batch: Vec<(&str, Document)> = Vec::new();
        let mut bytes = 0;
        for chatflow in listed {
            let update = rows::upsert(chatflow, listed_at);
            let size = update.to_vec().map_or(COMMAND_BYTES_MAX, |raw| raw.len());
            if batch.len() == COMMAND_UPDATES_MAX || (bytes + size > COMMAND_BYTES_MAX && !batch.is_empty()) {
                self.write(std::mem::take(&mut batch), &mut outcome).await?;
                bytes = 0;
            }
            bytes += size;
            batch.push((&chatflow.flowise_id, update));
        }
        if !batch.is_empty() {
            self.write(batch, &mut outcome).await?;
        }
        Ok(outcome)
    }

    /// One command for many upserts; the driver's own bulk write needs a newer server than we ask for.
    async fn write(&self, batch: Vec<(&str, Document)>, outcome: &mut Upserted) -> Result<()> {
        let (ids, updates): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let answer = self
            .database
            .run_command(doc! { "update": COLLECTION, "updates": updates, "ordered": false })
            .await?;
        let created = answer.get_array("upserted").map_or(0, Vec::len);
        let errors = answer
            .get_array("writeErrors")
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut skipped = 0;
        for error in errors.iter().filter_map(|error| error.as_document()) {
            let id = error
                .get_i32("index")
                .ok()
                .and_then(|index| ids.get(usize::try_from(index).ok()?));
            if is_duplicate_key_code(error.get_i32("code").unwrap_or_default()) {
                skipped += 1;
                continue;
            }
            tracing::warn!(
                chatflow = id,
                code = error.get_i32("code").ok(),
                "a chatflow could not be stored"
            );
            outcome.refused.extend(id.map(|id| (*id).to_owned()));
        }
        let written = ids.len().saturating_sub(created + errors.len()) + skipped;
        outcome.created += u64::try_from(created).unwrap_or_default();
        outcome.updated += u64::try_from(written).unwrap_or_default();
        Ok(())
    }

    /// Marks as deleted what a listing of `listed_at` did not name, unless a later listing has spoken of it. Says how
    /// many those were.
    pub(crate) async fn mark_missing(&self, listed: &HashSet<&str>, listed_at: DateTime<Utc>) -> Result<u64> {
        let listed: Vec<&str> = listed.iter().copied().collect();
        let filter = doc! {
            "flowise_id": { "$nin": listed },
            "sync_status": { "$ne": SyncStatus::Deleted.as_str() },
            "synced_at": rows::not_after(listed_at),
        };
        let update = doc! { "$set": {
            "sync_status": SyncStatus::Deleted.as_str(),
            "synced_at": bson::DateTime::from_chrono(listed_at),
        } };
        Ok(self.documents.update_many(filter, update).await?.modified_count)
    }

    /// How many chatflows people can use.
    pub(crate) async fn count_active(&self) -> Result<u64> {
        self.documents
            .count_documents(doc! { "sync_status": SyncStatus::Active.as_str() })
            .await
    }

    /// Changes what administrators set; `None` when there is no such chatflow.
    pub(crate) async fn update_settings(
        &self,
        flowise_id: &str,
        settings: &ChatflowSettings,
    ) -> Result<Option<ChatflowRecord>> {
        let (mut set, mut unset) = (doc! {}, doc! {});
        match &settings.price {
            Some(PriceChange::Flat(price)) => {
                set.insert("price", *price);
                unset.insert("usage_price", "");
            }
            Some(PriceChange::ByUsage(usage)) => {
                let price = doc! { "model_id": &usage.model_id, "estimated_tokens": usage.estimated_tokens };
                set.insert("usage_price", price);
                unset.insert("price", "");
            }
            Some(PriceChange::Default) => unset.extend(doc! { "price": "", "usage_price": "" }),
            Some(PriceChange::NotByUsage) => drop(unset.insert("usage_price", "")),
            None => {}
        }
        for (member, cap) in [
            ("daily_turns_max", settings.daily_turns_max),
            ("daily_turns_per_user_max", settings.daily_turns_per_user_max),
        ] {
            match cap {
                Some(Cap::Turns(turns)) => drop(set.insert(member, turns)),
                Some(Cap::Unlimited) => drop(unset.insert(member, "")),
                None => {}
            }
        }
        if let Some(allowed) = &settings.override_config_allowed {
            set.insert("override_config_allowed", allowed.clone());
        }
        if let Some(show) = settings.show_inner_events {
            set.insert("show_inner_events", show);
        }
        let mut update = doc! {};
        for (operator, members) in [("$set", set), ("$unset", unset)] {
            if !members.is_empty() {
                update.insert(operator, members);
            }
        }
        if update.is_empty() {
            return self.find_light(flowise_id).await;
        }
        let row = self
            .rows()
            .find_one_and_update(doc! { "flowise_id": flowise_id }, update)
            .projection(without_graph())
            .return_document(ReturnDocument::After)
            .await?;
        Ok(row.map(|row| row.into_record(self.price_default)))
    }

    fn rows(&self) -> Collection<ChatflowRow> {
        self.documents.clone_with_type()
    }
}

/// Graphs are nearly all of a chatflow's bytes.
fn without_graph() -> Document {
    doc! { "flow_data": 0 }
}
