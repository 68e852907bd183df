//! `invitations`: each with the hash of its code. A use is taken by one conditional update, so that no two people share
//! one; MongoDB forgets an invitation a month after its time.

use std::time::Duration;

use bson::{DateTime as BsonDateTime, doc, oid::ObjectId};
use chrono::{DateTime, Utc};
use common_jwt::Role;
use futures_util::TryStreamExt as _;
use mongodb::{Collection, Database, options::ReturnDocument};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        email::EmailAddress,
        invitation::Invitation,
        keyset::{Cursor, Page},
        user::{UserId, parse_role},
    },
    error::Result,
};

/// How long an invitation is listed after its time.
const KEPT_AFTER: Duration = Duration::from_hours(30 * 24);

/// The invitations.
#[derive(Clone, Debug)]
pub(crate) struct InvitationStore {
    rows: Collection<InvitationRow>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InvitationRow {
    #[serde(rename = "_id")]
    id: String,
    code_hash: String,
    email: Option<String>,
    role: String,
    note: Option<String>,
    uses: u32,
    uses_left: u32,
    expires_at: BsonDateTime,
    created_at: BsonDateTime,
    created_by: ObjectId,
    /// Whose account came of it, where it was for one address: it goes with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used_by: Option<ObjectId>,
}

impl InvitationStore {
    /// Opens the collection and sees to its indexes.
    pub(crate) async fn open(database: &Database) -> Result<Self> {
        let rows = database.collection("invitations");
        rows.create_indexes([
            super::unique(doc! { "codeHash": 1 }),
            super::plain(doc! { "createdAt": 1, "_id": 1 }),
            super::plain(doc! { "email": 1 }),
            super::sparse(doc! { "usedBy": 1 }),
            super::expiring(doc! { "expiresAt": 1 }, KEPT_AFTER),
        ])
        .await?;
        Ok(Self { rows })
    }

    /// Adds an invitation. What was open for the same address is good for nothing any more.
    pub(crate) async fn insert(&self, invitation: &Invitation, code_hash: String) -> Result<()> {
        if let Some(email) = &invitation.email {
            let open = doc! { "email": email.as_str(), "usesLeft": { "$gt": 0 } };
            self.rows.delete_many(open).await?;
        }
        let row = InvitationRow {
            id: invitation.id.clone(),
            code_hash,
            email: invitation.email.as_ref().map(|email| email.as_str().to_owned()),
            role: invitation.role.as_str().to_owned(),
            note: invitation.note.clone(),
            uses: invitation.uses,
            uses_left: invitation.uses_left,
            expires_at: BsonDateTime::from_chrono(invitation.expires_at),
            created_at: BsonDateTime::from_chrono(invitation.created_at),
            created_by: invitation.created_by.0,
            used_by: None,
        };
        self.rows.insert_one(row).await?;
        Ok(())
    }

    /// A page of them, newest first.
    pub(crate) async fn list_page(&self, after: Option<&Cursor>, limit: u32) -> Result<Page<Invitation>> {
        let mut filter = doc! {};
        if let Some(after) = after {
            let at = BsonDateTime::from_chrono(after.at);
            filter.insert("createdAt", doc! { "$lte": at });
            // Those of the same millisecond that stood on the page before.
            filter.insert(
                "$nor",
                vec![doc! { "createdAt": at, "_id": { "$gte": &after.id } }],
            );
        }
        let rows = self
            .rows
            .find(filter)
            .sort(doc! { "createdAt": -1, "_id": -1 })
            .limit(i64::from(limit) + 1);
        let rows: Vec<InvitationRow> = rows.await?.try_collect().await?;
        let invitations = rows.into_iter().filter_map(InvitationRow::read).collect();
        Ok(Page::cut(invitations, limit, |one: &Invitation| Cursor {
            at: one.created_at,
            id: one.id.clone(),
        }))
    }

    /// Removes an invitation. Says whether there was one.
    pub(crate) async fn delete(&self, id: &str) -> Result<bool> {
        Ok(self.rows.delete_one(doc! { "_id": id }).await?.deleted_count == 1)
    }

    /// Takes one use of the invitation with this code, if it is good for this address now.
    pub(crate) async fn take(
        &self,
        code_hash: &str,
        email: &EmailAddress,
        now: DateTime<Utc>,
    ) -> Result<Option<Invitation>> {
        let filter = doc! {
            "codeHash": code_hash,
            "usesLeft": { "$gt": 0 },
            "expiresAt": { "$gt": BsonDateTime::from_chrono(now) },
            "email": { "$in": [null, email.as_str()] },
        };
        let taken = self
            .rows
            .find_one_and_update(filter, doc! { "$inc": { "usesLeft": -1 } })
            .return_document(ReturnDocument::After);
        Ok(taken.await?.and_then(InvitationRow::read))
    }

    /// Gives a use back that came to nothing.
    pub(crate) async fn give_back(&self, invitation: &Invitation) -> Result<()> {
        let filter = doc! { "_id": &invitation.id, "usesLeft": { "$lt": invitation.uses } };
        self.rows
            .update_one(filter, doc! { "$inc": { "usesLeft": 1 } })
            .await?;
        Ok(())
    }

    /// Notes whose account came of an invitation that was for one address.
    pub(crate) async fn note_use(&self, invitation: &Invitation, user_id: UserId) -> Result<()> {
        if invitation.email.is_some() {
            let update = doc! { "$set": { "usedBy": user_id.0 } };
            self.rows
                .update_one(doc! { "_id": &invitation.id }, update)
                .await?;
        }
        Ok(())
    }
}

impl InvitationRow {
    /// The invitation; `None` for one with a role or an address that we would not write.
    fn read(self) -> Option<Invitation> {
        let email = self.email.as_deref().map(EmailAddress::parse).transpose();
        Some(Invitation {
            id: self.id,
            email: email.ok()?,
            role: parse_role(&self.role).filter(|role| *role != Role::Admin)?,
            note: self.note,
            uses: self.uses,
            uses_left: self.uses_left,
            expires_at: self.expires_at.to_chrono(),
            created_at: self.created_at.to_chrono(),
            created_by: UserId(self.created_by),
        })
    }
}
