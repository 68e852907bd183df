//! The identities that are linked to accounts: members of the account's own document, so that one conditional write
//! decides whether one may go, and deleting an account deletes them.

use bson::{DateTime as BsonDateTime, Document, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use mongodb::{IndexModel, options::IndexOptions};
use serde::{Deserialize, Serialize};

use super::UserStore;
use crate::{
    domain::{
        identity::Identity,
        user::{NO_PASSWORD, User, UserId},
    },
    error::{Error, Result},
};

/// Identities that one account may have.
pub(crate) const IDENTITIES_MAX: usize = 20;

/// An identity as it stands in an account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IdentityRow {
    id: String,
    provider_id: String,
    issuer: String,
    subject: String,
    email: Option<String>,
    connected_at: BsonDateTime,
}

/// What became of an identity that was to be linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linking {
    /// It is linked now.
    Linked,
    /// It was linked to this account before.
    WasLinked,
    /// It is somebody else's.
    Taken,
    /// The account is gone, shut, unproven, or has as many as one may have.
    Refused,
}

/// What became of a way in that was to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// It is gone.
    Removed,
    /// It is the last one, and stays.
    IsLast,
    /// There is none such.
    NotFound,
}

/// An issuer's subject is linked to one account at most.
pub(super) fn index() -> IndexModel {
    let options = IndexOptions::builder()
        .unique(true)
        .partial_filter_expression(doc! { "identities.subject": { "$exists": true } })
        .build();
    IndexModel::builder()
        .keys(doc! { "identities.issuer": 1, "identities.subject": 1 })
        .options(options)
        .build()
}

/// Whose accounts are connected to a provider.
pub(super) fn provider_index() -> IndexModel {
    let options = IndexOptions::builder().sparse(true).build();
    IndexModel::builder()
        .keys(doc! { "identities.providerId": 1 })
        .options(options)
        .build()
}

impl UserStore {
    /// Whose identity this is.
    pub(crate) async fn find_by_identity(&self, issuer: &str, subject: &str) -> Result<Option<User>> {
        let row = self.rows.find_one(linked(issuer, subject)).await?;
        Ok(row.map(|row| self.read(row)))
    }

    /// Whether any account has an identity of this provider.
    pub(crate) async fn is_connected(&self, provider_id: &str) -> Result<bool> {
        let filter = doc! { "identities.providerId": provider_id };
        Ok(self.rows.count_documents(filter).limit(1).await? > 0)
    }

    /// How many accounts have an identity of this provider.
    pub(crate) async fn count_connected(&self, provider_id: &str) -> Result<u64> {
        Ok(self
            .rows
            .count_documents(doc! { "identities.providerId": provider_id })
            .await?)
    }

    /// Links an identity to an account that is open and whose address is proven.
    pub(crate) async fn link(&self, id: UserId, identity: &Identity, now: DateTime<Utc>) -> Result<Linking> {
        let row = IdentityRow::from(identity);
        let full = format!("identities.{}", IDENTITIES_MAX - 1);
        let mut filter = doc! {
            "_id": id.0, "isVerified": true, "isDisabled": { "$ne": true }, full: { "$exists": false },
        };
        filter.insert("identities", doc! { "$not": { "$elemMatch": same(&row) } });
        let Ok(added) = bson::serialize_to_bson(&row) else {
            return Ok(Linking::Refused);
        };
        let update = doc! {
            "$push": { "identities": added },
            "$set": { "updatedAt": BsonDateTime::from_chrono(now) },
        };
        match self.rows.update_one(filter, update).await {
            Ok(updated) if updated.matched_count == 1 => Ok(Linking::Linked),
            Ok(_) => {
                let mut mine = linked(&identity.issuer, &identity.subject);
                mine.insert("_id", id.0);
                let has_it = self.rows.count_documents(mine).limit(1).await? > 0;
                Ok(if has_it {
                    Linking::WasLinked
                } else {
                    Linking::Refused
                })
            }
            Err(error) if Error::duplicate_key(&error).is_some() => Ok(Linking::Taken),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes an identity off an account, unless nothing would be left to sign in with. Two at once cannot both be the
    /// one before the last: each write looks at the document as the other left it.
    /// A password only counts where it may be used, another identity where its provider is open.
    pub(crate) async fn unlink(
        &self,
        id: UserId,
        identity_id: &str,
        takes_password: bool,
        open: &[String],
        now: DateTime<Utc>,
    ) -> Result<Removal> {
        let mut filter = doc! { "_id": id.0, "identities.id": identity_id };
        let mut ways = vec![doc! {
            "identities": { "$elemMatch": { "id": { "$ne": identity_id }, "providerId": { "$in": open } } },
        }];
        if takes_password {
            ways.push(has_password());
        }
        filter.insert("$or", ways);
        let update = doc! {
            "$pull": { "identities": { "id": identity_id } },
            "$set": { "updatedAt": BsonDateTime::from_chrono(now) },
        };
        if self.rows.update_one(filter, update).await?.matched_count == 1 {
            return Ok(Removal::Removed);
        }
        let there = doc! { "_id": id.0, "identities.id": identity_id };
        let is_there = self.rows.count_documents(there).limit(1).await? > 0;
        Ok(if is_there {
            Removal::IsLast
        } else {
            Removal::NotFound
        })
    }

    /// Takes an identity off again whose provider went while it was linked.
    pub(crate) async fn withdraw_identity(&self, id: UserId, identity_id: &str) -> Result<()> {
        let update = doc! { "$pull": { "identities": { "id": identity_id } } };
        self.rows.update_one(doc! { "_id": id.0 }, update).await?;
        Ok(())
    }

    /// Takes the password away, if there is an identity of an open provider to sign in with.
    pub(crate) async fn remove_password(
        &self,
        id: UserId,
        version: i32,
        open: &[String],
        now: DateTime<Utc>,
    ) -> Result<Removal> {
        let mut filter = doc! { "_id": id.0, "identities.providerId": { "$in": open } };
        filter.insert("passwordVersion", super::version_filter(version));
        let update = without_password(now);
        if self.rows.update_one(filter, update).await?.matched_count == 1 {
            return Ok(Removal::Removed);
        }
        Ok(Removal::IsLast)
    }

    /// Makes an account that somebody made with an address that was not theirs the account of the address's owner: the
    /// address counts as proven, and no password is any good. Says whether it was still unproven.
    pub(crate) async fn claim(&self, id: UserId, email: &str, now: DateTime<Utc>) -> Result<bool> {
        let filter = doc! { "_id": id.0, "email": email, "isVerified": { "$ne": true } };
        let mut update = without_password(now);
        if let Ok(set) = update.get_document_mut("$set") {
            set.insert("isVerified", true);
            set.insert("identities", Vec::<Document>::new());
            set.insert(super::changes::UNTOLD, ObjectId::new());
        }
        Ok(self.rows.update_one(filter, update).await?.matched_count == 1)
    }
}

fn without_password(now: DateTime<Utc>) -> Document {
    doc! {
        "$set": { "password": NO_PASSWORD, "updatedAt": BsonDateTime::from_chrono(now) },
        "$inc": { "passwordVersion": 1 },
        "$unset": { "mustChangePassword": "" },
    }
}

fn has_password() -> Document {
    doc! { "password": { "$nin": [NO_PASSWORD, "", null] } }
}

fn linked(issuer: &str, subject: &str) -> Document {
    doc! { "identities": { "$elemMatch": { "issuer": issuer, "subject": subject } } }
}

fn same(row: &IdentityRow) -> Document {
    doc! { "issuer": &row.issuer, "subject": &row.subject }
}

impl From<&Identity> for IdentityRow {
    fn from(identity: &Identity) -> Self {
        Self {
            id: identity.id.clone(),
            provider_id: identity.provider_id.clone(),
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
            email: identity.email.clone(),
            connected_at: BsonDateTime::from_chrono(identity.connected_at),
        }
    }
}

impl From<IdentityRow> for Identity {
    fn from(row: IdentityRow) -> Self {
        Self {
            id: row.id,
            provider_id: row.provider_id,
            issuer: row.issuer,
            subject: row.subject,
            email: row.email,
            connected_at: row.connected_at.to_chrono(),
        }
    }
}
