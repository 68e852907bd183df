//! `onboarding`: what is still to be done for people who were made many at once. Written before the people, so that
//! nothing that was promised is lost, whatever stops in between.
//!
//! A document is claimed by moving on the time at which it is due; so several replicas share the work, and what one
//! began and never finished comes up again.

use std::collections::HashMap;

use bson::{Bson, DateTime as BsonDateTime, Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database, IndexModel, options::IndexOptions};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        import::{Gift, HandOver},
        user::UserId,
    },
    error::Result,
};

/// When gifts are tried again.
const GIFTS_DUE: &str = "giftsDueAt";

/// When the invitation is tried again.
const INVITATION_DUE: &str = "invitationDueAt";

/// What is still to be done.
#[derive(Clone, Debug)]
pub(crate) struct OnboardingStore {
    rows: Collection<OnboardingRow>,
}

/// What is to be done for one person.
#[derive(Clone, Debug)]
pub(crate) struct Onboarding {
    /// For whom.
    pub(crate) user_id: UserId,
    /// Their address.
    pub(crate) email: String,
    /// What they are given, or what of it they do not have yet.
    pub(crate) gift: Gift,
    /// Whether they are invited to choose a password.
    pub(crate) is_invited: bool,
    /// Who made their account.
    pub(crate) actor: Option<UserId>,
    /// When it was.
    pub(crate) created_at: DateTime<Utc>,
    /// How often giving was tried.
    pub(crate) tries: i32,
    /// Since when credits may have been given without our knowing.
    pub(crate) unclear_since: Option<DateTime<Utc>>,
}

/// How far the gifts of one person are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GiftState {
    /// Their credits, if there were to be any.
    pub(crate) credits: Option<HandOver>,
    /// Their chatflows, if there were to be any.
    pub(crate) chatflows: Option<HandOver>,
}

/// How much is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// People who do not have all their gifts.
    pub(crate) gifts: u64,
    /// The oldest of them.
    pub(crate) oldest: Option<DateTime<Utc>>,
    /// People who are not invited yet.
    pub(crate) invitations: u64,
    /// People of whom nobody knows whether they were given their credits.
    pub(crate) unclear: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OnboardingRow {
    #[serde(rename = "_id")]
    user_id: ObjectId,
    email: String,
    credits: i64,
    credits_open: i64,
    chatflows: Vec<String>,
    chatflows_open: Vec<String>,
    actor: Option<ObjectId>,
    created_at: BsonDateTime,
    tries: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    gifts_due_at: Option<BsonDateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invitation_due_at: Option<BsonDateTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unclear_since: Option<BsonDateTime>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_unclear: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<String>,
}

impl OnboardingStore {
    /// Opens the collection and sees to its indexes: over what is open, and nothing else.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let rows = database.collection("onboarding");
        let only_with = |field: &str, kind: &str| {
            let options = IndexOptions::builder()
                .partial_filter_expression(doc! { field: { "$type": kind } })
                .build();
            IndexModel::builder()
                .keys(doc! { field: 1 })
                .options(options)
                .build()
        };
        rows.create_indexes([
            only_with(GIFTS_DUE, "date"),
            only_with(INVITATION_DUE, "date"),
            only_with("claim", "string"),
            only_with("isUnclear", "bool"),
        ])
        .await?;
        Ok(Self { rows })
    }

    /// Notes down what will be done; nobody else begins with it before `not_before`.
    pub(crate) async fn insert_many(&self, all: &[Onboarding], not_before: DateTime<Utc>) -> Result<()> {
        if all.is_empty() {
            return Ok(());
        }
        let due = |is_due: bool| is_due.then(|| BsonDateTime::from_chrono(not_before));
        let rows = all.iter().map(|one| {
            let credits = i64::try_from(one.gift.credits).unwrap_or(i64::MAX);
            OnboardingRow {
                user_id: one.user_id.0,
                email: one.email.clone(),
                credits,
                credits_open: credits,
                chatflows: one.gift.chatflows.clone(),
                chatflows_open: one.gift.chatflows.clone(),
                actor: one.actor.map(|id| id.0),
                created_at: BsonDateTime::from_chrono(one.created_at),
                tries: 0,
                gifts_due_at: due(!one.gift.is_empty()),
                invitation_due_at: due(one.is_invited),
                unclear_since: one.unclear_since.map(BsonDateTime::from_chrono),
                is_unclear: false,
                claim: None,
            }
        });
        self.rows.insert_many(rows).ordered(false).await?;
        Ok(())
    }

    /// Forgets people: they were not made after all, or are no more.
    pub(crate) async fn delete_many(&self, ids: &[UserId]) -> Result<()> {
        if !ids.is_empty() {
            self.rows.delete_many(any_of(ids)).await?;
        }
        Ok(())
    }

    /// Lets the invitations of these people go out now.
    pub(crate) async fn release_invitations(&self, ids: &[UserId], now: DateTime<Utc>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut open = any_of(ids);
        open.insert(INVITATION_DUE, doc! { "$type": "date" });
        let update = doc! { "$set": { INVITATION_DUE: BsonDateTime::from_chrono(now) } };
        self.rows.update_many(open, update).await?;
        Ok(())
    }

    /// Takes up to `max` people whose gifts are due, and keeps others away from them until `until`. From now on their
    /// credits may have been given without our knowing.
    pub(crate) async fn claim_gifts(
        &self,
        max: i64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Onboarding>> {
        self.claim(GIFTS_DUE, max, now, until).await
    }

    /// The same for people who are to be invited.
    pub(crate) async fn claim_invitations(
        &self,
        max: i64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Onboarding>> {
        self.claim(INVITATION_DUE, max, now, until).await
    }

    async fn claim(
        &self,
        due: &str,
        max: i64,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Onboarding>> {
        let is_due = doc! { due: { "$lte": BsonDateTime::from_chrono(now) } };
        let ids = self.rows.clone_with_type::<Document>();
        let found = ids
            .find(is_due.clone())
            .sort(doc! { due: 1 })
            .projection(doc! { "_id": 1 })
            .limit(max)
            .await?;
        let ids: Vec<Bson> = found
            .map_ok(|row| row.get("_id").cloned().unwrap_or_default())
            .try_collect()
            .await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let claim = uuid::Uuid::new_v4().to_string();
        let mut filter = is_due;
        filter.insert("_id", doc! { "$in": ids });
        let update = doc! { "$set": { due: BsonDateTime::from_chrono(until), "claim": &claim } };
        self.rows.update_many(filter, update).await?;
        let rows = self.rows.find(doc! { "claim": claim }).await?;
        Ok(rows.map_ok(Onboarding::from).try_collect().await?)
    }

    /// Notes that credits may be given without our knowing, from the first request on.
    pub(crate) async fn credits_are_being_given(&self, ids: &[UserId], now: DateTime<Utc>) -> Result<()> {
        let mut filter = any_of(ids);
        filter.insert("unclearSince", doc! { "$exists": false });
        let update = doc! { "$set": { "unclearSince": BsonDateTime::from_chrono(now) } };
        self.rows.update_many(filter, update).await?;
        Ok(())
    }

    /// Notes what a person still does not have, and when to try again.
    pub(crate) async fn gifts_left(&self, left: &Onboarding, due_at: DateTime<Utc>) -> Result<()> {
        let credits = i64::try_from(left.gift.credits).unwrap_or(i64::MAX);
        let mut set = doc! { "creditsOpen": credits, "chatflowsOpen": left.gift.chatflows.clone() };
        let mut unset = doc! { "claim": "" };
        if left.gift.is_empty() {
            unset.insert(GIFTS_DUE, "");
        } else {
            set.insert(GIFTS_DUE, BsonDateTime::from_chrono(due_at));
        }
        match left.unclear_since {
            Some(since) => {
                set.insert("unclearSince", BsonDateTime::from_chrono(since));
            }
            None => {
                unset.insert("unclearSince", "");
            }
        }
        let update = doc! { "$set": set, "$unset": unset, "$inc": { "tries": 1 } };
        self.rows
            .update_one(doc! { "_id": left.user_id.0 }, update)
            .await?;
        Ok(())
    }

    /// Gives up on the credits of a person: they may have them, and trying again could give them twice.
    pub(crate) async fn credits_are_unclear(&self, id: UserId) -> Result<()> {
        let update = doc! { "$set": { "isUnclear": true, "creditsOpen": 0_i64 } };
        self.rows.update_one(doc! { "_id": id.0 }, update).await?;
        Ok(())
    }

    /// Notes that a person was invited; without gifts there is nothing left to remember.
    pub(crate) async fn invited(&self, id: UserId) -> Result<()> {
        let nothing_given = doc! { "_id": id.0, "credits": 0_i64, "chatflows": { "$size": 0 } };
        if self.rows.delete_one(nothing_given).await?.deleted_count == 0 {
            let update = doc! { "$unset": { INVITATION_DUE: "", "claim": "" } };
            self.rows.update_one(doc! { "_id": id.0 }, update).await?;
        }
        Ok(())
    }

    /// How far the gifts of these people are; those who were to be given nothing are left out.
    pub(crate) async fn gift_states(&self, ids: &[UserId]) -> Result<HashMap<UserId, GiftState>> {
        let rows = self.rows.find(any_of(ids)).await?;
        let state = |row: OnboardingRow| {
            let of = |is_there: bool, is_open: bool| {
                let state = if is_open {
                    HandOver::Queued
                } else {
                    HandOver::HandedOver
                };
                is_there.then_some(state)
            };
            let state = GiftState {
                credits: of(row.credits > 0, row.credits_open > 0 || row.is_unclear),
                chatflows: of(!row.chatflows.is_empty(), !row.chatflows_open.is_empty()),
            };
            (UserId(row.user_id), state)
        };
        Ok(rows.map_ok(state).try_collect().await?)
    }

    /// How much is open.
    pub(crate) async fn backlog(&self) -> Result<Backlog> {
        let is_open = |field: &str| doc! { field: { "$type": "date" } };
        let oldest = self
            .rows
            .find_one(is_open(GIFTS_DUE))
            .sort(doc! { "createdAt": 1 })
            .await?;
        Ok(Backlog {
            gifts: self.rows.count_documents(is_open(GIFTS_DUE)).await?,
            oldest: oldest.map(|row| row.created_at.to_chrono()),
            invitations: self.rows.count_documents(is_open(INVITATION_DUE)).await?,
            unclear: self.rows.count_documents(doc! { "isUnclear": true }).await?,
        })
    }
}

fn any_of(ids: &[UserId]) -> Document {
    let ids: Vec<Bson> = ids.iter().map(|id| id.0.into()).collect();
    doc! { "_id": { "$in": ids } }
}

impl From<OnboardingRow> for Onboarding {
    fn from(row: OnboardingRow) -> Self {
        Self {
            user_id: UserId(row.user_id),
            email: row.email,
            gift: Gift {
                credits: u64::try_from(row.credits_open).unwrap_or_default(),
                chatflows: row.chatflows_open,
            },
            is_invited: row.invitation_due_at.is_some(),
            actor: row.actor.map(UserId),
            created_at: row.created_at.to_chrono(),
            tries: row.tries,
            unclear_since: row.unclear_since.map(BsonDateTime::to_chrono),
        }
    }
}
