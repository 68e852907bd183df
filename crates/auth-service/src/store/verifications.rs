//! `verifications`: open e-mail codes, as keyed hashes, and how often each was tried.
//!
//! A user proves the address they have; that is one document a user. An address somebody wants instead of theirs is one
//! document an address: whoever asks, it gets few codes a day and few tries, and the last one who asked counts.

use std::time::Duration;

use bson::{DateTime as BsonDateTime, Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use mongodb::{Collection, Database, IndexModel, options::IndexOptions, options::ReturnDocument};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        email,
        user::UserId,
        verification::{SentCodes, TRIES_MAX, WINDOW},
    },
    error::{Error, Result},
    store::resets::ReadableToken,
};

/// What a code proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodeKind {
    /// The address of an account.
    Email,
    /// The address somebody wants to have instead.
    EmailChange,
}

impl CodeKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::EmailChange => "email-change",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Email, Self::EmailChange]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// The open codes.
#[derive(Clone, Debug)]
pub(crate) struct VerificationStore {
    rows: Collection<VerificationRow>,
}

/// A code that was tried: whose it is, and its hash to compare with.
#[derive(Clone, Debug)]
pub(crate) struct TriedCode {
    /// What it proves.
    pub(crate) kind: CodeKind,
    /// Whose address it proves.
    pub(crate) user_id: UserId,
    /// The address it was sent to.
    pub(crate) email: String,
    /// The keyed hash of the right digits.
    pub(crate) code_hash: String,
}

/// What became of a new code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Issued {
    /// It is the user's only good code now.
    Stored,
    /// Another request has just issued one.
    Superseded,
    /// Another user has the same digits at the moment.
    DigitsInUse,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerificationRow {
    #[serde(rename = "_id")]
    id: String,
    user_id: ObjectId,
    #[serde(rename = "type")]
    kind: String,
    email: String,
    code_hash: Option<String>,
    /// Only with `TESTING_ENDPOINTS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    tries: i32,
    code_expires: BsonDateTime,
    sent_window_started_at: BsonDateTime,
    sent_count: i32,
    sent_last_at: BsonDateTime,
    /// When the document is removed: later than the code, because codes are counted by the day.
    expires: BsonDateTime,
}

impl VerificationStore {
    /// Opens the collection and sees to its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let rows = database.collection("verifications");
        let digits_once = IndexOptions::builder()
            .unique(true)
            .partial_filter_expression(doc! { "codeHash": { "$type": "string" } })
            .build();
        let code_hash = IndexModel::builder()
            .keys(doc! { "codeHash": 1 })
            .options(digits_once);
        rows.create_indexes([
            code_hash.build(),
            super::plain(doc! { "userId": 1 }),
            super::expiring(doc! { "expires": 1 }, Duration::ZERO),
        ])
        .await?;
        Ok(Self { rows })
    }

    /// How many codes of this kind the user, or for a change the address, was sent lately.
    pub(crate) async fn find_sent(
        &self,
        kind: CodeKind,
        user_id: UserId,
        email: &str,
    ) -> Result<Option<SentCodes>> {
        let row = self
            .rows
            .find_one(doc! { "_id": key(kind, user_id, email) })
            .await?;
        Ok(row.map(|row| SentCodes {
            window_started_at: row.sent_window_started_at.to_chrono(),
            count: row.sent_count,
            last_at: row.sent_last_at.to_chrono(),
        }))
    }

    /// Makes `code` the only good one of its kind, provided that `before` is still what was sent last. `readable` is
    /// kept beside its hash.
    pub(crate) async fn issue(
        &self,
        code: &TriedCode,
        readable: Option<&str>,
        expires_at: DateTime<Utc>,
        before: Option<SentCodes>,
        sent: SentCodes,
    ) -> Result<Issued> {
        let removed_at = expires_at.max(sent.window_started_at + WINDOW);
        let row = VerificationRow {
            id: key(code.kind, code.user_id, &code.email),
            user_id: code.user_id.0,
            kind: code.kind.as_str().to_owned(),
            email: code.email.clone(),
            code_hash: Some(code.code_hash.clone()),
            token: readable.map(str::to_owned),
            tries: 0,
            code_expires: BsonDateTime::from_chrono(expires_at),
            sent_window_started_at: BsonDateTime::from_chrono(sent.window_started_at),
            sent_count: sent.count,
            sent_last_at: BsonDateTime::from_chrono(sent.last_at),
            expires: BsonDateTime::from_chrono(removed_at),
        };
        let written = match before {
            None => self.rows.insert_one(row).await.map(|_| 1),
            Some(before) => {
                let filter = doc! { "_id": &row.id, "sentLastAt": BsonDateTime::from_chrono(before.last_at) };
                let replaced = self.rows.replace_one(filter, row).await;
                replaced.map(|replaced| replaced.matched_count)
            }
        };
        match written {
            Ok(0) => Ok(Issued::Superseded),
            Ok(_) => Ok(Issued::Stored),
            Err(error) => match Error::duplicate_key(&error) {
                Some(message) if message.contains("codeHash") => Ok(Issued::DigitsInUse),
                Some(_) => Ok(Issued::Superseded),
                None => Err(error.into()),
            },
        }
    }

    /// Counts one try at this user's code and returns what to compare with; `None` when there is nothing to try.
    pub(crate) async fn try_code_of(&self, user_id: UserId, now: DateTime<Utc>) -> Result<Option<TriedCode>> {
        let id = key(CodeKind::Email, user_id, "");
        self.try_one(doc! { "_id": id, "codeHash": { "$type": "string" } }, now)
            .await
    }

    /// The same for whoever wants this address.
    pub(crate) async fn try_change_to(&self, email: &str, now: DateTime<Utc>) -> Result<Option<TriedCode>> {
        let id = change_key(&email::normalise(email));
        self.try_one(doc! { "_id": id, "codeHash": { "$type": "string" } }, now)
            .await
    }

    /// Makes the codes for other addresses that this user wants worthless, except for `but`.
    pub(crate) async fn void_other_email_changes(&self, user_id: UserId, but: &str) -> Result<()> {
        let filter = doc! {
            "userId": user_id.0, "type": CodeKind::EmailChange.as_str(), "_id": { "$ne": change_key(but) },
        };
        self.rows.update_many(filter, without_code()).await?;
        Ok(())
    }

    /// Makes all codes for other addresses that this user wants worthless.
    pub(crate) async fn void_email_changes(&self, user_id: UserId) -> Result<()> {
        let filter = doc! { "userId": user_id.0, "type": CodeKind::EmailChange.as_str() };
        self.rows.update_many(filter, without_code()).await?;
        Ok(())
    }

    /// The user's newest good code, where it is kept readable.
    pub(crate) async fn find_readable(
        &self,
        user_id: UserId,
        now: DateTime<Utc>,
    ) -> Result<Option<ReadableToken>> {
        let filter = doc! {
            "userId": user_id.0, "token": { "$type": "string" },
            "codeExpires": { "$gt": BsonDateTime::from_chrono(now) }, "codeHash": { "$type": "string" },
        };
        let row = self.rows.find_one(filter).sort(doc! { "sentLastAt": -1 }).await?;
        Ok(row.and_then(|row| {
            Some(ReadableToken {
                token: row.token?,
                expires_at: row.code_expires.to_chrono(),
            })
        }))
    }

    /// Removes what is kept about a user who is removed, or whose address is vouched for.
    pub(crate) async fn forget(&self, user_id: UserId) -> Result<()> {
        self.rows.delete_many(doc! { "userId": user_id.0 }).await?;
        Ok(())
    }

    /// Counts one try at the code with this hash, whoever has it; `None` when nobody has.
    pub(crate) async fn try_code(&self, code_hash: &str, now: DateTime<Utc>) -> Result<Option<TriedCode>> {
        self.try_one(doc! { "codeHash": code_hash }, now).await
    }

    /// Removes a code that was used.
    pub(crate) async fn consume(&self, code: &TriedCode) -> Result<()> {
        let id = key(code.kind, code.user_id, &code.email);
        let filter = doc! { "_id": id, "codeHash": &code.code_hash };
        self.rows.delete_one(filter).await?;
        Ok(())
    }

    /// Removes everything that was sent to these users and not used.
    pub(crate) async fn delete_of(&self, user_ids: &[UserId]) -> Result<()> {
        let ids: Vec<_> = user_ids.iter().map(|id| id.0).collect();
        self.rows.delete_many(doc! { "userId": { "$in": ids } }).await?;
        Ok(())
    }

    /// A try is counted before its answer is known, so that guesses made at once are all counted.
    async fn try_one(&self, mut filter: Document, now: DateTime<Utc>) -> Result<Option<TriedCode>> {
        filter.insert("codeExpires", doc! { "$gt": BsonDateTime::from_chrono(now) });
        filter.insert("tries", doc! { "$lt": TRIES_MAX });
        let tried = self
            .rows
            .find_one_and_update(filter, doc! { "$inc": { "tries": 1 } });
        let row = tried.return_document(ReturnDocument::After).await?;
        Ok(row.and_then(|row| {
            Some(TriedCode {
                kind: CodeKind::parse(&row.kind)?,
                user_id: UserId(row.user_id),
                email: row.email,
                code_hash: row.code_hash?,
            })
        }))
    }
}

/// Older deployments left other documents here, under ids of another type, until they expire.
fn key(kind: CodeKind, user_id: UserId, email: &str) -> String {
    match kind {
        CodeKind::Email => format!("{}:{user_id}", kind.as_str()),
        CodeKind::EmailChange => change_key(email),
    }
}

fn change_key(email: &str) -> String {
    format!("{}:{email}", CodeKind::EmailChange.as_str())
}

fn without_code() -> Document {
    doc! { "$set": { "codeHash": null }, "$unset": { "token": "" } }
}
