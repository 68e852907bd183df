//! Copies of people: the collection `users`.

mod sync;

use bson::{Bson, Document, doc};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database, error::Result, options::ReturnDocument};
use serde::Deserialize;

use super::indexes::{ensure_index, ensure_unique_index, is_duplicate_key};
use crate::domain::person::{Email, KnownPerson, Person};

const COLLECTION: &str = "users";

/// Parallel first copies of one person can collide on the unique index; the second try finds the document.
const UPSERT_TRIES: usize = 4;

/// The people an administrator has named.
#[derive(Clone, Debug)]
pub(crate) struct PersonStore {
    database: Database,
    documents: Collection<Document>,
}

/// How somebody stands here, as far as access asks for it. Somebody never looked at stands well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether they were known to be switched off when last looked at.
    pub(crate) is_deactivated: bool,
    /// Turns a day, where they have a cap of their own.
    pub(crate) daily_turns_max: Option<i64>,
}

#[derive(Deserialize)]
struct StandingRow {
    is_active: Option<bool>,
    daily_turns_max: Option<i64>,
}

#[derive(Deserialize)]
struct PersonRow {
    #[serde(rename = "_id")]
    id: Bson,
    external_id: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    email: String,
    role: Option<String>,
    is_active: Option<bool>,
    created_at: Option<bson::DateTime>,
    updated_at: Option<bson::DateTime>,
    daily_turns_max: Option<i64>,
}

impl PersonStore {
    /// Opens the collection and makes sure of its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let documents: Collection<Document> = database.collection(COLLECTION);
        // Scripts of older deployments left rows that nothing reads; they are no people and may stay.
        let nobody = doc! { "external_id": null };
        documents
            .update_many(nobody, doc! { "$unset": { "external_id": "" } })
            .await?;
        let preference = doc! { "updated_at": -1 };
        ensure_unique_index(&documents, doc! { "external_id": 1 }, "external_id", preference).await?;
        ensure_index(&documents, doc! { "email": 1 }).await?;
        Ok(Self {
            database: database.clone(),
            documents,
        })
    }

    /// How the person stands.
    pub(crate) async fn standing(&self, external_id: &str) -> Result<Standing> {
        let rows = self.documents.clone_with_type::<StandingRow>();
        let row = rows
            .find_one(doc! { "external_id": external_id })
            .projection(doc! { "_id": 0, "is_active": 1, "daily_turns_max": 1 })
            .await?;
        Ok(row.map_or_else(Standing::default, |row| Standing {
            is_deactivated: row.is_active == Some(false),
            daily_turns_max: row.daily_turns_max,
        }))
    }

    /// Gives a person a cap of their own, or takes it away; `None` when there is no copy of them.
    pub(crate) async fn set_daily_turns_max(
        &self,
        external_id: &str,
        max: Option<i64>,
    ) -> Result<Option<Person>> {
        let rows = self.documents.clone_with_type::<PersonRow>();
        let update = doc! { "$set": { "daily_turns_max": max } };
        let row = rows
            .find_one_and_update(doc! { "external_id": external_id }, update)
            .return_document(ReturnDocument::After)
            .await?;
        Ok(row.map(Person::from))
    }

    /// Everybody who had this address when last looked at, the latest look first.
    pub(crate) async fn list_by_email(&self, email: &Email) -> Result<Vec<Person>> {
        let filter = doc! { "email": email.as_str(), "external_id": { "$exists": true } };
        let rows = self.documents.clone_with_type::<PersonRow>();
        let rows = rows.find(filter).sort(doc! { "updated_at": -1 }).await?;
        rows.map_ok(Person::from).try_collect().await
    }

    /// Everybody who had one of these addresses when last looked at.
    pub(crate) async fn list_by_emails(&self, emails: &[&str]) -> Result<Vec<Person>> {
        let filter = doc! { "email": { "$in": emails }, "external_id": { "$exists": true } };
        let rows = self.documents.clone_with_type::<PersonRow>().find(filter).await?;
        rows.map_ok(Person::from).try_collect().await
    }

    /// Those of these people that have been looked at.
    pub(crate) async fn list_by_external_ids(&self, external_ids: &[&str]) -> Result<Vec<Person>> {
        let filter = doc! { "external_id": { "$in": external_ids } };
        let rows = self.documents.clone_with_type::<PersonRow>().find(filter).await?;
        rows.map_ok(Person::from).try_collect().await
    }

    /// Renews the copy of a person, if there is one.
    pub(crate) async fn update(&self, known: &KnownPerson, now: DateTime<Utc>) -> Result<()> {
        let filter = doc! { "external_id": &known.external_id };
        self.documents
            .update_one(filter, doc! { "$set": copied(known, now) })
            .await?;
        Ok(())
    }

    /// Removes the copy of a person.
    pub(crate) async fn delete(&self, external_id: &str) -> Result<()> {
        self.documents
            .delete_many(doc! { "external_id": external_id })
            .await?;
        Ok(())
    }

    /// Stores what auth-service said of a person.
    pub(crate) async fn upsert(&self, known: &KnownPerson, now: DateTime<Utc>) -> Result<Person> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_upsert(known, now).await {
                Err(error) if is_duplicate_key(&error) && tries < UPSERT_TRIES => {}
                outcome => return outcome,
            }
        }
    }

    async fn try_upsert(&self, known: &KnownPerson, now: DateTime<Utc>) -> Result<Person> {
        let update = doc! {
            "$set": copied(known, now),
            "$setOnInsert": { "created_at": bson::DateTime::from_chrono(now) },
        };
        let rows = self.documents.clone_with_type::<PersonRow>();
        let row = rows
            .find_one_and_update(doc! { "external_id": &known.external_id }, update)
            .upsert(true)
            .return_document(ReturnDocument::After)
            .await?;
        row.map(Person::from)
            .ok_or_else(|| mongodb::error::Error::custom("an upsert returned no document"))
    }
}

fn copied(known: &KnownPerson, now: DateTime<Utc>) -> Document {
    doc! {
        "username": &known.username,
        "email": &known.email,
        "role": &known.role,
        "is_active": known.is_active,
        "updated_at": bson::DateTime::from_chrono(now),
    }
}

impl From<PersonRow> for Person {
    fn from(row: PersonRow) -> Self {
        // Scripts of older deployments wrote ids as text.
        let id = match (row.id.as_object_id(), row.id.as_str()) {
            (Some(id), _) => id.to_hex(),
            (None, Some(text)) => text.to_owned(),
            (None, None) => row.id.to_string(),
        };
        Self {
            id,
            known: KnownPerson {
                external_id: row.external_id,
                username: row.username,
                email: row.email,
                role: row.role.unwrap_or_else(|| "user".to_owned()),
                is_active: row.is_active.unwrap_or(true),
            },
            created_at: row.created_at.map(bson::DateTime::to_chrono),
            updated_at: row.updated_at.map(bson::DateTime::to_chrono),
            daily_turns_max: row.daily_turns_max,
        }
    }
}
