//! `password_resets`: the open link of each user, as a hash, and how many were sent lately.

use std::time::Duration;

use bson::{DateTime as BsonDateTime, Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use mongodb::{Collection, Database};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        reset::ResetToken,
        user::UserId,
        verification::{SentCodes, WINDOW},
    },
    error::{Error, Result},
};

/// The open links.
#[derive(Clone, Debug)]
pub(crate) struct ResetStore {
    rows: Collection<ResetRow>,
}

/// A link to be kept.
#[derive(Debug)]
pub(crate) struct NewReset<'a> {
    /// Whose password it may set.
    pub(crate) user_id: UserId,
    /// The address it is mailed to.
    pub(crate) email: &'a str,
    /// What stands in it.
    pub(crate) token: &'a ResetToken,
    /// Whether the token itself is kept too: only where `TESTING_ENDPOINTS` asks for it.
    pub(crate) is_readable: bool,
    /// When it ends.
    pub(crate) expires_at: DateTime<Utc>,
    /// What was sent to the user lately, this one included.
    pub(crate) sent: SentCodes,
}

/// A link that is good at the moment.
#[derive(Clone, Debug)]
pub(crate) struct OpenReset {
    /// Whose password it may set.
    pub(crate) user_id: UserId,
    /// The address it was mailed to.
    pub(crate) email: String,
    token_hash: String,
}

/// A token kept readable, for tests of clients.
#[derive(Clone, Debug)]
pub(crate) struct ReadableToken {
    /// The token or code.
    pub(crate) token: String,
    /// When it ends.
    pub(crate) expires_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResetRow {
    #[serde(rename = "_id")]
    user_id: ObjectId,
    email: String,
    token_hash: Option<String>,
    /// Only with `TESTING_ENDPOINTS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    token_expires: BsonDateTime,
    sent_window_started_at: BsonDateTime,
    sent_count: i32,
    sent_last_at: BsonDateTime,
    /// When the document is removed: later than the link, because links are counted by the day.
    expires: BsonDateTime,
}

impl ResetStore {
    /// Opens the collection and sees to its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let rows = database.collection("password_resets");
        rows.create_indexes([
            super::plain(doc! { "tokenHash": 1 }),
            super::expiring(doc! { "expires": 1 }, Duration::ZERO),
        ])
        .await?;
        Ok(Self { rows })
    }

    /// What the user was sent lately.
    pub(crate) async fn find_sent(&self, user_id: UserId) -> Result<Option<SentCodes>> {
        let row = self.rows.find_one(doc! { "_id": user_id.0 }).await?;
        Ok(row.map(|row| SentCodes {
            window_started_at: row.sent_window_started_at.to_chrono(),
            count: row.sent_count,
            last_at: row.sent_last_at.to_chrono(),
        }))
    }

    /// Makes this the user's only good link, provided that `before` is still what was sent last. Says whether it is.
    pub(crate) async fn issue_after(&self, before: Option<SentCodes>, reset: &NewReset<'_>) -> Result<bool> {
        let row = ResetRow::from(reset);
        let Some(before) = before else {
            return match self.rows.insert_one(row).await {
                Ok(_) => Ok(true),
                Err(error) if Error::duplicate_key(&error).is_some() => Ok(false),
                Err(error) => Err(error.into()),
            };
        };
        let filter = doc! { "_id": row.user_id, "sentLastAt": BsonDateTime::from_chrono(before.last_at) };
        Ok(self.rows.replace_one(filter, row).await?.matched_count == 1)
    }

    /// Makes this the user's only good link, whatever was sent before.
    pub(crate) async fn issue(&self, reset: &NewReset<'_>) -> Result<()> {
        let row = ResetRow::from(reset);
        self.rows
            .replace_one(doc! { "_id": row.user_id }, row)
            .upsert(true)
            .await?;
        Ok(())
    }

    /// The link with this token, if it is good.
    pub(crate) async fn find(&self, token: &ResetToken, now: DateTime<Utc>) -> Result<Option<OpenReset>> {
        let token_hash = token.hash();
        let row = self.rows.find_one(good(&token_hash, now)).await?;
        Ok(row.map(|row| OpenReset {
            user_id: UserId(row.user_id),
            email: row.email,
            token_hash,
        }))
    }

    /// Uses a link up. Of any number of callers exactly one gets `true`.
    pub(crate) async fn consume(&self, reset: &OpenReset, now: DateTime<Utc>) -> Result<bool> {
        let used = self
            .rows
            .update_one(good(&reset.token_hash, now), without_token());
        Ok(used.await?.matched_count == 1)
    }

    /// Makes the user's link worthless; how many were sent stays known.
    pub(crate) async fn void(&self, user_id: UserId) -> Result<()> {
        self.rows
            .update_one(doc! { "_id": user_id.0 }, without_token())
            .await?;
        Ok(())
    }

    /// The user's good link, where it is kept readable.
    pub(crate) async fn find_readable(
        &self,
        user_id: UserId,
        now: DateTime<Utc>,
    ) -> Result<Option<ReadableToken>> {
        let filter = doc! { "_id": user_id.0, "tokenExpires": { "$gt": BsonDateTime::from_chrono(now) } };
        let row = self.rows.find_one(filter).await?;
        Ok(row.and_then(|row| {
            Some(ReadableToken {
                token: row.token?,
                expires_at: row.token_expires.to_chrono(),
            })
        }))
    }
}

fn good(token_hash: &str, now: DateTime<Utc>) -> Document {
    doc! { "tokenHash": token_hash, "tokenExpires": { "$gt": BsonDateTime::from_chrono(now) } }
}

fn without_token() -> Document {
    doc! { "$set": { "tokenHash": null }, "$unset": { "token": "" } }
}

impl From<&NewReset<'_>> for ResetRow {
    fn from(reset: &NewReset<'_>) -> Self {
        let removed_at = reset.expires_at.max(reset.sent.window_started_at + WINDOW);
        Self {
            user_id: reset.user_id.0,
            email: reset.email.to_owned(),
            token_hash: Some(reset.token.hash()),
            token: reset.is_readable.then(|| reset.token.digits().to_owned()),
            token_expires: BsonDateTime::from_chrono(reset.expires_at),
            sent_window_started_at: BsonDateTime::from_chrono(reset.sent.window_started_at),
            sent_count: reset.sent.count,
            sent_last_at: BsonDateTime::from_chrono(reset.sent.last_at),
            expires: BsonDateTime::from_chrono(removed_at),
        }
    }
}
