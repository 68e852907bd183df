//! Copies of everybody, taken over page by page.

use bson::{Document, doc};
use chrono::{DateTime, Utc};
use futures_util::{Stream, TryStreamExt as _};
use mongodb::error::{Error, Result};

use super::{COLLECTION, PersonRow, PersonStore, copied};
use crate::{
    domain::person::{KnownPerson, Person},
    store::indexes::is_duplicate_key_code,
};

impl PersonStore {
    /// Copies of everybody by their ids, as they are read.
    pub(crate) async fn stream(&self) -> Result<impl Stream<Item = Result<Person>> + use<>> {
        let rows = self.documents.clone_with_type::<PersonRow>();
        let filter = doc! { "external_id": { "$exists": true } };
        let rows = rows.find(filter).sort(doc! { "external_id": 1 }).await?;
        Ok(rows.map_ok(Person::from))
    }

    /// A page of the same.
    pub(crate) async fn page(&self, after: Option<&str>, limit: i64) -> Result<Vec<Person>> {
        let rows = self.documents.clone_with_type::<PersonRow>();
        let filter = after.map_or_else(
            || doc! { "external_id": { "$exists": true } },
            |after| doc! { "external_id": { "$gt": after } },
        );
        let rows = rows
            .find(filter)
            .sort(doc! { "external_id": 1 })
            .limit(limit)
            .await?;
        rows.map_ok(Person::from).try_collect().await
    }

    /// Stores what auth-service said of many, in one command.
    pub(crate) async fn upsert_many(&self, known: &[KnownPerson], now: DateTime<Utc>) -> Result<()> {
        if known.is_empty() {
            return Ok(());
        }
        let statement = |person: &KnownPerson| {
            doc! {
                "q": { "external_id": &person.external_id },
                "u": {
                    "$set": copied(person, now),
                    "$setOnInsert": { "created_at": bson::DateTime::from_chrono(now) },
                },
                "upsert": true,
            }
        };
        let updates: Vec<Document> = known.iter().map(statement).collect();
        let answer = self
            .database
            .run_command(doc! { "update": COLLECTION, "updates": updates, "ordered": false })
            .await?;
        let errors = answer.get_array("writeErrors").map(Vec::as_slice);
        for error in errors.unwrap_or_default() {
            let code = error.as_document().and_then(|error| error.get_i32("code").ok());
            // A duplicate was copied by somebody else at this moment, as fresh as this one.
            if !code.is_some_and(is_duplicate_key_code) {
                return Err(Error::custom("copies of people were refused by the database"));
            }
        }
        Ok(())
    }

    /// Switches off whoever was not copied since `since`: auth-service, asked for everybody, did not name them. Says how
    /// many that are.
    pub(crate) async fn deactivate_not_copied_since(
        &self,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<u64> {
        let filter = doc! {
            "external_id": { "$exists": true },
            "is_active": { "$ne": false },
            "updated_at": { "$not": { "$gte": bson::DateTime::from_chrono(since) } },
        };
        let update = doc! { "$set": { "is_active": false, "updated_at": bson::DateTime::from_chrono(now) } };
        Ok(self.documents.update_many(filter, update).await?.modified_count)
    }
}
