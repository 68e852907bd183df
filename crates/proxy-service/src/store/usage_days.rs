//! Usage by day: the collection `usage_days`, which turns are added to when they are settled.

use bson::{Bson, Document, doc};
use chrono::NaiveDate;
use futures_util::{FutureExt as _, Stream, TryStreamExt as _};
use mongodb::{
    ClientSession, Collection, Database, IndexModel,
    error::{Error, Result},
    options::IndexOptions,
};
use serde::Deserialize;

use super::{indexes::ensure_index, turns};
use crate::domain::{
    day::DayZone,
    usage::{EndedTurn, Usage, UsageDay, roll_up},
};

const COLLECTION: &str = "usage_days";

/// Turns taken in by one transaction.
const TURNS_MAX: i64 = 500;

/// Usage by day.
#[derive(Clone, Debug)]
pub(crate) struct UsageDayStore {
    database: Database,
    days: Collection<Document>,
    turns: Collection<Document>,
}

/// Which rows a report has.
#[derive(Clone, Debug)]
pub(crate) struct UsageFilter {
    /// The first day.
    pub(crate) from: NaiveDate,
    /// The last day.
    pub(crate) to: NaiveDate,
    /// Only these people; everybody when `None`.
    pub(crate) user_ids: Option<Vec<String>>,
    /// Only this chatflow.
    pub(crate) chatflow_id: Option<String>,
}

#[derive(Deserialize)]
struct UsageRow {
    day: String,
    user_id: String,
    chatflow_id: String,
    turns: i64,
    failed: i64,
    credits: i64,
    tokens: i64,
}

#[derive(Deserialize)]
struct TurnRow {
    #[serde(rename = "_id")]
    id: Bson,
    user_id: String,
    /// Visitors of an embed count as whoever pays for them.
    payer_id: Option<String>,
    chatflow_id: String,
    created_at: bson::DateTime,
    success: Option<bool>,
    settlement: Option<SettlementRow>,
    total_tokens: Option<i64>,
}

#[derive(Deserialize)]
struct SettlementRow {
    credits: Option<i64>,
}

impl UsageDayStore {
    /// Opens the collection and makes sure of the indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let store = Self {
            database: database.clone(),
            days: database.collection(COLLECTION),
            turns: database.collection(turns::COLLECTION),
        };
        ensure_index(&store.days, doc! { "user_id": 1, "_id": 1 }).await?;
        ensure_index(&store.days, doc! { "chatflow_id": 1, "_id": 1 }).await?;
        let due = doc! { "usage_due": true };
        let due = IndexOptions::builder().partial_filter_expression(due).build();
        let due = IndexModel::builder()
            .keys(doc! { "usage_due": 1 })
            .options(due)
            .build();
        store.turns.create_index(due).await?;
        Ok(store)
    }

    /// Adds turns that have not been added yet; says how many. One transaction takes them and adds them, so that each
    /// counts once, whichever replica does it and whatever happens to it.
    pub(crate) async fn take_in(&self, zone: DayZone) -> Result<usize> {
        // Most of the time there is nothing, and no transaction is needed to see that.
        if self.turns.find_one(doc! { "usage_due": true }).await?.is_none() {
            return Ok(0);
        }
        let mut session = self.database.client().start_session().await?;
        let context = (self.clone(), zone);
        session
            .start_transaction()
            .and_run(context, |session, (store, zone)| {
                store.take_in_within(*zone, session).boxed()
            })
            .await
    }

    async fn take_in_within(&self, zone: DayZone, session: &mut ClientSession) -> Result<usize> {
        let turns = self.turns.clone_with_type::<TurnRow>();
        let mut rows = turns
            .find(doc! { "usage_due": true })
            .limit(TURNS_MAX)
            .session(&mut *session)
            .await?;
        let (mut ids, mut ended) = (Vec::new(), Vec::new());
        while let Some(row) = rows.next(session).await.transpose()? {
            ids.push(row.id.clone());
            ended.push(row);
        }
        if ids.is_empty() {
            return Ok(0);
        }
        let taken = ids.len();
        self.turns
            .update_many(
                doc! { "_id": { "$in": ids } },
                doc! { "$unset": { "usage_due": "" } },
            )
            .session(&mut *session)
            .await?;
        // What keeps a session from changing while it is deleted looks like a turn and is none.
        let ended = ended.into_iter().filter(|row| !row.chatflow_id.is_empty());
        let days = roll_up(ended.map(EndedTurn::from), zone);
        let updates: Vec<_> = days.iter().map(statement).collect();
        if !updates.is_empty() {
            let answer = self
                .database
                .run_command(doc! { "update": COLLECTION, "updates": updates })
                .session(session)
                .await?;
            if answer.contains_key("writeErrors") {
                return Err(Error::custom("usage was refused by the database"));
            }
        }
        Ok(taken)
    }

    /// The rows of a report by day, person and chatflow, behind `after`.
    pub(crate) async fn page(
        &self,
        filter: &UsageFilter,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<UsageDay>> {
        let rows = self.days.clone_with_type::<UsageRow>();
        let rows = rows
            .find(filter.to_document(after))
            .sort(doc! { "_id": 1 })
            .limit(limit)
            .await?;
        rows.and_then(async |row| UsageDay::try_from(row))
            .try_collect()
            .await
    }

    /// All rows of a report, as they are read.
    pub(crate) async fn stream(
        &self,
        filter: &UsageFilter,
    ) -> Result<impl Stream<Item = Result<UsageDay>> + use<>> {
        let rows = self.days.clone_with_type::<UsageRow>();
        let rows = rows
            .find(filter.to_document(None))
            .sort(doc! { "_id": 1 })
            .await?;
        Ok(rows.and_then(async |row| UsageDay::try_from(row)))
    }

    /// What one person did, as it is read.
    pub(crate) async fn stream_of(
        &self,
        user_id: &str,
    ) -> Result<impl Stream<Item = Result<UsageDay>> + use<>> {
        let rows = self.days.clone_with_type::<UsageRow>();
        let rows = rows
            .find(doc! { "user_id": user_id })
            .sort(doc! { "_id": 1 })
            .await?;
        Ok(rows.and_then(async |row| UsageDay::try_from(row)))
    }

    /// The rows of a report added up by day, the first day first; days without any are left out.
    pub(crate) async fn list_by_day(&self, filter: &UsageFilter) -> Result<Vec<(NaiveDate, Usage)>> {
        let sum = |member: &str| doc! { "$sum": format!("${member}") };
        let pipeline = [
            doc! { "$match": filter.to_document(None) },
            doc! { "$group": {
                "_id": "$day", "day": { "$first": "$day" }, "user_id": { "$first": "" }, "chatflow_id": { "$first": "" },
                "turns": sum("turns"), "failed": sum("failed"), "credits": sum("credits"), "tokens": sum("tokens"),
            } },
            doc! { "$sort": { "_id": 1 } },
        ];
        let rows = self.days.aggregate(pipeline).with_type::<UsageRow>().await?;
        let day = async |row| UsageDay::try_from(row).map(|row| (row.day, row.usage));
        rows.and_then(day).try_collect().await
    }

    /// Forgets what somebody who is gone did.
    pub(crate) async fn delete_of(&self, user_id: &str) -> Result<()> {
        self.days.delete_many(doc! { "user_id": user_id }).await?;
        Ok(())
    }
}

impl UsageFilter {
    fn to_document(&self, after: Option<&str>) -> Document {
        // Ids begin with the day; `0` is the character behind `/`.
        let mut ids = doc! { "$gte": format!("{}/", self.from), "$lt": format!("{}0", self.to) };
        if let Some(after) = after {
            ids.insert("$gt", after);
        }
        let mut filter = doc! { "_id": ids };
        if let Some(user_ids) = &self.user_ids {
            filter.insert("user_id", doc! { "$in": user_ids });
        }
        if let Some(chatflow_id) = &self.chatflow_id {
            filter.insert("chatflow_id", chatflow_id);
        }
        filter
    }
}

/// The id of a row, by which reports are sorted and go on.
pub(crate) fn row_id(row: &UsageDay) -> String {
    format!("{}/{}/{}", row.day, row.user_id, row.chatflow_id)
}

fn statement(row: &UsageDay) -> Document {
    let Usage {
        turns,
        failed,
        credits,
        tokens,
    } = row.usage;
    doc! {
        "q": { "_id": row_id(row) },
        "u": {
            "$inc": { "turns": turns, "failed": failed, "credits": credits, "tokens": tokens },
            "$setOnInsert": {
                "day": row.day.to_string(), "user_id": &row.user_id, "chatflow_id": &row.chatflow_id,
            },
        },
        "upsert": true,
    }
}

impl From<TurnRow> for EndedTurn {
    fn from(row: TurnRow) -> Self {
        Self {
            user_id: row.payer_id.unwrap_or(row.user_id),
            chatflow_id: row.chatflow_id,
            began_at: row.created_at.to_chrono(),
            success: row.success.unwrap_or(false),
            credits: row
                .settlement
                .and_then(|settlement| settlement.credits)
                .unwrap_or(0),
            total_tokens: row.total_tokens,
        }
    }
}

impl From<UsageRow> for Usage {
    fn from(row: UsageRow) -> Self {
        Self {
            turns: row.turns,
            failed: row.failed,
            credits: row.credits,
            tokens: row.tokens,
        }
    }
}

impl TryFrom<UsageRow> for UsageDay {
    type Error = Error;

    fn try_from(row: UsageRow) -> Result<Self> {
        Ok(Self {
            day: row
                .day
                .parse()
                .map_err(|_error| Error::custom("a row of usage has no day"))?,
            user_id: row.user_id.clone(),
            chatflow_id: row.chatflow_id.clone(),
            usage: row.into(),
        })
    }
}
